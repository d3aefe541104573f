package server

import (
	"fmt"
	"net/netip"
	"sync"
	"time"
)

// Startups is MaxStartups: from Start connections that are not authenticated on, a new one is refused with a
// probability that begins at Rate percent and grows to 100 at Full. Or it gets the place of another; see pending.
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

// startups gives places to connections that are not authenticated yet. Whoever gets one must call leave once the
// connection is authenticated or closed, or both.
type startups struct {
	random func(n int) int

	mu      sync.Mutex
	pending *pending
}

// admit gives a place to a connection from addr, or none and why. Somebody else may lose a place by it.
func (s *startups) admit(rules *sharing, addr netip.Addr, now time.Time) (admitted *place, reason string) {
	admitted, putOut, reason := s.draw(rules, addr, now)
	if putOut != nil {
		putOut()
	}
	return admitted, reason
}

// draw is admit without putting anybody out.
func (s *startups) draw(rules *sharing, addr netip.Addr, now time.Time) (admitted *place, putOut func(), reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	admitted, out, reason := s.pending.admit(rules, addr, s.random(100), now)
	if out != nil {
		putOut = out.putOut
	}
	return admitted, putOut, reason
}

// occupy says how the connection that has the place is put out. If that is due already, it happens at once.
func (s *startups) occupy(p *place, putOut func()) {
	s.mu.Lock()
	p.putOut = putOut
	lost := p.network == nil
	s.mu.Unlock()
	if lost {
		putOut()
	}
}

// exchanged tells that the key exchange is over.
func (s *startups) exchanged(p *place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending.exchanged(p)
}

func (s *startups) leave(p *place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending.leave(p)
}
