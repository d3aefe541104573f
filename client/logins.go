package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/culvert-ssh/culvert/ftp"
	"github.com/culvert-ssh/culvert/relay"
	"github.com/culvert-ssh/culvert/sshconfig"
)

// LoginForSSH is what of an FTP login serves for the SSH connection as well.
type LoginForSSH struct {
	Host     bool // the FTP server's host is the SSH server
	User     bool
	Password bool // and no other way to log in
}

// any reports whether each FTP login has an SSH connection of its own.
func (l LoginForSSH) any() bool { return l != LoginForSSH{} }

func setLoginForSSH(c *Config, value string) error {
	var l LoginForSSH
	if !strings.EqualFold(value, "no") {
		for word := range strings.SplitSeq(strings.ToLower(value), ",") {
			switch word {
			case "host":
				l.Host = true
			case "user":
				l.User = true
			case "password":
				l.Password = true
			default:
				return fmt.Errorf("%q is neither no nor a list of host, user and password", value)
			}
		}
	}
	c.LoginForSSH = l
	return nil
}

// checkLogins refuses what can't be carried by the SSH connections of FTP logins: it has no login.
func (c *Config) checkLogins() error {
	isFTP := func(f Forward) bool { return f.Kind.ftp() || f.Kind.various() }
	switch {
	case !c.LoginForSSH.any():
		return nil
	case c.ControlPath != "" || len(c.Via) > 0: // whose connection is somebody's already, and whose options are ssh's
		return errors.New("FTPLoginForSSH: the SSH connection comes with an FTP login, and culvert makes it itself, so that there can be no -S and no --via")
	case len(c.RemoteForwards) > 0:
		return errors.New("FTPLoginForSSH: the SSH connection comes with an FTP login, so that there can be no remote forwards")
	case slices.ContainsFunc(c.Forwards, func(f Forward) bool { return !isFTP(f) }):
		return errors.New("FTPLoginForSSH: the SSH connection comes with an FTP login, so that only ftp/, ftps/, ftp-proxy/ and ftp-redirect/ can be forwarded")
	case c.ControlPath != "" || len(c.Via) > 0:
		return errors.New("FTPLoginForSSH: an ssh has logged in already, or asks itself, so that neither -S nor --via can be used")
	case len(c.OpaquePorts) > 0:
		return errors.New("FTPLoginForSSH: the FTP login must be read, so that there can be no FTPOpaqueTLS")
	}
	return nil
}

// maxLogins bounds the SSH connections of FTP logins.
const maxLogins = 64

// logins has an SSH connection for each FTP login, which the sessions of that login share. As sessions, it has none: whoever has said no login
// gets nowhere.
type logins struct {
	cfg *Config
	ctx context.Context // of the links
	end context.CancelFunc
	wg  sync.WaitGroup

	mu    sync.Mutex
	links map[who]*loginLink
}

// who logs in. It is a key, so that only the same password finds a connection that was made with one.
type who struct{ host, user, password string }

type loginLink struct {
	*link
	sessions int // that have it
	end      context.CancelFunc
}

func newLogins(cfg *Config) *logins {
	l := &logins{cfg: cfg, links: make(map[who]*loginLink)}
	l.ctx, l.end = context.WithCancel(context.Background())
	return l
}

// close ends the connections, and returns when they have ended.
func (l *logins) close() {
	l.end()
	l.wg.Wait()
}

var errNoLogin = errors.New("the SSH connection comes with an FTP login, and there is none")

func (l *logins) begin() (Transport, func()) { return nowhere{}, func() {} }

func (l *logins) Open(context.Context, string, uint16, netip.AddrPort) (relay.Stream, error) {
	return nil, errNoLogin
}

// nowhere is a Transport that opens nothing.
type nowhere struct{}

func (nowhere) Open(context.Context, string, uint16, netip.AddrPort) (relay.Stream, error) {
	return nil, errNoLogin
}

func (nowhere) OpenControl(context.Context, string, uint16, netip.AddrPort) (relay.Stream, error) {
	return nil, errNoLogin
}
func (nowhere) OpenSocket(context.Context, string) (relay.Stream, error) { return nil, errNoLogin }
func (nowhere) Listen(context.Context, Listening) (Arrival, error)       { return nil, errNoLogin }
func (nowhere) ReadsFTP() bool                                           { return false }

// as returns the Transport of a session of what an FTP client has said. The caller must call end when all has ended that was opened by it.
func (l *logins) as(meant ftp.Meant) (t Transport, end func(), err error) {
	var w who
	if l.cfg.LoginForSSH.Host {
		w.host = meant.Host
	}
	if l.cfg.LoginForSSH.User {
		if w.user = meant.User; sshconfig.CheckUser(w.user) != nil {
			return nil, nil, fmt.Errorf("%q is no user name for SSH", w.user)
		}
	}
	if l.cfg.LoginForSSH.Password {
		w.password = meant.Password
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	x := l.links[w]
	if x == nil {
		if !l.room() {
			return nil, nil, fmt.Errorf("more than %d logins at once", maxLogins)
		}
		x = l.start(w)
	}
	x.sessions++
	t, endSession := x.begin()
	return t, sync.OnceFunc(func() {
		endSession()
		l.mu.Lock()
		defer l.mu.Unlock()
		x.sessions--
	}), nil
}

// room reports whether there is place for one more link, for which one without sessions may have to go. It needs l.mu.
func (l *logins) room() bool {
	if len(l.links) < maxLogins {
		return true
	}
	for w, x := range l.links {
		if x.sessions == 0 {
			x.end()
			delete(l.links, w)
			return true
		}
	}
	return false
}

// start begins a link. It needs l.mu.
func (l *logins) start(w who) *loginLink {
	cfg := l.config(w)
	x := &loginLink{link: newLink(linkConfig{
		name:    cfg.Dialled(),
		connect: func(ctx context.Context) (uplink, error) { return connectUplink(ctx, cfg) },
		passing: func(error) bool { return false }, // the client is told at once, as it may be the password
		idle:    l.cfg.IdleTimeout, patience: l.cfg.QueueTimeout,
		log: cfg.Logger(),
	}, rand.Float64)}
	ctx, end := context.WithCancel(l.ctx)
	x.end = end
	l.wg.Go(func() { x.run(ctx) })
	l.links[w] = x
	return x
}

// config is the configuration of the SSH connection of w.
func (l *logins) config(w who) *Config {
	cfg := &Config{Config: l.cfg.Config, Stripes: l.cfg.Stripes, StripesBudget: l.cfg.StripesBudget}
	if w.host != "" {
		cfg.Host, cfg.HostName, cfg.HostKeyAlias = w.host, "", ""
	}
	if w.user != "" {
		cfg.User = w.user
	}
	if !l.cfg.LoginForSSH.Password {
		return cfg
	}
	cfg.AuthMethods, cfg.Pubkey, cfg.Password, cfg.KeyboardInteractive = []string{"password", "keyboard-interactive"}, false, true, true
	cfg.PasswordPrompts = 1
	cfg.Secret = &w.password
	return cfg
}
