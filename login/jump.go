package login

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/relay"
	"github.com/culvert-ssh/culvert/sshconfig"
)

// maxHops bounds the jump hosts on the way to one bastion: each may name others in its own configuration.
const maxHops = 16

// channelWay is a channel through a jump host ("direct-tcpip", RFC 4254, section 7.2). Whoever closes it ends the connection to the
// jump host.
type channelWay struct {
	ssh.Channel
	hop   *Conn
	ended chan struct{} // closed when the connection to the jump host has
	host  address       // where the channel leads to
	wg    sync.WaitGroup
}

// jump logs in to the last of the jump hosts, by way of those before it, and has it connect to the server.
func jump(ctx context.Context, cfg *Config, behind []*Config) (way, error) {
	hop, err := cfg.hop(ctx)
	if err != nil {
		return nil, err
	}
	conn, err := connect(ctx, hop, append(behind[:len(behind):len(behind)], cfg))
	if err != nil {
		if errors.As(err, new(*jumpError)) || ctx.Err() != nil { // that host's own way is what fails
			return nil, err
		}
		return nil, &jumpError{hop, err}
	}
	w := &channelWay{hop: conn, host: cfg.address()}
	w.wg.Go(func() {
		for nc := range conn.Channels {
			_ = nc.Reject(ssh.Prohibited, "this connection leads on to another server, and nothing comes back by it")
		}
	})
	w.wg.Go(func() { refuse(conn.Requests) })
	requests, err := w.open(ctx, cfg, hop)
	if err != nil {
		_ = conn.Close() // what is wrong is known
		w.wg.Wait()
		return nil, err
	}
	w.wg.Go(func() { refuse(requests) })
	return w, nil
}

// refuse answers requests until there are no more.
func refuse(requests <-chan *ssh.Request) {
	for r := range requests {
		if r.WantReply {
			_ = r.Reply(false, nil) // a failing reply means a dying connection
		}
	}
}

// open opens the channel. The jump host may take as long as connecting may.
func (w *channelWay) open(ctx context.Context, cfg, hop *Config) (<-chan *ssh.Request, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, cfg.ConnectTimeout, unreachable{
		fmt.Errorf("jump host %s gave no answer within %v when it was asked for %s: set ConnectTimeout, if that is too short", hop.name(), cfg.ConnectTimeout, w.host),
	})
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = w.hop.Conn.Close() })
	w.ended = make(chan struct{})
	go func() { // ends with the connection
		_ = w.hop.Wait() // why is told elsewhere
		close(w.ended)
	}()
	channel, requests, err := relay.OpenChannel(w.hop, w.ended, "direct-tcpip", onward(cfg))
	if !stop() {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, jumpRefused(hop.name(), w.host.String(), err)
	}
	w.Channel = channel
	cfg.Logger().Debug("jumped", "by", hop.name(), "to", w.host)
	return requests, nil
}

// onward is what a jump host is asked for. The originator is what ssh(1) says for -W.
func onward(cfg *Config) []byte {
	return ssh.Marshal(struct {
		Host       string
		Port       uint32
		Origin     string
		OriginPort uint32
	}{cfg.Dialled(), uint32(cfg.Port), "127.0.0.1", 65535})
}

func (w *channelWay) Close() error {
	_ = w.Channel.Close() // the connection that it is part of is closed, too
	return w.hop.Conn.Close()
}

func (w *channelWay) end() {
	_ = w.hop.Close() // it is closed, and what is waited for are its goroutines
	w.wg.Wait()
}

func (w *channelWay) fault() string { return w.hop.way.fault() }

func (w *channelWay) LocalAddr() net.Addr              { return address("the jump host:0") }
func (w *channelWay) RemoteAddr() net.Addr             { return w.host }
func (w *channelWay) SetDeadline(time.Time) error      { return errors.ErrUnsupported }
func (w *channelWay) SetReadDeadline(time.Time) error  { return errors.ErrUnsupported }
func (w *channelWay) SetWriteDeadline(time.Time) error { return errors.ErrUnsupported }

// address is a host and port that somebody else connects to.
type address string

func (a address) Network() string { return "tcp" }
func (a address) String() string  { return string(a) }

// address is where the server is to be found.
func (c *Config) address() address {
	return address(net.JoinHostPort(c.Dialled(), strconv.Itoa(int(c.Port))))
}

// hop returns the configuration of the last jump host. Those before it, if there are any, count more than what its own configuration says about its way.
func (c *Config) hop(ctx context.Context) (*Config, error) {
	hops := slices.Clone(c.ProxyJump)
	for i, hop := range hops {
		var err error
		if hops[i], err = c.Tokens().Command(hop, false); err != nil {
			return nil, fmt.Errorf("ProxyJump: %w", err)
		}
	}
	last := len(hops) - 1
	return c.Hop(ctx, hops[last], func(h *Config) error {
		if last == 0 {
			return nil
		}
		return h.Set("ProxyJump", strings.Join(hops[:last], ","))
	})
}

// check refuses ways that lead through themselves.
func (c *Config) check(behind []*Config) error {
	if len(behind) > maxHops {
		return fmt.Errorf("there are more than %d jump hosts on the way", maxHops)
	}
	for _, b := range behind {
		if strings.EqualFold(b.Dialled(), c.Dialled()) && b.Port == c.Port && b.User == c.User {
			return fmt.Errorf("%s is a jump host on the way to itself: give it a line \"ProxyJump none\" of its own in ~/.ssh/config", c.name())
		}
	}
	return nil
}

// name is the host as a person knows it, with what was dialled where that is something else.
func (c *Config) name() string {
	name := c.Host
	if c.Dialled() != c.Host {
		name = fmt.Sprintf("%s (%s)", c.Host, c.Dialled())
	}
	if c.Port != 22 {
		name += " port " + strconv.Itoa(int(c.Port))
	}
	return name
}

// jumpError says which jump host could not be logged in to.
type jumpError struct {
	hop *Config
	err error
}

func (e *jumpError) Error() string { return fmt.Sprintf("jump host %s: %v", e.hop.Host, e.err) }
func (e *jumpError) Unwrap() error { return e.err }

// jumpRefused says why a jump host did not connect to the server, and what to do.
func jumpRefused(hop, server string, err error) error {
	var refused *ssh.OpenChannelError
	if !errors.As(err, &refused) {
		return unreachable{fmt.Errorf("jump host %s was lost when it was asked for %s: %s", hop, server, sshconfig.Printable(err.Error()))}
	}
	said := sshconfig.Printable(refused.Message)
	switch refused.Reason {
	case ssh.Prohibited:
		todo := "ask its administrator to permit it"
		if strings.Contains(said, "(request ") {
			todo += ", with that number"
		}
		return fmt.Errorf("jump host %s does not permit %s: %s: %s", hop, server, said, todo)
	case ssh.ConnectionFailed:
		return unreachable{fmt.Errorf("jump host %s can't reach %s: %s: is that its name and port as seen from there?", hop, server, said)}
	case ssh.UnknownChannelType:
		return fmt.Errorf("jump host %s forwards no connections, so %s can't be reached by it: %s", hop, server, said)
	case ssh.ResourceShortage:
		return unreachable{fmt.Errorf("jump host %s has no room for %s now: %s: try again later", hop, server, said)}
	}
	return fmt.Errorf("jump host %s refused %s: %s", hop, server, said)
}
