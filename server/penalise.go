package server

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"

	"github.com/culvert-ssh/culvert/audit"
)

// Penalised returns the sources that have penalties (PerSourcePenalties), those first that last longest.
func (s *Server) Penalised() []Penalised { return s.penalties.list(s.cfg.Now()) }

// Unban takes away the penalties of every source that addr is in. It reports whether there were any.
func (s *Server) Unban(addr netip.Addr) bool { return s.penalties.forget(addr) }

// penalise adds the penalty for what the connection was, if there is one for it.
func (c *connection) penalise() {
	class := c.misbehaviour()
	if class == "" || c.id.Client == c.proxy { // which connects for itself
		return
	}
	p, ok := c.s.penalties.penalise(&c.live.penalties, c.id.Client.Addr(), class, c.s.cfg.Now())
	if !ok {
		return
	}
	c.log.Info("penalty", "source", p.Source, "class", p.Class, "seconds", p.Left.Seconds(), "active", p.Active)
	c.record(audit.Penalty{Source: p.Source, Class: p.Class, Seconds: p.Left.Seconds(), Active: p.Active})
}

// misbehaviour returns the class of PerSourcePenalties that the connection belongs to, or nothing. It must be
// called before end closes the connection of a client that has left.
func (c *connection) misbehaviour() string {
	switch cause := context.Cause(c.ctx); {
	case errors.Is(cause, errInternal):
		return classCrash
	case c.known():
		return ""
	case errors.Is(cause, errGrace):
		return classGraceExceeded
	case cause != nil && !errors.Is(cause, errTries) && !(errors.Is(cause, errPutOut) && c.client.Class() != classNoAuth):
		return "" // it was ended for no fault of its own
	}
	return c.client.Class() // also of who was put out, which whoever guesses could else bring about
}

// lockedPenalties is a penaltyStore for several goroutines.
type lockedPenalties struct {
	mu    sync.Mutex
	store penaltyStore
}

func (l *lockedPenalties) penalise(rules *penaltyRules, addr netip.Addr, class string, now time.Time) (Penalised, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.store.penalise(rules, addr, class, now)
}

func (l *lockedPenalties) refuses(rules *penaltyRules, addr netip.Addr, now time.Time) (string, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.store.refuses(rules, addr, now)
}

func (l *lockedPenalties) list(now time.Time) []Penalised {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.store.list(now)
}

func (l *lockedPenalties) forget(addr netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.store.forget(addr)
}
