// Package server is the SSH server of the bastion: it accepts connections, makes the
// handshake, holds the limits, and gives every connection one owner that is waited for. Who a client
// is answers package auth; what its channels do is in package channels. It reads no
// configuration; what applies to whom it asks for when it needs it.
package server

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/culvert-ssh/culvert/audit"
	"github.com/culvert-ssh/culvert/auth"
	"github.com/culvert-ssh/culvert/channels"
	"github.com/culvert-ssh/culvert/policy"
	"github.com/culvert-ssh/culvert/stripe"
)

// stripesBudget and stripesShare are the memory, in bytes, for the streams with stripes of all connections and of one. A share is four
// transfers at 16 MiB at once. What all have is little to a bastion that has use for it, and a bound for the others.
const (
	stripesBudget = 256 << 20
	stripesShare  = 64 << 20
)

// Config is what a Server needs. Every field is required unless it says otherwise.
type Config struct {
	Live

	Version string // of the program; the client sees it

	Auth      *auth.Authenticator
	Decide    func(policy.Request) policy.Decision
	Permitted func(policy.Subject) []string // the words to show to somebody

	// Settings are those that apply to a subject. Before authentication the subject
	// has only addresses, or the name that the client claims.
	Settings func(policy.Subject) Settings

	// Authorities are those in a file that FTPUpstreamTLSCAFile names; nil for a file that has not been read. If nil, there are no such
	// files.
	Authorities func(file string) *x509.CertPool

	// Line returns the file:line that gives a subject the value of a keyword, or nothing if that is its default.
	Line func(keyword string, s policy.Subject) string

	Audit *audit.Log
	Log   *slog.Logger
	Now   func() time.Time

	// Random returns a random number from 0 to n-1. If nil, math/rand/v2 does: the early drop of
	// MaxStartups needs no secret.
	Random func(n int) int
}

// Settings are what may differ from one subject to another.
type Settings struct {
	MaxAuthTries            int // at least 1
	MaxConnections          int // on which the user is logged in; if zero, there is no limit
	MaxSessions             int
	MaxChannels             int
	MaxStripes              int               // side connections of one connection; if zero, there are none
	ConnectTimeout          time.Duration     // positive
	ClientAliveInterval     time.Duration     // of silence, until the client is asked; if zero, it is not asked
	ClientAliveCountMax     int               // questions without an answer that end the connection; if zero, none do
	Sessions                channels.Sessions // Directory is set from ChrootDirectory
	ChrootDirectory         string            // with the tokens %%, %h, %U and %u in it; if empty, there is none
	ChannelTimeouts         []channels.Timeout
	UnusedConnectionTimeout time.Duration // if zero, there is none

	Banner string // file that is sent before authentication; if empty, none is

	// Line names the file:line that says the value of a keyword, or is empty for a default. If nil, no line is named.
	Line func(keyword string) string
}

// line is Line.
func (s *Settings) line(keyword string) string {
	if s.Line == nil {
		return ""
	}
	return s.Line(keyword)
}

// sessions are those of a user.
func (s *Settings) sessions(user string) channels.Sessions {
	sessions := s.Sessions
	if path := s.ChrootDirectory; path != "" {
		sessions.Directory = func() (string, error) { return auth.UserPath(path, user) }
	}
	return sessions
}

// ErrServerClosed is what Serve returns after Shutdown, while Drain runs, and when its listener is closed.
var ErrServerClosed = errors.New("server is shut down")

// Server serves SSH connections.
type Server struct {
	cfg       Config
	version   string // RFC 4253, section 4.2
	live      atomic.Pointer[live]
	startups  startups
	headers   startups // connections from proxies that haven't named their client
	penalties penaltyStore
	logins    logins
	sideKeys  sideKeys
	budget    *stripe.Budget
	reporter  reporter
	lastID    atomic.Uint64
	panics    atomic.Int64
	changes   atomic.Uint64 // how often Recheck was called
	traffic   traffic

	mu        sync.Mutex
	closing   bool
	draining  chan struct{} // closed when nothing is left; nil if Drain doesn't run
	listeners map[net.Listener]*loop
	open      map[*connection]struct{}
	nameless  map[*place]context.CancelCauseFunc // end connections whose proxy hasn't named the client yet
	owners    sync.WaitGroup
	stopped   chan struct{} // closed when closing is set
}

