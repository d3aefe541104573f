package server

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	gliderssh "github.com/gliderlabs/ssh"
	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/stripe"
)

// What serves the channels and global requests of all connections, and of all side connections: a table for each would be a part of what an
// idle one holds.
var (
	channelHandlers = map[string]gliderssh.ChannelHandler{"default": func(srv *gliderssh.Server, conn *ssh.ServerConn, nc ssh.NewChannel, ctx gliderssh.Context) {
		connectionOf(ctx).channel(srv, conn, nc, ctx)
	}}
	requestHandlers = map[string]gliderssh.RequestHandler{"default": func(ctx gliderssh.Context, srv *gliderssh.Server, r *ssh.Request) (ok bool, payload []byte) {
		return connectionOf(ctx).globalRequest(ctx, srv, r)
	}}
	asideChannelHandlers = map[string]gliderssh.ChannelHandler{"default": func(srv *gliderssh.Server, conn *ssh.ServerConn, nc ssh.NewChannel, ctx gliderssh.Context) {
		connectionOf(ctx).serveAside(srv, conn, nc, ctx)
	}}
	asideRequestHandlers = map[string]gliderssh.RequestHandler{"default": refuseAside}
)

// connectionKey is where a connection is in its context.
type connectionKey struct{}

func connectionOf(ctx gliderssh.Context) *connection { return ctx.Value(connectionKey{}).(*connection) }

// handler returns a gliderlabs/ssh server for this one connection. It authenticates nobody and serves no
// channel by itself; it calls back here for all of it.
func (c *connection) handler() *gliderssh.Server {
	channel, globalRequest := channelHandlers, requestHandlers
	if c.isAside {
		channel, globalRequest = asideChannelHandlers, asideRequestHandlers
	}
	return &gliderssh.Server{
		ConnCallback: func(ctx gliderssh.Context, wire net.Conn) net.Conn {
			ctx.SetValue(connectionKey{}, c)
			c.sshCtx = ctx
			return &greeted{Conn: wire, c: c}
		},
		ServerConfigCallback: func(gliderssh.Context) *ssh.ServerConfig { return c.serverConfig() },
		ConnectionFailedCallback: func(_ net.Conn, err error) {
			c.failed = err
			c.client.Failed(err)
		},
		ChannelHandlers: channel,
		RequestHandlers: globalRequest,
	}
}

// channel serves one channel, in a goroutine of its own.
func (c *connection) channel(_ *gliderssh.Server, conn *ssh.ServerConn, nc ssh.NewChannel, _ gliderssh.Context) {
	defer c.recovered("channel")
	if c.handlers.enter() {
		defer c.handlers.leave()
		if channels := c.serve(conn); channels != nil {
			channels.Serve(nc)
			return
		}
	}
	_ = nc.Reject(ssh.ConnectionFailed, "the connection ends") // which is why it fails
}

// globalRequest answers one global request; they come one after another.
func (c *connection) globalRequest(_ gliderssh.Context, _ *gliderssh.Server, r *ssh.Request) (ok bool, payload []byte) {
	defer c.recovered("global request")
	if !c.handlers.enter() {
		return false, nil
	}
	defer c.handlers.leave()
	conn := c.serverConn()
	channels := c.serve(conn)
	switch {
	case channels == nil:
		return false, nil
	case r.Type == proveRequest:
		return c.proved(conn, r.Payload)
	case r.Type == stripe.Request:
		return c.grantSides(channels, conn.User(), r.Payload)
	}
	return channels.GlobalRequest(r)
}

// serverConfig returns a configuration of its own for each connection: x/crypto/ssh writes to it.
func (c *connection) serverConfig() *ssh.ServerConfig {
	cfg := &ssh.ServerConfig{
		Config:        c.live.negotiable(c.software),
		MaxAuthTries:  c.maxAuthTries(),
		ServerVersion: c.greeting.ours,
	}
	exchanges := &exchanges{known: c.known}
	for _, key := range c.live.usable {
		cfg.AddHostKey(exchanges.signer(key))
	}
	cfg.PreAuthConnCallback = c.authenticating
	if c.isAside {
		c.aside().Install(cfg)
	} else {
		c.client.Install(cfg)
	}
	c.guard(cfg)
	return cfg
}

