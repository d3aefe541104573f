package server

import (
	"fmt"
	"sync"
)

// Startups is MaxStartups: from Start connections that are not authenticated on, a new one is refused with a
// probability that begins at Rate percent and grows to 100 at Full.
type Startups struct{ Start, Rate, Full int }

func (l Startups) check() error {
	if l.Start < 1 || l.Full < l.Start || l.Rate < 0 || l.Rate > 100 {
		return fmt.Errorf("server: MaxStartups %d:%d:%d makes no sense", l.Start, l.Rate, l.Full)
	}
	return nil
}

// refuses tells whether a connection that comes while others are not authenticated is refused. The random
// number is from 0 to 99.
func (l Startups) refuses(others, random int) bool {
	switch {
	case others < l.Start:
		return false
	case others >= l.Full:
		return true
	}
	return random < l.Rate+(100-l.Rate)*(others-l.Start)/(l.Full-l.Start)
}

// startups counts the connections that are not authenticated yet.
type startups struct {
	random func(n int) int

	mu      sync.Mutex
	limit   Startups
	pending int
}

func (s *startups) update(l Startups) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit = l
}

// admit counts a new connection, unless it is refused. The caller must call release once it is authenticated
// or closed, or both.
func (s *startups) admit() (release func(), pending int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.limit.refuses(s.pending, s.random(100)) {
		return nil, s.pending, false
	}
	s.pending++
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.pending--
	}), s.pending, true
}