// New checks cfg.
func New(cfg Config) (*Server, error) {
	switch {
	case cfg.Auth == nil, cfg.Decide == nil, cfg.Permitted == nil, cfg.Settings == nil, cfg.Line == nil:
		return nil, errors.New("server: Auth, Decide, Permitted, Settings and Line are required")
	case cfg.Audit == nil, cfg.Log == nil, cfg.Now == nil:
		return nil, errors.New("server: Audit, Log and Now are required")
	case !softwareVersion(cfg.Version):
		return nil, fmt.Errorf("server: %q can't stand in an SSH version", cfg.Version)
	}
	if cfg.Random == nil {
		cfg.Random = rand.IntN
	}
	s := &Server{
		cfg:       cfg,
		version:   "SSH-2.0-culvert_" + cfg.Version,
		startups:  startups{random: cfg.Random, pending: newPending()},
		headers:   startups{random: cfg.Random, pending: newPending()},
		penalties: &lockedPenalties{store: newPenaltyTable()},
		budget:    stripe.NewBudget(stripesBudget, stripesShare),
		reporter:  reporter{counts: newRefusals()},
		listeners: make(map[net.Listener]*loop),
		open:      make(map[*connection]struct{}),
		nameless:  make(map[*place]context.CancelCauseFunc),
		stopped:   make(chan struct{}),
	}
	if err := s.Update(cfg.Live); err != nil {
		return nil, err
	}
	return s, nil
}

// softwareVersion reports whether v is printable ASCII without spaces and minus signs (RFC 4253, section 4.2).
func softwareVersion(v string) bool {
	return v != "" && len(v) <= 64 && strings.IndexFunc(v, func(r rune) bool { return r <= ' ' || r > '~' || r == '-' }) < 0
}

// Panics returns how often a handler or a callback panicked. Each time one connection was lost.
func (s *Server) Panics() int64 { return s.panics.Load() }

// Serve accepts connections on l, which it closes in the end, until l is closed, by Shutdown, Drain or whoever made it, or an error. It
// may be called for several listeners.
func (s *Server) Serve(l net.Listener) error {
	if !s.listen(l) {
		return errors.Join(ErrServerClosed, l.Close())
	}
	defer s.unlisten(l)
	for pause := time.Duration(0); ; {
		nc, err := l.Accept()
		switch {
		case err == nil:
			pause = 0
			s.busy(l, time.Now())
			s.accept(nc)
			s.busy(l, time.Time{})
		case s.stopsListening(), errors.Is(err, net.ErrClosed):
			return ErrServerClosed
		case transient(err):
			// Descriptors may be had again when connections end; whoever exhausted
			// them must not stop the server.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			s.cfg.Log.Error("accept failed, trying again", "address", l.Addr().String(), "err", err, "pause", pause)
			select {
			case <-time.After(pause):
			case <-s.stopped:
			}
		default:
			return fmt.Errorf("accept on %s: %w", l.Addr(), err)
		}
	}
}

// transient reports whether accept(2) may succeed later.
func transient(err error) bool {
	for _, errno := range []syscall.Errno{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
		syscall.ECONNABORTED, syscall.EINTR, syscall.EPROTO, syscall.EPERM,
	} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// Shutdown closes the listeners, tells everybody that the server stops, closes all connections,
// and returns when nothing of them is left, or with an error when ctx is done.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	if !s.closing {
		s.closing = true
		close(s.stopped)
	}
	for l := range s.listeners {
		_ = l.Close() // it stops listening; there is nothing more to be had from it
	}
	for _, end := range s.nameless {
		end(errShutdown)
	}
	var stopping sync.WaitGroup
	for c := range s.open {
		stopping.Go(c.shutdown)
	}
	s.mu.Unlock()

	done := make(chan struct{})
	go func() {
		stopping.Wait()
		s.owners.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for connections to end: %w", ctx.Err())
	}
}

func (s *Server) listen(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing || s.draining != nil {
		return false
	}
	s.listeners[l] = new(loop)
	return true
}

func (s *Server) unlisten(l net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, l)
	_ = l.Close() // it is closed already, or has failed
	s.checkDrained()
}

func (s *Server) stopsListening() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing || s.draining != nil
}

func (s *Server) forget(c *connection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
	s.checkDrained()
}
