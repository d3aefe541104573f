package login

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/relay"
	"github.com/culvert-ssh/culvert/sshconfig"
)

// version is what the server is told (RFC 4253, section 4.2).
const version = "SSH-2.0-culvert"

// Conn is an SSH connection to a bastion, authenticated. Its channels and requests must be served, or it stalls.
type Conn struct {
	ssh.Conn
	Channels <-chan ssh.NewChannel
	Requests <-chan *ssh.Request
	Wire     *relay.Wire // what it goes over
}

// Connect dials the bastion, checks its host key, and authenticates. The error tells a person what to do. The caller
// owns the connection.
func Connect(ctx context.Context, cfg *Config) (*Conn, error) {
	keys, err := loadHostKeys(cfg)
	if err != nil {
		return nil, err
	}
	host := cfg.Dialled()
	port := strconv.Itoa(int(cfg.Port))
	dialer := net.Dialer{Timeout: cfg.ConnectTimeout}
	cfg.Logger().Debug("connecting", "host", host, "port", port)
	raw, err := dialer.DialContext(ctx, cfg.Network, net.JoinHostPort(host, port))
	if err != nil {
		return nil, dialError(host, port, cfg.ConnectTimeout, err)
	}
	tcp, ok := raw.(*net.TCPConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("connect to %s port %s: not a TCP connection", host, port), raw.Close())
	}
	relay.KeepAlive(tcp) // for who has set ServerAliveInterval to 0
	c := &Conn{Wire: relay.NewWire(relay.QuickACK(tcp))}

	stop := context.AfterFunc(ctx, func() { _ = c.Wire.Close() })
	err = c.handshake(ctx, cfg, keys)
	if !stop() && err == nil {
		err = errors.Join(context.Cause(ctx), c.Close())
	}
	if err != nil {
		return nil, handshakeError(ctx, cfg, host, err)
	}
	logHandshake(cfg, c)
	return c, nil
}

// handshake closes the wire if it fails.
func (c *Conn) handshake(ctx context.Context, cfg *Config, keys *hostKeys) (err error) {
	p := &pauser{wire: c.Wire, timeout: cfg.ConnectTimeout}
	p.restart()
	defer p.end()
	auth := newAuthenticator(ctx, cfg, p.pause, c.Wire.Lost)
	defer auth.close()

	algorithms := ssh.SupportedAlgorithms()
	config := &ssh.ClientConfig{
		Config: ssh.Config{
			KeyExchanges: algorithms.KeyExchanges,
			Ciphers:      cfg.Ciphers,
			MACs:         algorithms.MACs,
		},
		User:              cfg.User,
		ClientVersion:     version,
		HostKeyAlgorithms: keys.algorithms(),
		AuthCallback:      auth.next,
		// The library repeats the check at each key exchange of the connection. Only the first
		// may ask; the later ones must show the same key.
		HostKeyCallback: onceThenSame(func(remote net.Addr, key ssh.PublicKey) error {
			defer p.pause()()
			return keys.check(ctx, remote, key)
		}),
		BannerCallback: func(banner string) error {
			for line := range strings.Lines(banner) {
				cfg.Tell(sshconfig.Printable(strings.TrimRight(line, "\r\n")))
			}
			return nil
		},
	}
	c.Conn, c.Channels, c.Requests, err = ssh.NewClientConn(c.Wire, keys.addr, config)
	return err
}

func logHandshake(cfg *Config, conn *Conn) {
	cfg.Logger().Debug("authenticated", "user", cfg.User, "server", sshconfig.Printable(string(conn.ServerVersion())))
	if meta, ok := conn.Conn.(ssh.AlgorithmsConnMetadata); ok {
		a := meta.Algorithms()
		cfg.Logger().Debug("algorithms", "kex", a.KeyExchange, "hostkey", a.HostKey, "cipher", a.Write.Cipher, "mac", a.Write.MAC)
	}
}

// onceThenSame runs check for the first key and then accepts that key alone.
func onceThenSame(check func(net.Addr, ssh.PublicKey) error) ssh.HostKeyCallback {
	var accepted []byte
	return func(_ string, remote net.Addr, key ssh.PublicKey) error {
		if accepted != nil {
			if string(accepted) != string(key.Marshal()) {
				return errors.New("the host key changed while we were connected")
			}
			return nil
		}
		if err := check(remote, key); err != nil {
			return err
		}
		accepted = key.Marshal()
		return nil
	}
}

// handshakeError picks what a person wants to know out of err.
func handshakeError(ctx context.Context, cfg *Config, host string, err error) error {
	var denied *permissionError
	var hostKey *hostKeyError
	var algorithms *ssh.AlgorithmNegotiationError
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &hostKey):
		return hostKey
	case errors.As(err, &denied):
		return errors.New(strings.TrimPrefix(err.Error(), "ssh: handshake failed: "))
	case errors.As(err, &algorithms):
		return fmt.Errorf("agree on algorithms with %s: %s", host, sshconfig.Printable(algorithms.Error()))
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%s port %d was silent for %v during the SSH handshake: is that an SSH server?", host, cfg.Port, cfg.ConnectTimeout)
	}
	return fmt.Errorf("SSH handshake with %s: %s", host, sshconfig.Printable(strings.TrimPrefix(err.Error(), "ssh: handshake failed: ")))
}

// pauser is the deadline of a handshake: the server must be done within timeout, not counting
// the time that a person or an agent takes.
type pauser struct {
	wire    *relay.Wire
	timeout time.Duration

	mu     sync.Mutex
	paused int
	ended  bool
}

func (p *pauser) restart() {
	_ = p.wire.SetDeadline(time.Now().Add(p.timeout)) // fails only on a closed connection
}

// pause stops the clock until resume is called; the server's time then begins anew.
func (p *pauser) pause() (resume func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.paused++; !p.ended {
		_ = p.wire.SetDeadline(time.Time{})
	}
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.paused--; p.paused == 0 && !p.ended {
			p.restart()
		}
	}
}

// end takes the deadline away for good.
func (p *pauser) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	_ = p.wire.SetDeadline(time.Time{})
}
