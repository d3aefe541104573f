package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/login"
	"github.com/culvert-ssh/culvert/relay"
	"github.com/culvert-ssh/culvert/sshconfig"
)

// Transport carries byte streams to the bastion and on to what it can reach. An SSH connection, with those beside it, is
// the Transport that there is.
type Transport interface {
	// Open opens a stream to host:port as the bastion sees them, for a local
	// connection from origin (RFC 4254, section 7.2). It has a deadline of its own. The error tells a person what
	// to do. The caller owns the stream.
	Open(ctx context.Context, host string, port uint16, origin netip.AddrPort) (relay.Stream, error)

	// OpenControl is Open for an FTP control connection, which shares its way with as little as can be.
	OpenControl(ctx context.Context, host string, port uint16, origin netip.AddrPort) (relay.Stream, error)

	// OpenSocket opens a stream to the Unix socket of this path as the bastion sees it, otherwise as Open does.
	OpenSocket(ctx context.Context, path string) (relay.Stream, error)

	// ReadsFTP reports whether the bastion may read FTP itself, as culvertd does.
	ReadsFTP() bool

	// Listen has the bastion wait for a data connection of an FTP server. It has a deadline of its own. The error tells a person
	// what to do. The caller must close the Arrival.
	Listen(ctx context.Context, l Listening) (Arrival, error)
}

// Listening is what a Transport is to wait for: one data connection that an FTP server makes (RFC 959, section 5.2).
type Listening struct {
	Client netip.AddrPort // where the FTP client waits for it; not valid if it doesn't
	Host   string         // the server, as its control channel was asked for
	Told   netip.Addr     // the bastion's address for the server; if not valid, a server on the bastion itself is told loopback
	Log    *slog.Logger
}

// An Arrival is a data connection of an FTP server to come.
type Arrival interface {
	// Addr is what the server is to be told.
	Addr() netip.AddrPort
	// Accept waits for the connection. It is called once. The caller owns the stream.
	Accept(ctx context.Context) (relay.Stream, error)
	// Close ends the waiting. A stream that Accept has returned lives on. It may be called more than once.
	Close()
}

const (
	// openTimeout is how long a bastion may take for a channel: it may have to try several addresses of a host.
	openTimeout = 30 * time.Second

	// aliveTimeout is how long a foreign SSH server may take to prove that the connection lives, when
	// nothing else tells a complete transfer from a broken one.
	aliveTimeout = 15 * time.Second

	// maxOpening bounds the channels that are asked for and not answered yet; more of them wait. culvertd ends a connection that
	// asks for 1024 at once.
	maxOpening = 512

	keepaliveRequest = "keepalive@openssh.com"
)

// connection is one SSH connection as a Transport, with everything that runs on its behalf.
type connection struct {
	ssh     ssh.Conn
	wire    *relay.Wire
	log     *slog.Logger
	channel relay.ChannelConfig
	opening chan struct{} // one token for each channel that is being opened

	incoming incoming // what the bastion may open
	sides    *sides   // the connections beside it; nil if there can't be any

	done  chan struct{} // closed when the SSH connection has ended
	cause error         // why it ended; valid once done is closed
	lost  error         // why we gave it up, if we did; guarded by mu
	mu    sync.Mutex
	wg    sync.WaitGroup
}

// connect logs in, and agrees on the end of data. The caller must call Close.
func connect(ctx context.Context, cfg *Config) (*connection, error) {
	conn, err := login.Connect(ctx, &cfg.Config)
	if err != nil {
		return nil, err
	}
	c := newConnection(conn, cfg.Logger(), newSides(cfg, conn))
	if err := c.negotiate(ctx); err != nil {
		c.Close()
		return nil, err
	}
	c.wg.Go(func() { c.keepAlive(cfg.ServerAliveInterval, cfg.ServerAliveCountMax) })
	return c, nil
}

// newConnection serves conn from now on. It has sides, if that isn't nil.
func newConnection(conn *login.Conn, log *slog.Logger, sides *sides) *connection {
	c := &connection{
		ssh: conn, wire: conn.Wire, log: log, sides: sides,
		opening: make(chan struct{}, maxOpening),
		done:    make(chan struct{}),
	}
	c.channel = relay.ChannelConfig{Wire: c.wire, Alive: c.alive}
	c.wg.Go(func() {
		for r := range conn.Requests {
			if r.WantReply {
				_ = r.Reply(false, nil) // a failing reply means a dying connection
			}
		}
	})
	c.wg.Go(func() {
		for nc := range conn.Channels {
			c.offered(nc)
		}
	})
	c.wg.Go(func() {
		err := conn.Wait()
		c.mu.Lock()
		if c.cause = c.lost; c.cause == nil {
			c.cause = errors.New(sshconfig.Printable(err.Error())) // the server may have had a last word
		}
		c.mu.Unlock()
		close(c.done)
		c.sides.end()
	})
	return c
}

