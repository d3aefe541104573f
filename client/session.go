package client

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/culvert-ssh/culvert/relay"
)

// session is what one local connection, and all that belongs to it, is carried by: the uplink that the link had when it was first
// needed, and no other. It is a Transport.
type session struct {
	link *link

	mu   sync.Mutex
	user bool   // it is one of the link's users
	up   uplink // nil until it is needed
	used bool   // something was opened on it
}

// begin is [sessions.begin].
func (l *link) begin() (Transport, func()) {
	s := &session{link: l}
	return s, s.end
}

// Open is [Transport.Open] for a connection that is a session by itself.
func (l *link) Open(ctx context.Context, host string, port uint16, origin netip.AddrPort) (relay.Stream, error) {
	s := &session{link: l}
	stream, err := s.Open(ctx, host, port, origin)
	if err != nil {
		s.end()
		return nil, err
	}
	return &lastOfSession{stream, s}, nil
}

// lastOfSession is a stream whose end is that of its session.
type lastOfSession struct {
	relay.Stream
	session *session
}

// Close is [relay.Stream.Close].
func (l *lastOfSession) Close() error {
	defer l.session.end()
	return l.Stream.Close()
}

// Abort is [relay.Stream.Abort].
func (l *lastOfSession) Abort() {
	defer l.session.end()
	l.Stream.Abort()
}

func (s *session) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.user {
		s.user = false
		s.link.leave()
	}
}

// Open is [Transport.Open]. It waits for the SSH connection, if it must.
func (s *session) Open(ctx context.Context, host string, port uint16, origin netip.AddrPort) (stream relay.Stream, err error) {
	err = s.over(ctx, func(up uplink) (err error) {
		stream, err = up.Open(ctx, host, port, origin)
		return err
	})
	return stream, err
}

// OpenControl is [Transport.OpenControl]. It waits for the SSH connection, if it must.
func (s *session) OpenControl(ctx context.Context, host string, port uint16, origin netip.AddrPort) (stream relay.Stream, err error) {
	err = s.over(ctx, func(up uplink) (err error) {
		stream, err = up.OpenControl(ctx, host, port, origin)
		return err
	})
	return stream, err
}

// OpenSocket is [Transport.OpenSocket]. It waits for the SSH connection, if it must.
func (s *session) OpenSocket(ctx context.Context, path string) (stream relay.Stream, err error) {
	err = s.over(ctx, func(up uplink) (err error) {
		stream, err = up.OpenSocket(ctx, path)
		return err
	})
	return stream, err
}

// Listen is [Transport.Listen]. It waits for the SSH connection, if it must.
func (s *session) Listen(ctx context.Context, l Listening) (a Arrival, err error) {
	err = s.over(ctx, func(up uplink) (err error) {
		a, err = up.Listen(ctx, l)
		return err
	})
	return a, err
}

// over does something over the uplink of the session. A first thing that fails because the uplink turns out to have ended is done
// again over the next one: nobody has been told anything of it yet.
func (s *session) over(ctx context.Context, do func(uplink) error) error {
	deadline := time.Now().Add(s.link.patience)
	for {
		up, err := s.uplink(ctx, deadline)
		if err != nil {
			return err
		}
		err = do(up)
		switch again := s.settle(up, err == nil); {
		case err == nil || ctx.Err() != nil || !hasEnded(up):
			return err
		case !again:
			return fmt.Errorf("%w: %w", ErrConnectionLost, up.Cause())
		}
	}
}

// uplink returns that of the session, and waits for one if it has none.
func (s *session) uplink(ctx context.Context, deadline time.Time) (uplink, error) {
	s.mu.Lock()
	if !s.user {
		s.user = true
		s.link.enter()
	}
	up := s.up
	s.mu.Unlock()
	if up != nil {
		return up, nil
	}
	up, err := s.link.wait(ctx, deadline)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.up == nil { // or somebody else of the session has waited as well
		s.up = up
	}
	return s.up, nil
}

// settle notes how something went over up. It reports whether the session may take another one.
func (s *session) settle(up uplink, ok bool) (again bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used = s.used || ok
	if s.used || !hasEnded(up) {
		return false
	}
	if s.up == up {
		s.up = nil
	}
	return true
}

// ReadsFTP is [Transport.ReadsFTP]. It is known once something was opened.
func (s *session) ReadsFTP() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.up != nil && s.up.ReadsFTP()
}

// Done is closed when the session's uplink has ended. It is nil if the session has none.
func (s *session) Done() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.up == nil {
		return nil
	}
	return s.up.Done()
}
