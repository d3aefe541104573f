package client

import "time"

// use is what side connections are used for.
type use int

const (
	useNone    use = iota // there are none
	useUnknown            // that is being found out
	useStripes            // stripes of streams, at a bastion of ours
	useStreams            // whole streams, anywhere else
)

// use returns what they are used for, as far as that is known.
func (s *sides) use() use {
	if s == nil {
		return useNone
	}
	select {
	case <-s.agreed:
	default:
		return useUnknown
	}
	switch {
	case s.most == 0:
		return useNone
	case s.key != nil:
		return useStripes
	}
	return useStreams
}

// user is a stream that has side connections, or wants some.
type user struct {
	pace
	on map[*side]*seat // guarded by the mu of the sides
}

// seat is what a user has on one side connection, or had: a stripe, or all of its stream.
type seat struct {
	taken bool      // it is there, or is being opened
	since time.Time // when it was opened; zero as long as it isn't

	tries backoff   // of those that were refused or have ended
	due   time.Time // when another may be opened, if it isn't taken
}

// load is what a side connection has to carry.
type load struct {
	moving int // what moves something
	all    int
}

// loads returns what each has to carry. It needs s.mu.
func (s *sides) loads(now time.Time) map[*side]load {
	loads := make(map[*side]load, len(s.there))
	for u := range s.users {
		moves := u.moves(now)
		for side, seat := range u.on {
			if !seat.taken {
				continue
			}
			l := loads[side]
			l.all++
			if moves {
				l.moving++
			}
			loads[side] = l
		}
	}
	return loads
}

// leastOf returns the one of all with the least to carry of those that are free to take more, or nil.
func leastOf(all []*side, loads map[*side]load, free func(*side) bool) (x *side) {
	for _, other := range all {
		if hasEnded(other) || !free(other) {
			continue
		}
		if x == nil || loads[other].moving < loads[x].moving || loads[other].moving == loads[x].moving && loads[other].all < loads[x].all {
			x = other
		}
	}
	return x
}

// join adds u to those that have side connections. It needs s.mu.
func (s *sides) join(u *user) {
	if s.users == nil {
		s.users = make(map[*user]struct{})
	}
	s.users[u] = struct{}{}
}

// part is for a user that wants nothing any more.
func (s *sides) part(u *user) {
	s.leave(func() {
		delete(s.users, u)
		s.lastUsed = time.Now()
	})
}
