package client

import (
	"maps"
	"time"

	"github.com/culvert-ssh/culvert/stripe"
)

// leave frees a seat whose stripe was refused or has ended.
func (s *seat) leave(now time.Time) {
	if !s.since.IsZero() {
		s.tries.recovered(now.Sub(s.since))
	}
	s.tries.failed()
	s.taken, s.since, s.due = false, time.Time{}, now.Add(s.tries.delay(false))
}

// spent reports whether nobody is to sit there again: a bastion that says no, says so for a reason, and others can carry what is left.
func (s *seat) spent() bool { return !s.taken && s.tries.failures >= stripeTries }

// plan is what a stream is to do.
type plan struct {
	next    []*side         // open a stripe on these
	more    bool            // some are being opened, or there will be side connections soon
	changed <-chan struct{} // look again after that,
	after   time.Duration   // or then; 0 is never
}

// choose takes the side connections that the stream is to be on besides, those with the least to carry first. Of many streams that move, each
// is on some.
func (x *spreading) choose() plan {
	x.mu.Lock()
	defer x.mu.Unlock()
	now := time.Now()
	maps.DeleteFunc(x.on, func(at *side, _ *seat) bool { return hasEnded(at) })
	p := plan{changed: x.changed}
	have, want, loads := x.seats(), x.wants(now), x.loads(now)
	for ; have < want; have++ {
		at := leastOf(x.there, loads, func(at *side) bool { return x.mayTake(at, now) })
		if at == nil {
			break
		}
		p.next = append(p.next, x.take(at))
	}
	if x.sits() && x.mayTake(x.reserve, now) {
		p.next = append(p.next, x.take(x.reserve))
	}
	p.more = have < want && x.making > 0
	for _, seat := range x.on {
		p.more = p.more || seat.taken && seat.since.IsZero()
	}
	p.after = x.after(have, want, now)
	return p
}

// wants is on how many side connections the stream is to be. One that doesn't move keeps what it has, which costs little, and gets more when it moves again.
func (x *spreading) wants(now time.Time) int {
	if x.asked != AutoStripes {
		return min(x.most, stripe.Max-1) // and the reserve
	}
	if have := x.seats(); have > 0 && !x.moves(now) {
		return have
	}
	moving := 1
	for other := range x.users {
		if other != &x.user && other.moves(now) {
			moving++
		}
	}
	return (x.most + moving - 1) / moving
}

// after is when to look again although nothing has changed, or 0.
func (x *spreading) after(have, want int, now time.Time) (after time.Duration) {
	sooner := func(d time.Duration) {
		if d > 0 && (after == 0 || d < after) {
			after = d
		}
	}
	for at, seat := range x.on {
		if !seat.taken && !seat.spent() && (at == x.reserve || have < want) {
			sooner(seat.due.Sub(now))
		}
	}
	if x.asked == AutoStripes && have < x.most && x.moves(now) {
		sooner(quiet)
	}
	return after
}

// mayTake reports whether the stream may have a stripe there that it doesn't have.
func (x *spreading) mayTake(at *side, now time.Time) bool {
	seat := x.on[at]
	return seat == nil || !seat.taken && !seat.spent() && !now.Before(seat.due)
}

// take takes the seat of the stream on a side connection.
func (x *spreading) take(at *side) *side {
	if x.on == nil {
		x.on = make(map[*side]*seat)
	}
	if x.on[at] == nil {
		x.on[at] = &seat{tries: backoff{random: x.random}}
	}
	x.on[at].taken = true
	return at
}

// seats is how many side connections the stream is on, or about to be.
func (x *spreading) seats() (n int) {
	for at, seat := range x.on {
		if seat.taken && at != x.reserve {
			n++
		}
	}
	return n
}

// sits reports whether one of its stripes on them is there.
func (x *spreading) sits() bool {
	for at, seat := range x.on {
		if seat.taken && !seat.since.IsZero() && at != x.reserve {
			return true
		}
	}
	return false
}
