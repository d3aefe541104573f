package stripe

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// lateAck is how long what was taken may go unsaid while nothing comes. The sender keeps it so long.
const lateAck = 100 * time.Millisecond

// slowConsumer is after how long a consumer that leaves half of the distance lying is one that doesn't need so much.
const slowConsumer = 4 * time.Second

// receiver is the direction that comes in, after it has changed over. The Stream's mutex guards it, but for what is Read's.
type receiver struct {
	from    uint64
	next    uint64   // all before is Read's
	waiting []*block // what comes behind, by offset
	arrived sync.Cond

	said  bool
	total uint64 // if said

	taken    uint64 // handed on
	acked    uint64 // taken, as the sender was told last
	limit    uint64
	distance uint64
	memory   room // for limit - taken
	blocks   int  // that Read has got since the last ack
	late     bool // an ack is due after lateAck

	mark  uint64    // what was taken when the distance was looked at last
	since time.Time // when that was

	current *block // Read's: the first pos bytes of it have been returned
	pos     int
	read    uint64 // Read's: what was returned
}

// peerChangesOver is told that the peer has ended the primary channel's part of the direction that comes in.
func (s *Stream) peerChangesOver(payload []byte) error {
	m, err := parse[from](fromRequest, payload)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.in != nil || !s.agreed || m.Bytes+maxDistance < m.Bytes {
		return errors.New("the peer goes over to stripes that nobody agreed on")
	}
	n := m.Bytes
	s.in = &receiver{
		from: n, next: n, taken: n, acked: n, limit: n + firstDistance, distance: firstDistance,
		mark: n, since: time.Now(), read: n, memory: room{share: s.cfg.Share},
	}
	s.in.arrived.L = &s.mu
	s.changed.Broadcast()
	return nil
}

// peerEnds is told that the direction that comes in has so many bytes.
func (s *Stream) peerEnds(bytes uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	in := s.in
	if in == nil { // the primary channel's to say
		return nil
	}
	if bytes < in.highest() {
		return fmt.Errorf("the peer ends at %d, and has sent %d", bytes, in.highest())
	}
	in.said, in.total = true, bytes
	in.settle()
	in.arrived.Signal()
	return nil
}

// expect waits until the direction has changed over, and returns an error if no block h may come.
func (s *Stream) expect(h header) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.in == nil && !s.over {
		s.changed.Wait()
	}
	if s.over {
		return errEnded
	}
	if h.offset < s.in.from || h.end() > s.in.limit {
		return fmt.Errorf("a block from %d to %d, outside of %d to %d", h.offset, h.end(), s.in.from, s.in.limit)
	}
	return nil
}

// arrive takes b, which was expected, and owns it.
func (s *Stream) arrive(b *block) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		b.free()
		return errEnded
	}
	keep, err := s.in.place(b)
	if !keep {
		b.free()
		return err
	}
	if s.in.ready() {
		s.in.arrived.Signal()
	}
	return nil
}

// place puts b in its order. It reports false if b is here already, or is an error.
func (in *receiver) place(b *block) (keep bool, err error) {
	breach := func() (bool, error) {
		return false, fmt.Errorf("a block from %d to %d, which is none that was sent before or can be another", b.offset, b.end())
	}
	if in.said && b.end() > in.total {
		return breach()
	}
	if b.offset < in.next {
		if b.end() > in.next {
			return breach()
		}
		return false, nil
	}
	i := sort.Search(len(in.waiting), func(i int) bool { return in.waiting[i].offset >= b.offset })
	if i < len(in.waiting) && in.waiting[i].header == b.header {
		return false, nil
	}
	if i < len(in.waiting) && in.waiting[i].offset < b.end() || i > 0 && in.waiting[i-1].end() > b.offset || len(in.waiting) == maxBlocks {
		return breach()
	}
	in.waiting = slices.Insert(in.waiting, i, b)
	return true, nil
}

// highest is the end of what has come.
func (in *receiver) highest() uint64 {
	if n := len(in.waiting); n > 0 {
		return in.waiting[n-1].end()
	}
	return in.next
}

// readBlocks is Read after the change.
func (s *Stream) readBlocks(p []byte) (n int, err error) {
	s.handedOn()
	for n < len(p) {
		in := s.in
		if in.current == nil {
			if in.current, err = s.nextBlock(n == 0); err == io.EOF {
				s.ack() // the peer waits for it
			}
			if in.current == nil {
				return n, err
			}
			in.pos = 0
		}
		m := copy(p[n:], in.current.buf[in.pos:in.current.length])
		n += m
		in.pos += m
		in.read += uint64(m)
		if in.pos == in.current.length {
			in.current.free()
			in.current = nil
		}
	}
	return n, nil
}

