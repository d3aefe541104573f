package server

import (
	"fmt"
	"net"
	"time"
)

// loop is an accept loop.
type loop struct {
	busy time.Time // since when it has had a connection in its hands; zero while it waits for one
}

// Stuck returns an error if an accept loop has had one connection in its hands for longer than limit, which no loop
// does that is well. If it doesn't return, something is stuck as well.
func (s *Server) Stuck(limit time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for l, loop := range s.listeners {
		if since := loop.busy; !since.IsZero() && time.Since(since) > limit {
			return fmt.Errorf("nothing is accepted on %s for %v", l.Addr(), time.Since(since).Round(time.Second))
		}
	}
	return nil
}

// busy says that the accept loop of l has a connection in its hands, or waits for one.
func (s *Server) busy(l net.Listener, since time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if loop := s.listeners[l]; loop != nil {
		loop.busy = since
	}
}
