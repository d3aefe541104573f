package server

import (
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	gliderssh "github.com/gliderlabs/ssh"
	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/policy"
)

// handler returns a gliderlabs/ssh server for this one connection. It authenticates nobody and serves no
// channel by itself; it calls back here for all of it.
func (c *connection) handler() *gliderssh.Server {
	return &gliderssh.Server{
		ConnCallback: func(ctx gliderssh.Context, wire net.Conn) net.Conn {
			c.sshCtx = ctx
			return wire
		},
		ServerConfigCallback: func(gliderssh.Context) *ssh.ServerConfig { return c.serverConfig() },
		ConnectionFailedCallback: func(_ net.Conn, err error) {
			c.failed = err
			c.client.Failed(err)
		},
		ChannelHandlers: map[string]gliderssh.ChannelHandler{"default": c.channel},
		RequestHandlers: map[string]gliderssh.RequestHandler{"default": c.globalRequest},
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
	if channels := c.serve(c.serverConn()); channels != nil {
		return channels.GlobalRequest(r)
	}
	return false, nil
}

// serverConfig returns a configuration of its own for each connection: x/crypto/ssh writes to it.
func (c *connection) serverConfig() *ssh.ServerConfig {
	cfg := &ssh.ServerConfig{
		Config:        c.live.negotiable(c.software),
		MaxAuthTries:  max(1, c.s.cfg.Settings(policy.Subject{Addr: c.id.Client.Addr(), LocalAddr: c.local}).MaxAuthTries),
		ServerVersion: c.greeting.ours,
	}
	for _, key := range c.live.usable {
		cfg.AddHostKey(key)
	}
	c.client.Install(cfg)
	c.guard(cfg)
	return cfg
}

// guard gives the callbacks their turn (see unknown), and makes a panic in one a refusal that ends the connection. The callbacks run under the
// owner, which would recover as well, but x/crypto/ssh can then not clean up.
func (c *connection) guard(cfg *ssh.ServerConfig) {
	refuse := func(where string, perms **ssh.Permissions, err *error) {
		if p := recover(); p != nil {
			c.panicked(where, p)
			*perms, *err = nil, errInternal
		}
	}
	if offered := cfg.PublicKeyCallback; offered != nil {
		cfg.PublicKeyCallback = func(meta ssh.ConnMetadata, key ssh.PublicKey) (perms *ssh.Permissions, err error) {
			defer c.heard.slow.takeTurn()()
			defer refuse("public key", &perms, &err)
			return offered(meta, key)
		}
	}
	if proven := cfg.VerifiedPublicKeyCallback; proven != nil {
		cfg.VerifiedPublicKeyCallback = func(meta ssh.ConnMetadata, key ssh.PublicKey, was *ssh.Permissions, algorithm string) (perms *ssh.Permissions, err error) {
			defer c.heard.slow.takeTurn()()
			defer refuse("proven public key", &perms, &err)
			return proven(meta, key, was, algorithm)
		}
	}
	if password := cfg.PasswordCallback; password != nil {
		cfg.PasswordCallback = func(meta ssh.ConnMetadata, word []byte) (perms *ssh.Permissions, err error) {
			defer c.heard.slow.takeTurn()()
			defer refuse("password", &perms, &err)
			return password(meta, word)
		}
	}
	if decided := cfg.AuthLogCallback; decided != nil {
		cfg.AuthLogCallback = func(meta ssh.ConnMetadata, method string, err error) {
			defer c.heard.slow.takeTurn()()
			defer c.recovered("authentication")
			decided(meta, method, err)
		}
	}
	cfg.BannerCallback = func(meta ssh.ConnMetadata) string {
		defer c.heard.slow.takeTurn()()
		defer c.recovered("banner")
		return c.banner(meta.User())
	}
}

// maxBanner bounds the banner, in bytes.
const maxBanner = 32 << 10

// banner returns the text that is sent before authentication (RFC 4252, section 5.4). Without it
// the connection goes on, as in sshd.
func (c *connection) banner(user string) string {
	path := c.s.cfg.Settings(policy.Subject{User: user, Addr: c.id.Client.Addr(), LocalAddr: c.local}).Banner
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
	text, err := io.ReadAll(io.LimitReader(f, maxBanner+1))
	if err == nil && len(text) > maxBanner {
		err = fmt.Errorf("%q is longer than %d bytes", path, maxBanner)
	}
	if err != nil {
		return "", err
	}
	return string(text), nil
}
