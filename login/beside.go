package login

import (
	"bytes"
	"context"
	"errors"
	"net"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/relay"
)

// errOtherHost is why a connection beside another one is not made.
var errOtherHost = errors.New("it shows another host key than the connection that there is: it may be another bastion")

// Beside makes another connection to the bastion of c, which must show the very host key that it has shown to c, as the same user. It goes the way that
// c went: to the same address from the same one, through the connection to the last jump host that there is, or through a ProxyCommand that is
// started again. The person is asked nothing and told nothing.
//
// It logs in with key alone, and says by a word what for; without a key, with whatever the configuration of c has that needs nobody, so not with keys of
// hardware. The caller must call Close, and have c closed no later than it waits for that.
func (c *Conn) Beside(ctx context.Context, key ssh.Signer, word string) (*Conn, error) {
	meta, ok := c.Conn.(ssh.AlgorithmsConnMetadata)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	cfg := c.cfg.unattended()
	way, err := c.way.again(ctx, cfg)
	if err != nil {
		return nil, err
	}
	shown := c.hostKey.Marshal()
	side, err := shakeHands(ctx, cfg, way, identification{
		addr:       cfg.name(),
		algorithms: []string{meta.Algorithms().HostKey},
		check: func(_ context.Context, _ net.Addr, key ssh.PublicKey) error {
			if !bytes.Equal(key.Marshal(), shown) {
				return &hostKeyError{errOtherHost}
			}
			return nil
		},
		key: key, word: word,
	})
	if err != nil {
		return nil, err
	}
	logHandshake(cfg, side)
	return side, nil
}

// unattended is c for a login that nobody may notice.
func (c *Config) unattended() *Config {
	quiet := *c
	quiet.BatchMode, quiet.Ask, quiet.Notice, quiet.Log = true, nil, nil, nil
	quiet.AddKeys = AddKeys{}
	quiet.UserKeyAlgorithms = slices.DeleteFunc(slices.Clone(c.UserKeyAlgorithms), func(name string) bool { return strings.HasPrefix(name, "sk-") })
	return &quiet
}

// channelBeside is another channel through the jump host of a channelWay.
type channelBeside struct{ channelWay }

// again opens another channel to the server through the same jump host.
func (w *channelWay) again(ctx context.Context, cfg *Config) (way, error) {
	ctx, cancel := context.WithTimeout(ctx, cfg.ConnectTimeout)
	defer cancel()
	type opened struct {
		channel  ssh.Channel
		requests <-chan *ssh.Request
		err      error
	}
	answer := make(chan opened, 1)
	go func() { // ends with the answer, or with the connection to the jump host
		channel, requests, err := relay.OpenChannel(w.hop, w.ended, "direct-tcpip", onward(cfg))
		answer <- opened{channel, requests, err}
	}()
	select {
	case o := <-answer:
		if o.err != nil {
			return nil, jumpRefused(w.hop.cfg.name(), w.host.String(), o.err)
		}
		beside := &channelBeside{channelWay{Channel: o.channel, hop: w.hop, host: w.host, ended: w.ended}}
		beside.wg.Go(func() { refuse(o.requests) })
		return beside, nil
	case <-ctx.Done():
		go func() { // ends as the one above
			if o := <-answer; o.err == nil {
				_ = o.channel.Close()
				refuse(o.requests)
			}
		}()
		return nil, unreachable{context.Cause(ctx)}
	}
}

// Close leaves the connection to the jump host to the way that has made it.
func (w *channelBeside) Close() error { return w.Channel.Close() }

func (w *channelBeside) end() { w.wg.Wait() }