// guard gives the callbacks their turn (see unknown), and makes a panic in one a refusal that ends the connection. The callbacks run under the
// owner, which would recover as well, but x/crypto/ssh can then not clean up.
func (c *connection) guard(cfg *ssh.ServerConfig) {
	first := c.guarded(ssh.ServerAuthCallbacks{
		PasswordCallback: cfg.PasswordCallback, PublicKeyCallback: cfg.PublicKeyCallback,
		KeyboardInteractiveCallback: cfg.KeyboardInteractiveCallback,
	})
	cfg.PasswordCallback, cfg.PublicKeyCallback = first.PasswordCallback, first.PublicKeyCallback
	cfg.KeyboardInteractiveCallback = first.KeyboardInteractiveCallback
	if proven := cfg.VerifiedPublicKeyCallback; proven != nil {
		cfg.VerifiedPublicKeyCallback = func(meta ssh.ConnMetadata, key ssh.PublicKey, was *ssh.Permissions, algorithm string) (*ssh.Permissions, error) {
			return c.guardOne("proven public key", func() (*ssh.Permissions, error) { return proven(meta, key, was, algorithm) })
		}
	}
	if decided := cfg.AuthLogCallback; decided != nil {
		cfg.AuthLogCallback = func(meta ssh.ConnMetadata, method string, err error) {
			c.heard.slow.takeTurn()
			defer c.heard.slow.giveTurn()
			defer c.recovered("authentication")
			decided(meta, method, err)
			c.tried(meta.User(), method, err)
		}
	}
	cfg.BannerCallback = func(meta ssh.ConnMetadata) string {
		c.heard.slow.takeTurn()
		defer c.heard.slow.giveTurn()
		defer c.recovered("banner")
		c.s.startups.exchanged(c.place)
		return c.banner(meta.User())
	}
}

// guarded does it to the callbacks of one step of a login.
func (c *connection) guarded(step ssh.ServerAuthCallbacks) ssh.ServerAuthCallbacks {
	if offered := step.PublicKeyCallback; offered != nil {
		step.PublicKeyCallback = func(meta ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			return c.guardOne("public key", func() (*ssh.Permissions, error) { return offered(meta, key) })
		}
	}
	if password := step.PasswordCallback; password != nil {
		step.PasswordCallback = func(meta ssh.ConnMetadata, word []byte) (*ssh.Permissions, error) {
			return c.guardOne("password", func() (*ssh.Permissions, error) { return password(meta, word) })
		}
	}
	if interactive := step.KeyboardInteractiveCallback; interactive != nil {
		step.KeyboardInteractiveCallback = func(meta ssh.ConnMetadata, ask ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
			return c.guardOne("keyboard-interactive", func() (*ssh.Permissions, error) { return interactive(meta, c.asking(ask)) })
		}
	}
	return step
}

// guardOne runs a callback. The callbacks of the step that may follow are guarded as well.
func (c *connection) guardOne(where string, callback func() (*ssh.Permissions, error)) (perms *ssh.Permissions, err error) {
	c.heard.slow.takeTurn()
	defer c.heard.slow.giveTurn()
	defer func() {
		if p := recover(); p != nil {
			c.panicked(where, p)
			perms, err = nil, errInternal
		}
	}()
	perms, err = callback()
	var partial *ssh.PartialSuccessError
	if errors.As(err, &partial) {
		partial.Next = c.guarded(partial.Next)
	}
	return perms, err
}

// asking gives the callback's turn away while the client is asked, or its answer would never be read.
func (c *connection) asking(ask ssh.KeyboardInteractiveChallenge) ssh.KeyboardInteractiveChallenge {
	return func(name, instruction string, questions []string, echos []bool) ([]string, error) {
		c.heard.slow.giveTurn()
		defer c.heard.slow.takeTurn()
		return ask(name, instruction, questions, echos)
	}
}

// maxBanner bounds the banner, in bytes.
const maxBanner = 32 << 10

// banner returns the text that is sent before authentication (RFC 4252, section 5.4). Without it
// the connection goes on, as in sshd.
func (c *connection) banner(user string) string {
	if c.isAside { // there is nobody to read it
		return ""
	}
	path := c.s.cfg.Settings(c.client.Claimed(user)).Banner
	if path == "" {
		return ""
	}
	text, err := readBanner(path)
	if err != nil {
		c.log.Warn("banner is not sent", "err", err)
	}
	return text
}

func readBanner(path string) (string, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // opening a FIFO must not hang
	if err != nil {
		return "", err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return "", err
	} else if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%q is not a regular file", path)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxBanner+1))
	if err == nil && len(text) > maxBanner {
		err = fmt.Errorf("%q is longer than %d bytes", path, maxBanner)
	}
	if err != nil {
		return "", err
	}
	return string(text), nil
}
