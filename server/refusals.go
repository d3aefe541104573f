package server

import (
	"net/netip"
	"sync"
	"time"

	"github.com/culvert-ssh/culvert/audit"
)

const (
	// refusalInterval is how often it is put on record how many connections of a source were refused.
	refusalInterval = time.Minute

	// maxRefusedSources bounds how many sources are counted each for itself. Together with the interval it bounds what
	// anybody can have us write down.
	maxRefusedSources = 256
)

// refusals makes few events of many refused connections: the first of a source is put on record at once, the others are counted, and
// their number is put on record with the last of them at the end of each interval. What is beyond maxRefusedSources is counted
// together. It has no clock and no lock.
type refusals struct {
	sources map[netip.Prefix]*audit.ConnectionRefused // the last one, and how many are not on record
	others  audit.ConnectionRefused
}

func newRefusals() refusals {
	return refusals{sources: make(map[netip.Prefix]*audit.ConnectionRefused)}
}

// add counts a refused connection. It reports whether it is to be put on record now.
func (r *refusals) add(source netip.Prefix, e audit.ConnectionRefused) bool {
	last := r.sources[source]
	switch {
	case last == nil && len(r.sources) < maxRefusedSources:
		r.sources[source] = &e
		return true
	case last == nil:
		last = &r.others
	}
	e.Count = last.Count + 1
	*last = e
	return false
}

// due returns what is to be put on record at the end of an interval.
func (r *refusals) due() (events []audit.ConnectionRefused) {
	for source, last := range r.sources {
		if last.Count == 0 {
			delete(r.sources, source) // its next one is put on record at once again
			continue
		}
		events = append(events, *last)
		last.Count = 0
	}
	if r.others.Count > 0 {
		events = append(events, r.others)
		r.others = audit.ConnectionRefused{}
	}
	return events
}

// idle reports whether nothing is left to be put on record or forgotten.
func (r *refusals) idle() bool { return len(r.sources) == 0 }

// reporter puts refused connections on record.
type reporter struct {
	mu      sync.Mutex
	running bool // somebody calls report
	counts  refusals
}

// refused puts a refused connection on record, now or soon.
func (s *Server) refused(source netip.Prefix, e audit.ConnectionRefused) {
	r := &s.reporter
	r.mu.Lock()
	select {
	case <-s.stopped: // what is counted now, nobody may come for any more
		r.mu.Unlock()
		s.recordRefused(e)
		return
	default:
	}
	now := r.counts.add(source, e)
	begin := !r.running
	r.running = true
	r.mu.Unlock()
	if now {
		s.recordRefused(e)
	}
	if !begin {
		return
	}
	s.mu.Lock()
	closing := s.closing
	if !closing {
		s.owners.Go(s.reportRefused)
	}
	s.mu.Unlock()
	if closing {
		s.reportDue(true)
	}
}

// reportRefused puts on record what is due, until nothing is left of it or the server stops.
func (s *Server) reportRefused() {
	defer s.recovered("refused connections", nil)
	tick := time.NewTicker(refusalInterval)
	defer tick.Stop()
	for stopping, idle := false, false; !idle && !stopping; {
		select {
		case <-tick.C:
		case <-s.stopped:
			stopping = true
		}
		idle = s.reportDue(stopping)
	}
}

// reportDue puts on record what is due now. It reports whether nothing is left to be put on record or forgotten.
func (s *Server) reportDue(stopping bool) (idle bool) {
	r := &s.reporter
	r.mu.Lock()
	due := r.counts.due()
	idle = r.counts.idle()
	r.running = !idle && !stopping
	r.mu.Unlock()
	for _, e := range due {
		s.recordRefused(e)
	}
	return idle
}

func (s *Server) recordRefused(e audit.ConnectionRefused) {
	s.cfg.Log.Warn("connection refused", "client", e.Client, "reason", e.Reason, "count", max(1, e.Count))
	if err := s.cfg.Audit.Write(e); err != nil {
		s.cfg.Log.Error("a refused connection can't be put on record", "client", e.Client, "err", err) // it is refused already
	}
}