// nextBlock returns the next block, which is the caller's then. If there is none it waits, or returns nil at once.
func (s *Stream) nextBlock(wait bool) (*block, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if wait {
		s.awaitBlock()
	}
	in := s.in
	switch {
	case in.ready() && !s.over:
		b := in.waiting[0]
		in.waiting = slices.Delete(in.waiting, 0, 1)
		in.next = b.end()
		in.blocks++
		return b, nil
	case !wait: // the end waits until what is before it was handed on
		return nil, nil
	case in.whole() && s.cause == nil:
		return nil, io.EOF // though the peer, who has been told that all was taken, may have closed the channel
	}
	return nil, s.ending()
}

// awaitBlock waits until nextBlock need not. The caller holds the mutex.
func (s *Stream) awaitBlock() {
	for in := s.in; !s.over && !in.whole() && !in.ready(); in.arrived.Wait() {
		if !in.late && in.taken > in.acked {
			in.late = true
			time.AfterFunc(lateAck, s.ackLate)
		}
	}
}

// Await is [relay.Channel.Await], wherever the data comes from.
func (s *Stream) Await() bool {
	if !s.striped {
		return s.Channel.Await()
	}
	if s.in.current != nil {
		return true
	}
	s.handedOn()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.awaitBlock()
	return true
}

// ready reports whether the next block has come.
func (in *receiver) ready() bool { return len(in.waiting) > 0 && in.waiting[0].offset == in.next }

// whole reports whether all has come, and is Read's.
func (in *receiver) whole() bool { return in.said && in.next == in.total }

// handedOn takes note that what Read has returned was handed on, as Read is called again.
func (s *Stream) handedOn() {
	s.mu.Lock()
	in := s.in
	in.taken = in.read
	due := in.taken-in.acked >= in.distance/16 || in.blocks >= maxBlocks/4
	s.mu.Unlock()
	if due {
		s.ack()
	}
}

func (s *Stream) ackLate() {
	s.mu.Lock()
	s.in.late = false
	over := s.over
	s.mu.Unlock()
	if !over {
		s.ack()
	}
}

// ack tells the sender what was taken, unless it knows.
func (s *Stream) ack() {
	s.acking.Lock()
	defer s.acking.Unlock()
	s.mu.Lock()
	in := s.in
	if in.taken == in.acked {
		s.mu.Unlock()
		return
	}
	bytes := in.taken - in.acked
	in.acked, in.blocks = in.taken, 0
	if !in.said && !s.over {
		in.tune(time.Now())
		in.limit = max(in.limit, in.taken+in.distance)
	}
	in.settle()
	m := ack{Taken: in.taken, Limit: in.limit}
	s.mu.Unlock()
	s.moved(bytes)
	// A failure means a dying connection, or a peer that has closed; nextBlock says so.
	_, _ = s.primary.SendRequest(ackRequest, false, ssh.Marshal(m))
}

// tune raises the distance if a whole one was taken in less than a second, by a consumer that has not left much lying: a longer line than that is rare. It lowers it
// again for one that leaves much lying for long.
func (in *receiver) tune(now time.Time) {
	whole, took := in.taken-in.mark >= in.distance, now.Sub(in.since)
	if !whole && took < slowConsumer {
		return
	}
	switch lying := in.lying(); {
	case whole && took < time.Second && lying < in.distance/4:
		if more := min(2*in.distance, maxDistance); in.memory.cover(max(more, in.limit-in.taken)) {
			in.distance = more
		}
	case took >= slowConsumer && lying >= in.distance/2:
		in.distance = max(in.distance/2, firstDistance)
	}
	in.mark, in.since = in.taken, now
}

// lying is how much the consumer could take at once.
func (in *receiver) lying() uint64 {
	ready := in.next
	for _, b := range in.waiting {
		if b.offset != ready {
			break
		}
		ready = b.end()
	}
	return ready - in.taken
}

// settle gives back what can't come any more, as the limit never shrinks, but what is to come behind what was taken does.
func (in *receiver) settle() {
	ahead := in.limit
	if in.said {
		ahead = min(ahead, in.total)
	}
	in.memory.cover(ahead - in.taken)
}

// letGo gives back what the direction holds. Nothing is read any more.
func (in *receiver) letGo() {
	in.waiting = nil
	in.memory.close()
}