// negotiate agrees on the explicit end of data with a bastion that knows it.
func (c *connection) negotiate(ctx context.Context) error {
	asked := time.Now()
	ok, _, err := c.request(ctx, globalRequest{name: relay.EndOfDataRequest, timeout: openTimeout})
	if err != nil {
		return fmt.Errorf("ask the server for its extensions: %s", sshconfig.Printable(err.Error()))
	}
	c.channel.EndOfData = ok
	c.log.Debug("explicit end of data", "agreed", ok)
	c.sides.begin(c, ok, time.Since(asked))
	return nil
}

// ReadsFTP is [Transport.ReadsFTP].
func (c *connection) ReadsFTP() bool { return c.channel.EndOfData }

// globalRequest is a question to the bastion (RFC 4254, section 4).
type globalRequest struct {
	name    string
	payload []byte
	timeout time.Duration
	late    func(ok bool, reply []byte) // told of an answer that nobody waits for any more; nil for nobody
}

// request makes a round trip with a global request.
func (c *connection) request(ctx context.Context, r globalRequest) (ok bool, payload []byte, err error) {
	type reply struct {
		ok      bool
		payload []byte
		err     error
	}
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	replies := make(chan reply)
	c.wg.Go(func() { // ends with the answer, or with the connection
		ok, payload, err := c.ssh.SendRequest(r.name, true, r.payload)
		select {
		case replies <- reply{ok, payload, err}:
		case <-ctx.Done():
			if err == nil && r.late != nil {
				r.late(ok, payload)
			}
		}
	})
	select {
	case got := <-replies:
		c.log.Log(ctx, logDebug2, "request answered", "name", r.name, "ok", got.ok)
		return got.ok, got.payload, got.err
	case <-ctx.Done():
		return false, nil, fmt.Errorf("no answer within %v: %w", r.timeout, context.Cause(ctx))
	}
}

// alive is relay.ChannelConfig.Alive. Any answer proves it; OpenSSH's is "failure".
func (c *connection) alive() error {
	_, _, err := c.request(context.Background(), globalRequest{name: keepaliveRequest, timeout: aliveTimeout})
	return err
}

// flushed is [remoteEnd.flushed]: the answer comes behind all that was sent.
func (c *connection) flushed() error { return c.alive() }

// keepAlive asks for a sign of life every interval and gives the connection up when there was none for
// countMax intervals. It returns when the connection has ended.
func (c *connection) keepAlive(interval time.Duration, countMax int) {
	if interval <= 0 {
		return
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-c.done:
			return
		case <-tick.C:
		}
		patience := interval * time.Duration(countMax)
		if _, _, err := c.request(context.Background(), globalRequest{name: keepaliveRequest, timeout: patience}); errors.Is(err, context.DeadlineExceeded) {
			c.giveUp(fmt.Errorf("the server gave no sign of life for %v", patience))
			return
		}
	}
}

func (c *connection) giveUp(why error) {
	c.mu.Lock()
	if c.lost == nil {
		c.lost = why
	}
	c.mu.Unlock()
	c.Drop()
}

// directTCPIP is the extra data of a "direct-tcpip" channel open (RFC 4254, section 7.2).
type directTCPIP struct {
	Host       string
	Port       uint32
	Origin     string
	OriginPort uint32
}

// Open is [Transport.Open].
func (c *connection) Open(ctx context.Context, host string, port uint16, origin netip.AddrPort) (relay.Stream, error) {
	if side, carried := c.sides.least(); side != nil {
		s, err := side.openTCPIP(ctx, host, port, origin, side.plain)
		if err == nil {
			carried.Stream = s
			return carried, nil
		}
		carried.leave()
		if !hasEnded(side) {
			return nil, err
		}
	}
	return c.openTCPIP(ctx, host, port, origin, func(ch ssh.Channel, reqs <-chan *ssh.Request) relay.Stream { return c.stream(ctx, ch, reqs) })
}

