package server

import (
	"context"
	"fmt"
)

// Drain closes the listeners, which another process may have by now, and returns when the last connection has ended, or
// with an error when ctx is done. Connections notice nothing. Once it has returned, Serve may be called again.
func (s *Server) Drain(ctx context.Context) error {
	s.mu.Lock()
	s.draining = make(chan struct{})
	drained := s.draining
	for l := range s.listeners {
		_ = l.Close() // what has been accepted is served all the same
	}
	s.checkDrained()
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.draining = nil
	}()
	select {
	case <-drained:
		return nil
	case <-ctx.Done():
	}
	return fmt.Errorf("wait for the last connection to end: %w", context.Cause(ctx))
}

// Ready reports whether new connections are accepted.
func (s *Server) Ready() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.closing && s.draining == nil && len(s.listeners) > 0
}

// checkDrained needs s.mu. An accept loop that has not returned yet may still have a connection in its hands.
func (s *Server) checkDrained() {
	if s.draining == nil || len(s.listeners) > 0 || len(s.nameless) > 0 || len(s.open) > 0 {
		return
	}
	select {
	case <-s.draining: // it was noticed before
	default:
		close(s.draining)
	}
}

// LastID is the number of the connection that was accepted last; see ContinueAfter.
func (s *Server) LastID() uint64 { return s.lastID.Load() }

// ContinueAfter numbers connections from id on: those up to it are another process's, whose audit log is the same. It is to be called
// before Serve.
func (s *Server) ContinueAfter(id uint64) { s.lastID.Store(max(id, s.lastID.Load())) }
