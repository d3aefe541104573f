package stripe

import "sync"

// Budget is memory that the streams of a process share: what each of them holds beyond its first 2 MiB in a direction.
type Budget struct {
	each int64

	mu   sync.Mutex
	free int64
}

// NewBudget returns a budget of so many bytes for all, of which one share has so many at most.
func NewBudget(all, each int64) *Budget { return &Budget{each: each, free: all} }

// Share returns the part of one SSH connection, which is nothing as long as nothing is drawn. However many connections draw what they get, there is
// always something left for the next: none has more than all others could still have.
func (b *Budget) Share() *Share {
	if b == nil {
		return nil
	}
	return &Share{budget: b}
}

// Share is what the streams of one SSH connection hold of a [Budget]. A nil *Share has nothing to give.
type Share struct {
	budget *Budget
	used   int64 // guarded by the budget's mutex
}

// draw takes n bytes, and reports whether there were so many.
func (s *Share) draw(n int64) bool {
	if s == nil {
		return false
	}
	b := s.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.used+n > min(b.each, b.free-n) {
		return false
	}
	s.used += n
	b.free -= n
	return true
}

// giveBack takes back what was drawn.
func (s *Share) giveBack(n int64) {
	b := s.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	s.used -= n
	b.free += n
}

// room is what one direction of a stream may hold: its first 2 MiB, and what it has drawn. The Stream's mutex guards it.
type room struct {
	share *Share
	drawn int64
}

// cover makes it n bytes, and what isn't needed for that is given back. It reports false if there are not so many, and then nothing has changed.
func (r *room) cover(n uint64) bool {
	beyond := max(int64(n)-firstDistance, 0)
	switch more := beyond - r.drawn; {
	case more > 0 && !r.share.draw(more):
		return false
	case more < 0:
		r.share.giveBack(-more)
	}
	r.drawn = beyond
	return true
}

// close gives back everything, and there is nothing any more.
func (r *room) close() {
	r.cover(0)
	r.share = nil
}
