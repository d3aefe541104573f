//go:build unix

package client

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/mux"
	"github.com/culvert-ssh/culvert/relay"
	"github.com/culvert-ssh/culvert/sshconfig"
)

// master is the SSH connection of another program as an uplink: of an ssh that runs as ControlMaster. What comes to ports of the SSH server has no
// originator there.
type master struct {
	*mux.Master
	mu        sync.Mutex
	listening map[place]*mux.Listener
}

// connectMaster attaches to the master whose control socket cfg names, or starts one. The caller must call Close.
func connectMaster(ctx context.Context, cfg *Config) (uplink, error) {
	if len(cfg.Via) > 0 {
		m, err := mux.Start(ctx, mux.SSH{
			Program: cfg.Via[0], Args: cfg.Via[1:],
			Say: func(line string) { cfg.Tell("ssh: " + sshconfig.Printable(line)) },
		})
		if err != nil {
			return nil, err
		}
		return newMaster(m), nil
	}
	path, err := cfg.Tokens().Path(cfg.ControlPath)
	if err != nil {
		return nil, fmt.Errorf("-S: %w", err)
	}
	m, err := mux.Dial(ctx, path)
	if err != nil {
		return nil, err
	}
	cfg.Logger().Debug("attached to an ssh", "socket", path)
	return newMaster(m), nil
}

func newMaster(m *mux.Master) *master {
	return &master{Master: m, listening: make(map[place]*mux.Listener)}
}

// Open is [Transport.Open]. The originator is the SSH server's own to say: ssh names none.
func (m *master) Open(ctx context.Context, host string, port uint16, _ netip.AddrPort) (relay.Stream, error) {
	return opened(ctx, Forward{Host: host, HostPort: port}.Target(), func(ctx context.Context) (relay.Stream, error) {
		return m.Master.Open(ctx, host, port)
	})
}

// OpenControl is [Transport.OpenControl]. Whose way it shares is the ssh's own business.
func (m *master) OpenControl(ctx context.Context, host string, port uint16, origin netip.AddrPort) (relay.Stream, error) {
	return m.Open(ctx, host, port, origin)
}

// OpenSocket is [Transport.OpenSocket].
func (m *master) OpenSocket(ctx context.Context, path string) (relay.Stream, error) {
	return opened(ctx, path, func(ctx context.Context) (relay.Stream, error) { return m.Master.OpenSocket(ctx, path) })
}

// opened is what open returns within openTimeout, or an error that says what to do.
func opened(ctx context.Context, target string, open func(context.Context) (relay.Stream, error)) (relay.Stream, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, openTimeout, fmt.Errorf("no answer from ssh within %v", openTimeout))
	defer cancel()
	s, err := open(ctx)
	var refused *mux.RefusedError
	switch {
	case errors.As(err, &refused):
		return nil, fmt.Errorf("the SSH server refused %s, or can't reach it: ssh says which where it was started (here it said: %s)",
			target, sshconfig.Printable(refused.Text))
	case err != nil:
		return nil, fmt.Errorf("open %s: %w", target, err)
	}
	return s, nil
}

// ReadsFTP is [Transport.ReadsFTP]. What culvert and culvertd have to agree on for that, ssh doesn't carry.
func (m *master) ReadsFTP() bool { return false }

// Listen is [Transport.Listen].
func (m *master) Listen(ctx context.Context, l Listening) (Arrival, error) {
	if l.Told.IsValid() && !l.Told.IsLoopback() {
		return nil, fmt.Errorf("ssh doesn't say who connects to %s, so that it could be anybody: leave -S and --via out for servers without passive mode that aren't on the bastion", l.Told)
	}
	w := newAwaited(l)
	if err := w.listenByForward(ctx, m, func(at place) { go m.unlisten(at) }); err != nil {
		return nil, err
	}
	return w, nil
}

// Remote is [uplink.Remote]. Whose data connection it is can be told on loopback only: there it is one of the bastion's own.
func (m *master) Remote(ctx context.Context, cfg *Config, f Forward) (ready string, err error) {
	if f.Kind.ftp() && f.Socket == "" {
		if f.Bind == "" || f.Bind == "localhost" {
			f.Bind = loopback4.String() // both addresses at once would leave open which of them the client is at
		}
		if !originator(f.Bind).IsValid() {
			return "", fmt.Errorf("listen on %s of the bastion for %s: ssh doesn't say who connects, so that data could go to anybody: bind to 127.0.0.1, or leave -S and --via out",
				f.asked(), f.Target())
		}
	}
	return remoteForward(ctx, cfg, m, f)
}

// originator is who connects to a port that the bastion listens on: only on loopback it is known, as it is nobody from elsewhere.
func originator(bound string) netip.AddrPort {
	a, err := netip.ParseAddr(bound)
	if err != nil || !a.IsLoopback() {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(a, 0)
}

// listen is [remoteEnd.listen]. The request is a tcpip-forward, as no other is known to an SSH server that doesn't read FTP.
func (m *master) listen(ctx context.Context, _ string, at place, serve func(*arrival)) (place, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, openTimeout, fmt.Errorf("no answer from ssh within %v", openTimeout))
	defer cancel()
	known := make(chan struct{}) // closed when at is what is listened on
	arrived := func(s relay.Stream) {
		<-known
		serve(&arrival{offer: streamOffer{s}, at: at, origin: originator(at.host)})
	}
	var l *mux.Listener
	var err error
	if at.socket != "" {
		l, err = m.ListenSocket(ctx, at.socket, arrived)
	} else {
		l, err = m.Master.Listen(ctx, at.host, at.port, arrived)
	}
	defer close(known)
	var refused *mux.RefusedError
	if errors.As(err, &refused) {
		return place{}, errNoListening
	}
	if err != nil {
		return place{}, err
	}
	if at.socket == "" {
		at.port = l.Port
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.listening[at] = l
	return at, nil
}

// unlisten is [remoteEnd.unlisten].
func (m *master) unlisten(at place) {
	m.mu.Lock()
	l := m.listening[at]
	delete(m.listening, at)
	m.mu.Unlock()
	if l != nil {
		l.Close()
	}
}

var errNotOverSSH = errors.New("ssh can't do that for us")

// expect is [remoteEnd.expect]. It isn't asked for: the bastion doesn't read FTP.
func (m *master) expect(place, func(*arrival)) (place, error) { return place{}, errNotOverSSH }

// forget is [remoteEnd.forget].
func (m *master) forget(place) {}

// flushed is [remoteEnd.flushed]. What ssh has yet to send isn't known.
func (m *master) flushed() error { return errNotOverSSH }

// Cause is [uplink.Cause].
func (m *master) Cause() error { return errors.New("the ssh that has it is gone") }

// streamOffer is a connection that is there already.
type streamOffer struct{ relay.Stream }

func (o streamOffer) accept() (relay.Stream, error)      { return o.Stream, nil }
func (o streamOffer) refuse(ssh.RejectionReason, string) { o.Abort() }
