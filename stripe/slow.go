package stripe

import "time"

// A connection may be far slower than the others, as its path is another one or somebody polices it. What it carries comes late, and the others can't go on when
// they are at the limit. So a sender that waits asks all stripes for a sign of life. If the one that has the oldest block gives none when others
// have long done so, all that is on it goes over the others as well, and it rests for a while.

const (
	// glance is after how long a sender that waits looks at what was taken.
	glance = 100 * time.Millisecond

	// grace is how much longer than twice the time of the others an answer may take.
	grace = 200 * time.Millisecond

	// leastRest is how long a stripe rests that was slow, and mostRest how long one does that was slow each time that it was used again.
	leastRest = 4 * time.Second
	mostRest  = time.Minute
)

// rank orders stripes: those carry what there is of which none has a lower one. Whoever changes that for any wakes all who wait. The Stream's mutex guards it.
func (st *stripe) rank() int {
	switch {
	case st.resting:
		return 2
	case st.reserve:
		return 1
	}
	return 0
}

// least is the rank of those that carry. The caller holds the mutex.
func (s *Stream) least() int {
	least := 2
	for _, st := range s.stripes {
		least = min(least, st.rank())
	}
	return least
}

// waits reports whether Write, or CloseWrite, can't go on before something is taken, and all stripes have nothing to do.
func (o *sender) waits() bool { return o.waiting && len(o.unsent) == 0 }

// relieve has another stripe carry what is on the one that holds up all that comes behind, if that is slow. The caller holds the mutex.
func (s *Stream) relieve(now time.Time) {
	oldest := s.out.kept[0]
	if st := oldest.on; st != nil && !oldest.queued && s.slow(st, now) {
		st.rest(now)
		s.out.resend(st)
	}
}

// slow reports whether st takes much longer for an answer than at least half of the others. On a line that is slow for all, none does.
func (s *Stream) slow(st *stripe, now time.Time) bool {
	if st.asked.IsZero() || st.resting {
		return false
	}
	answered, longest := 0, time.Duration(0)
	for _, other := range s.stripes {
		if other != st && other.heard.After(st.asked) {
			answered++
			longest = max(longest, other.took)
		}
	}
	return 2*answered >= len(s.stripes)-1 && answered > 0 && now.Sub(st.asked) > 2*longest+grace
}

// rest has st carry only what no other can, for some time: longer each time that it is soon slow again.
func (st *stripe) rest(now time.Time) {
	if now.Sub(st.until) < 2*st.pause {
		st.pause = min(2*st.pause, mostRest)
	} else {
		st.pause = leastRest
	}
	st.resting, st.until = true, now.Add(st.pause)
}

// rouse ends the rest of stripes that have carried all that they had. The caller holds the mutex.
func (s *Stream) rouse(now time.Time) {
	for _, st := range s.stripes {
		if st.resting && st.asked.IsZero() && now.After(st.until) {
			st.resting, st.until = false, now
			s.out.wakeStripes()
		}
	}
}