// OpenControl is [Transport.OpenControl].
func (c *connection) OpenControl(ctx context.Context, host string, port uint16, origin netip.AddrPort) (relay.Stream, error) {
	c.sides.expect()
	return c.openTCPIP(ctx, host, port, origin, c.plain)
}

// openTCPIP opens a channel to host:port, of which made makes a stream.
func (c *connection) openTCPIP(ctx context.Context, host string, port uint16, origin netip.AddrPort, made maker) (relay.Stream, error) {
	return c.open(ctx, Forward{Host: host, HostPort: port}.Target(), made, "direct-tcpip", ssh.Marshal(directTCPIP{
		Host: host, Port: uint32(port),
		Origin: origin.Addr().String(), OriginPort: uint32(origin.Port()),
	}))
}

// maker makes a stream of a channel.
type maker func(ssh.Channel, <-chan *ssh.Request) relay.Stream

// plain makes a stream that is one channel.
func (c *connection) plain(ch ssh.Channel, reqs <-chan *ssh.Request) relay.Stream {
	return relay.NewChannel(ch, reqs, c.channel)
}

// directStreamlocal is the extra data of a "direct-streamlocal@openssh.com" channel open (OpenSSH's PROTOCOL, section 2.4).
type directStreamlocal struct {
	Path      string
	Reserved1 string
	Reserved2 uint32
}

// OpenSocket is [Transport.OpenSocket].
func (c *connection) OpenSocket(ctx context.Context, path string) (relay.Stream, error) {
	return c.open(ctx, path, c.foreign, "direct-streamlocal@openssh.com", ssh.Marshal(directStreamlocal{Path: path}))
}

// foreign makes a stream of a channel for which no end of data was agreed on: that of a Unix socket (docs/protocol.md).
func (c *connection) foreign(ch ssh.Channel, reqs <-chan *ssh.Request) relay.Stream {
	cfg := c.channel
	cfg.EndOfData = false
	return relay.NewChannel(ch, reqs, cfg)
}

// open opens a channel to target, of which made makes a stream.
func (c *connection) open(ctx context.Context, target string, made maker, kind string, extra []byte) (relay.Stream, error) {
	ch, reqs, err := c.openChannel(ctx, target, kind, extra)
	if err != nil {
		return nil, openError(target, err)
	}
	return made(ch, reqs), nil
}

// openChannel opens a channel to target. The caller must close it.
func (c *connection) openChannel(ctx context.Context, target, kind string, extra []byte) (ssh.Channel, <-chan *ssh.Request, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, openTimeout, fmt.Errorf("no answer from the bastion within %v", openTimeout))
	defer cancel()
	select {
	case c.opening <- struct{}{}:
	case <-c.done:
		return nil, nil, c.cause
	case <-ctx.Done():
		return nil, nil, context.Cause(ctx)
	}
	asked, answer := time.Now(), relay.AskForChannel(c.ssh, kind, extra)
	select {
	case o := <-answer:
		<-c.opening
		c.log.Log(ctx, logDebug2, "channel answered", "type", kind, "target", target, "opened", o.Err == nil, "after", time.Since(asked).Round(time.Millisecond))
		if refused := (*ssh.OpenChannelError)(nil); o.Err != nil && !errors.As(o.Err, &refused) {
			c.Drop() // there is no answer any more, and who asks whether the connection has ended must hear so
			<-c.done
		}
		return o.Channel, o.Requests, o.Err
	case <-c.done:
		<-c.opening
		return nil, nil, c.cause
	case <-ctx.Done():
		c.wg.Go(func() { c.late(answer) })
		return nil, nil, context.Cause(ctx)
	}
}

// late closes a channel that nobody wants any more when it is answered.
func (c *connection) late(answer <-chan relay.Opened) {
	defer func() { <-c.opening }()
	select {
	case o := <-answer:
		if o.Err == nil {
			relay.NewChannel(o.Channel, o.Requests, c.channel).Abort()
		}
	case <-c.done:
	}
}

// Done is [uplink.Done].
func (c *connection) Done() <-chan struct{} { return c.done }

// Cause is [uplink.Cause].
func (c *connection) Cause() error { return c.cause }

// Drop is [uplink.Drop].
func (c *connection) Drop() { _ = c.ssh.Close() } // one that is gone already serves as well

// Close is [uplink.Close].
func (c *connection) Close() {
	late := time.AfterFunc(partingTimeout, c.Drop)
	c.incoming.close()
	late.Stop()
	c.Drop()
	c.sides.close()
	c.wg.Wait()
}
