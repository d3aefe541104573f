package client

import (
	"sync"
	"time"

	"github.com/culvert-ssh/culvert/relay"
)

// least returns the side connection that carries the fewest streams, and what to call when the one more has ended. It is nil if there
// is none that carries whole streams.
func (s *sides) least() (x *side, leave func()) {
	if s == nil {
		return nil, nil
	}
	select {
	case <-s.agreed:
	default:
		return nil, nil
	}
	if s.key != nil || s.most == 0 {
		return nil, nil
	}
	s.need()
	s.mu.Lock()
	defer s.mu.Unlock()
	x = leastOf(s.there, nil)
	if x == nil {
		return nil, nil
	}
	x.load++
	s.users++
	return x, sync.OnceFunc(func() {
		s.leave(func() {
			x.load--
			s.users--
			s.lastUsed = time.Now()
		})
	})
}

// leastOf returns the one of all with the least to carry, but for some.
func leastOf(all []*side, but map[*side]bool) (x *side) {
	for _, other := range all {
		if !but[other] && !hasEnded(other) && (x == nil || other.load < x.load) {
			x = other
		}
	}
	return x
}

// carried is a stream of a side connection.
type carried struct {
	relay.Stream
	leave func()
}

// Close is [relay.Stream.Close].
func (c *carried) Close() error {
	defer c.leave()
	return c.Stream.Close()
}

// Abort is [relay.Stream.Abort].
func (c *carried) Abort() {
	defer c.leave()
	c.Stream.Abort()
}
