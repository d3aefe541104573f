package stripe

import "time"

// A connection may stop carrying anything without being broken: its far end is asleep, or a firewall has forgotten it. Nobody is told for minutes, and what was on
// it holds up all that comes behind. So a sender that nothing is taken from asks all stripes for a sign of life, and lets go of those that give none
// while others do.

// aliveRequest is the channel request on a stripe that is asked with; any answer will do. It comes behind what was sent before.
const aliveRequest = "stripe-alive@culvert"

const (
	// stuckAfter is how long a sender waits until it asks, and then for the answer, at least.
	stuckAfter = 3 * time.Second

	// slowest is how long it waits for the answer at most.
	slowest = time.Minute

	// slowRate is what a line is taken to carry as long as it has carried nothing, in bytes a second.
	slowRate = 128 << 10
)

// watch has the sender look after its stripes while there is something that wasn't taken. The caller holds the mutex.
func (s *Stream) watch() {
	o := s.out
	if o.watching || len(o.kept) == 0 || s.over {
		return
	}
	o.watching = true
	if o.watcher == nil {
		o.watcher = time.AfterFunc(glance, s.look)
	} else {
		o.watcher.Reset(o.pace)
	}
}

// rest has nobody look any more.
func (o *sender) rest() {
	if o.watcher != nil {
		o.watcher.Stop()
	}
}

// look has the stripes examined if nothing was taken since the last time, and the sender waits for that or has done without for long.
func (s *Stream) look() {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, now := s.out, time.Now()
	o.watching = false
	if len(o.kept) == 0 || s.over {
		o.pace = glance
		return
	}
	s.rouse(now)
	if o.taken != o.seen {
		o.seen, o.moved, o.pace = o.taken, now, glance
		s.watch()
		return
	}
	paused := now.Sub(o.moved) >= stuckAfter
	if len(s.stripes) > 1 && (o.waits() || paused) {
		s.examine(now)
	}
	if paused {
		o.pace = stuckAfter // the consumer may take hours
	}
	s.watch()
}

// examine lets go of stripes that are stuck, has others carry what is on one that is slow, and asks all. The caller holds the mutex.
func (s *Stream) examine(now time.Time) {
	for _, st := range s.stuck(now) {
		go s.lose(st) // to close it may take as long as the peer doesn't read
	}
	s.relieve(now)
	for _, st := range s.stripes {
		if st.asked.IsZero() {
			st.asked = now
			go s.ask(st)
		}
	}
}

// ask returns when st has answered, or has ended.
func (s *Stream) ask(st *stripe) {
	_, err := st.ch.SendRequest(aliveRequest, true, nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		st.heard = time.Now()
		st.took, st.asked = st.heard.Sub(st.asked), time.Time{}
	}
}

// answerIn is how long an answer may take, which comes behind what is under way: on a slow line that is long, and whoever was let go of there would have all of it
// sent again. It is twice the time that the line takes at the rate that it had so far.
func (o *sender) answerIn(now time.Time) time.Duration {
	rate := float64(slowRate)
	if moved := o.taken - o.from; moved > 0 {
		rate = float64(moved) / max(now.Sub(o.began).Seconds(), 0.001)
	}
	seconds := 2 * float64(o.next-o.taken) / rate
	return max(stuckAfter, time.Duration(min(seconds, slowest.Seconds())*float64(time.Second)))
}

// stuck returns the stripes that haven't answered in time, while another has since. If none has, the line has a pause, or the peer. The caller
// holds the mutex.
func (s *Stream) stuck(now time.Time) (all []*stripe) {
	var heard time.Time // the last sign of life
	for _, st := range s.stripes {
		if st.heard.After(heard) {
			heard = st.heard
		}
	}
	patience := s.out.answerIn(now)
	for _, st := range s.stripes {
		if !st.asked.IsZero() && now.Sub(st.asked) >= patience && !heard.Before(st.asked) {
			all = append(all, st)
		}
	}
	return all
}
