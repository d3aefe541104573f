package client

import (
	"sync"
	"time"
)

const (
	// quiet is how long a stream that moves nothing worth mentioning counts among those that share the side connections: longer than a lost packet, a disk or a
	// stripe that is stuck (six seconds) hold a transfer up, and short beside one that is long enough to miss its share.
	quiet = 10 * time.Second

	// muchBytes is what a stream has moved within that time that wants more than a few answers.
	muchBytes = 4 << 20
)

// pace is how fast a stream moves. It is looked at when somebody wants to know, and costs nothing while nothing moves. The zero value has moved nothing.
type pace struct {
	mu         sync.Mutex
	some, much span
	moving     time.Time // when it had moved earlyBytes in no more than quiet, for the last time
	heavy      bool      // it has moved muchBytes in no more than quiet, once
}

// span counts what is moved in no more than quiet.
type span struct {
	since time.Time
	bytes uint64
}

// reaches counts n bytes, and reports whether there are enough, and then begins anew.
func (s *span) reaches(enough, n uint64, now time.Time) bool {
	if now.Sub(s.since) > quiet {
		*s = span{since: now}
	}
	s.bytes += n
	if s.bytes < enough {
		return false
	}
	*s = span{since: now}
	return true
}

// move takes note of bytes that have moved, and reports whether the stream moves after a time in which it didn't, or is heavy now.
func (p *pace) move(n uint64) (news bool) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.some.reaches(earlyBytes, n, now) {
		news = now.Sub(p.moving) > quiet
		p.moving = now
	}
	if !p.heavy && p.much.reaches(muchBytes, n, now) {
		p.heavy, news = true, true
	}
	return news
}

// moves reports whether the stream has moved something lately.
func (p *pace) moves(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return now.Sub(p.moving) <= quiet
}

// isHeavy reports whether it is one that moves much.
func (p *pace) isHeavy() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.heavy
}

// starts has it count as moving: that is what a new one is about to do.
func (p *pace) starts() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.moving = time.Now()
}
