package login

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"

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

	cfg     *Config
	way     way
	hostKey ssh.PublicKey // that the server has shown
	wg      sync.WaitGroup
}

// Close ends the connection, those to jump hosts as well, and waits for what ran on its behalf.
func (c *Conn) Close() error {
	err := c.Conn.Close()
	c.wg.Wait()
	if c.way != nil { // as Connect has made it
		c.way.end()
	}
	return err
}

// Connect makes its way to the bastion, checks its host key, and authenticates. The error tells a person what to do. The caller
// must call Close.
func Connect(ctx context.Context, cfg *Config) (*Conn, error) { return connect(ctx, cfg, nil) }

// connect is Connect on behalf of the connections that behind tells of, the bastion's own first.
func connect(ctx context.Context, cfg *Config, behind []*Config) (*Conn, error) {
	if err := cfg.check(behind); err != nil {
		return nil, err
	}
	for _, r := range cfg.remarks {
		cfg.Logger().Debug("a setting", "host", cfg.Host, "remark", r)
	}
	keys, err := loadHostKeys(cfg)
	if err != nil {
		return nil, err
	}
	way, err := reach(ctx, cfg, behind)
	if err != nil {
		return nil, err
	}
	c, err := shakeHands(ctx, cfg, way, identification{addr: keys.addr, algorithms: keys.algorithms(), check: keys.check})
	if err != nil {
		return nil, err
	}
	logHandshake(cfg, c)
	c.followHostKeys(ctx, keys)
	return c, nil
}

// identification is how a server shows that it is the right one.
type identification struct {
	addr       string // it is known by
	algorithms []string
	check      func(context.Context, net.Addr, ssh.PublicKey) error
	key        ssh.Signer // we log in with that and with nothing else; if nil, with what the configuration says
	word       string     // behind our own identification, as comments (RFC 4253, section 4.2)
}

// shakeHands makes an SSH connection of way, and owns it.
func shakeHands(ctx context.Context, cfg *Config, way way, id identification) (*Conn, error) {
	first := &greeted{way: way}
	c := &Conn{cfg: cfg, way: way, Wire: relay.NewWire(first)}
	if tcp, ok := way.(tcpWay); ok {
		c.Wire.Over(tcp.Socket)
	}
	stop := context.AfterFunc(ctx, func() { _ = c.Wire.Close() })
	err := c.handshake(ctx, id)
	if !stop() && err == nil {
		err = errors.Join(context.Cause(ctx), c.Close())
	}
	if err != nil {
		way.end()
		return nil, failure{cfg, err, first.greeting(), way.fault()}.explain(ctx)
	}
	return c, nil
}

// handshake closes the wire if it fails.
func (c *Conn) handshake(ctx context.Context, id identification) (err error) {
	cfg := c.cfg
	p := newPauser(c.Wire, cfg.ConnectTimeout)
	defer p.end()
	auth := newAuthenticator(ctx, cfg, p.pause, c.Wire.Lost)
	auth.only = id.key
	defer auth.close()

	config := &ssh.ClientConfig{
		Config: ssh.Config{
			KeyExchanges: cfg.KeyExchanges,
			Ciphers:      cfg.Ciphers,
			MACs:         cfg.MACs,
		},
		User:              cfg.User,
		ClientVersion:     strings.TrimSpace(version + " " + id.word),
		HostKeyAlgorithms: id.algorithms,
		AuthCallback:      auth.next,
		// The library repeats the check at each key exchange of the connection. Only the first
		// may ask; the later ones must show the same key.
		HostKeyCallback: onceThenSame(func(remote net.Addr, key ssh.PublicKey) error {
			defer p.pause()()
			c.hostKey = key
			return id.check(ctx, remote, key)
		}),
		BannerCallback: func(banner string) error {
			for line := range strings.Lines(banner) {
				cfg.Tell(sshconfig.Printable(strings.TrimRight(line, "\r\n")))
			}
			return nil
		},
	}
	c.Conn, c.Channels, c.Requests, err = ssh.NewClientConn(c.Wire, id.addr, config)
	if err != nil && p.expired() {
		return errSilence
	}
	if tcp, ok := c.way.(tcpWay); ok && err == nil {
		tcp.Under(c.Conn)
	}
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
