package client

import (
	"errors"
	"time"

	"github.com/culvert-ssh/culvert/login"
	"github.com/culvert-ssh/culvert/stripe"
)

// The time for which a bastion of ours isn't asked again that has let nobody in begins with the least and doubles, up to the most. The least is longer than it takes to
// notice that a connection has broken off.
const (
	leastDenial = time.Minute
	mostDenial  = time.Hour
)

// hire has as many keepers as there are to be: one, as long as it isn't known whether the server lets anybody in, and one more after it has let nobody in. It needs s.mu.
func (s *sides) hire() {
	most := s.most
	switch {
	case s.refused || s.denied || s.closed:
		return
	case len(s.there) == 0:
		most = 1
	case s.denials > 0:
		most = min(most, len(s.there)+1)
	}
	for ; s.keepers < most; s.keepers++ {
		s.making++
		s.wg.Go(s.keep)
	}
}

// keep makes a side connection, makes it again when it has ended, and returns when nobody needs it, or it isn't let in.
func (s *sides) keep() {
	defer s.leave(func() { s.keepers-- })
	tries := backoff{random: s.random}
	for again := true; again; {
		began := time.Now()
		x, err := s.make()
		if err != nil && s.ctx.Err() == nil {
			s.log.Debug("a side connection was not made", "err", err)
		}
		switch {
		case err == nil:
			s.arrived(x)
			s.hold(x)
			tries.recovered(time.Since(began))
		case errors.Is(err, login.ErrUnreachable):
			s.leave(func() { s.making-- })
		default:
			again = s.turnedAway()
			continue
		}
		tries.failed()
		again = s.again(tries.delay(false))
	}
}

// arrived takes note that x is there.
func (s *sides) arrived(x *side) {
	s.leave(func() {
		s.making--
		s.there = append(s.there, x)
		s.denials = 0
		s.hire()
	})
}

// turnedAway is for a keeper that the server hasn't let in. At a foreign one that is for good: it has to do with who logs in, and looks like guessing. One of ours may
// have been full for a moment, as it counts what has broken off until it knows, or was reloaded, or is another one each time. One keeper waits, as long as somebody
// needs it, and asks again alone: it reports true then.
func (s *sides) turnedAway() bool {
	s.mu.Lock()
	s.making--
	s.tell()
	s.refused = s.refused || s.key == nil
	if s.refused || s.denied {
		s.mu.Unlock()
		return false
	}
	delay := s.denial << min(s.denials, 10)
	s.denied = true
	s.denials++
	s.mu.Unlock()
	defer s.leave(func() { s.denied = false })
	return s.again(min(delay, mostDenial))
}

// make makes a side connection, and serves it. Whatever the server opens or asks for on it is refused.
func (s *sides) make() (*side, error) {
	word := ""
	if s.key != nil {
		word = stripe.ChannelType
	}
	conn, err := s.login(s.ctx, s.key, word)
	if err != nil {
		return nil, err
	}
	c := newConnection(conn, s.log, nil)
	c.wg.Go(func() { s.alive(c) })
	return &side{connection: c}, nil
}

// hold returns when x has ended, or was ended because nobody needs it.
func (s *sides) hold(x *side) {
	for {
		s.mu.Lock()
		changed, idle := s.changed, time.Until(s.lastUsed.Add(s.idle))
		if len(s.users) > 0 {
			idle = s.idle
		}
		over := idle <= 0 || s.ctx.Err() != nil || hasEnded(x)
		if over {
			s.there = without(s.there, x)
			s.tell()
		}
		s.mu.Unlock()
		if over {
			break
		}
		late := time.NewTimer(idle)
		select {
		case <-late.C:
		case <-changed:
		case <-x.Done():
		case <-s.ctx.Done():
		}
		late.Stop()
	}
	x.Close()
}

func without(all []*side, x *side) (left []*side) {
	for _, other := range all {
		if other != x {
			left = append(left, other)
		}
	}
	return left
}

// again waits for the time of the next attempt, and reports whether somebody needs it.
func (s *sides) again(after time.Duration) bool {
	late := time.NewTimer(after)
	defer late.Stop()
	select {
	case <-late.C:
	case <-s.ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil || s.refused || len(s.users) == 0 && time.Since(s.lastUsed) >= s.idle {
		return false
	}
	s.making++
	return true
}
