package stripe

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/relay"
)

// blockSize is how many bytes there are in a block of ours at most: with its header, so many SSH packets of 32 KiB.
const blockSize = 64<<10 - headerSize

// patience is how long a sender without any stripe waits for another.
const patience = 10 * time.Second

var errNoStripe = errors.New("no stripe was left")

// sender is the direction that goes out, after it has changed over. The Stream's mutex guards it.
type sender struct {
	next, taken, limit uint64
	kept               []*block // that were not taken, in order
	unsent             []*block // of those that are to be sent, in order
	memory             room
	size               uint64 // of the buffers of kept, and of one that will be
	ended              bool   // finish was called
	starving           *time.Timer

	watcher  *time.Timer
	watching bool          // it runs
	pace     time.Duration // after which it calls look
	seen     uint64        // taken, when that was called last
	moved    time.Time     // when that was another
	waiting  bool          // Write or CloseWrite waits
	from     uint64        // taken, at the beginning
	began    time.Time

	room  sync.Cond // Write or CloseWrite may go on
	work  sync.Cond // a stripe of rank 0 may go on
	spare sync.Cond // another may go on
}

// wakeAll has everybody look again.
func (o *sender) wakeAll() {
	o.room.Broadcast()
	o.wakeStripes()
	o.fed()
}

// wakeStripes has all stripes look again.
func (o *sender) wakeStripes() {
	o.work.Broadcast()
	o.spare.Broadcast()
}

// wait returns when there may be room. The caller holds the mutex.
func (o *sender) wait() {
	o.waiting = true
	o.room.Wait()
	o.waiting = false
}

// letGo gives back what the direction holds. Nothing is sent any more.
func (o *sender) letGo() {
	o.kept, o.unsent, o.size = nil, nil, 0
	o.memory.close()
}

// fed says that there is a stripe.
func (o *sender) fed() {
	if o.starving != nil {
		o.starving.Stop()
		o.starving = nil
	}
}

// starved has the stream end if there are no stripes for some time that are needed.
func (s *Stream) starved() {
	if len(s.stripes) == 0 && len(s.out.kept) > 0 && s.out.starving == nil && !s.over {
		s.out.starving = time.AfterFunc(patience, func() {
			s.mu.Lock()
			still := len(s.stripes) == 0 && len(s.out.kept) > 0
			s.mu.Unlock()
			if still {
				_ = s.fail(errNoStripe) // Read and Write return it
			}
		})
	}
}

// changeOver ends the primary channel's part of the direction that goes out.
func (s *Stream) changeOver() error {
	n := s.Sent()
	s.mu.Lock()
	if s.over || s.onlyReserves() {
		s.mu.Unlock()
		return nil
	}
	now := time.Now()
	s.out = &sender{from: n, began: now, next: n, taken: n, limit: n + firstDistance, memory: room{share: s.cfg.Share}, seen: n, moved: now, pace: glance}
	s.out.room.L, s.out.work.L, s.out.spare.L = &s.mu, &s.mu, &s.mu
	for _, st := range s.stripes {
		go s.carry(st)
	}
	s.mu.Unlock()

	_, err := s.primary.SendRequest(fromRequest, false, ssh.Marshal(from{n}))
	if err == nil {
		err = s.primary.CloseWrite()
	}
	if err != nil {
		return fmt.Errorf("%w: %w", relay.ErrAborted, err)
	}
	return nil
}

// writeBlocks is Write after the change.
func (s *Stream) writeBlocks(p []byte) (n int, err error) {
	for n < len(p) {
		size, added, err := s.admit(p[n:])
		if err != nil {
			return n, err
		}
		if !added {
			b := newBlock(headerSize + size)
			b.add(p[n : n+size])
			s.queue(b)
		}
		n += size
	}
	return n, nil
}

// admit waits until some of p may be sent, and returns how much. It may have added it to a block that waits.
func (s *Stream) admit(p []byte) (size int, added bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.out
	for !s.over {
		size = min(len(p), blockSize)
		free := o.limit - o.next
		if last := len(o.unsent) - 1; last >= 0 && size <= smallest && free >= uint64(size) {
			if b := o.unsent[last]; b.on == nil && b.room() >= size {
				b.add(p[:size])
				o.next += uint64(size)
				return size, true, nil
			}
		}
		// A block is cut only if nothing is under way: the rest of the limit is not worth one.
		if free > 0 && free < uint64(size) && len(o.kept) == 0 {
			size = int(free)
		}
		if free >= uint64(size) && len(o.kept) < maxBlocks && len(o.unsent) < len(s.stripes)+2 && o.keep(headerSize+size) {
			return size, false, nil
		}
		o.wait()
	}
	return 0, false, s.ending()
}

// keep reports whether there is memory for a block with n bytes, and has it then. If there is none, acks will make some.
func (o *sender) keep(n int) bool {
	size := o.size + uint64(bufferSize(n))
	if !o.memory.cover(size) {
		return false
	}
	o.size = size
	return true
}

// queue has b sent, which admit has room for.
func (s *Stream) queue(b *block) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return
	}
	o := s.out
	b.offset, b.queued = o.next, true
	o.next += uint64(b.length)
	o.kept = append(o.kept, b)
	o.unsent = append(o.unsent, b)
	if s.least() > 0 {
		o.spare.Broadcast()
	} else {
		o.work.Signal()
	}
	s.starved()
	s.watch()
}

// take waits for a block that st is to carry, and returns nil when there are none any more. The caller must call carried.
func (s *Stream) take(st *stripe) *block {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.out
	for !s.over && !st.dead {
		if len(o.unsent) > 0 && st.rank() == s.least() {
			b := o.unsent[0]
			o.unsent[0] = nil
			o.unsent = o.unsent[1:]
			b.queued = false
			o.room.Signal()
			if b.on == nil {
				b.seal()
			}
			b.on = st
			b.users++
			return b
		}
		if st.rank() > 0 {
			o.spare.Wait()
		} else {
			o.work.Wait()
		}
	}
	return nil
}

// carried is called when b was written.
func (s *Stream) carried(b *block) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b.users--
	b.release()
}

// release gives b back if nobody needs it.
func (b *block) release() {
	if b.taken && b.users == 0 {
		b.free()
	}
}

// resend has what was on st, and not taken, sent again.
func (o *sender) resend(st *stripe) {
	var again []*block
	for _, b := range o.kept {
		if b.on == st && !b.queued {
			b.queued = true
			again = append(again, b)
		}
	}
	// What is late already goes first.
	o.unsent = append(again, o.unsent...)
	slices.SortFunc(o.unsent, func(a, b *block) int {
		if a.offset < b.offset {
			return -1
		}
		return 1
	})
	o.wakeStripes()
}

// peerHasTaken is told of an ack, and returns how many bytes it is of.
func (s *Stream) peerHasTaken(payload []byte) (bytes uint64, err error) {
	m, err := parse[ack](ackRequest, payload)
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.out
	if o == nil {
		return 0, errors.New("an ack of what was never sent")
	}
	if m.Taken < o.taken || m.Taken > o.next || m.Limit < o.limit || m.Limit > m.Taken+maxDistance {
		return 0, fmt.Errorf("an ack of %d with the limit %d, after %d and %d; %d were sent", m.Taken, m.Limit, o.taken, o.limit, o.next)
	}
	bytes = m.Taken - o.taken
	o.taken, o.limit = m.Taken, m.Limit
	gone := 0
	for _, b := range o.kept {
		if b.offset < m.Taken && b.on == nil {
			return 0, fmt.Errorf("an ack of %d, before that was sent", m.Taken)
		}
		if b.end() > m.Taken {
			break
		}
		gone++
	}
	o.forget(gone)
	o.room.Signal()
	return bytes, nil
}

// forget lets the first n blocks go that were kept, as they were taken.
func (o *sender) forget(n int) {
	queued := 0
	for _, b := range o.kept[:n] {
		o.size -= uint64(len(b.buf))
		if b.queued {
			queued++ // as unsent is in order, too
			b.queued = false
		}
		b.taken = true
		b.release()
	}
	clear(o.kept[:n])
	o.kept = o.kept[n:]
	clear(o.unsent[:queued])
	o.unsent = o.unsent[queued:]
	o.memory.cover(o.size)
	if len(o.kept) == 0 {
		o.kept, o.unsent = nil, nil
		o.fed()
	}
}

// finish is CloseWrite after the change.
func (s *Stream) finish() error {
	s.mu.Lock()
	o, total := s.out, s.out.next
	o.ended = true
	s.mu.Unlock()
	if _, err := s.primary.SendRequest(relay.EndOfDataRequest, false, ssh.Marshal(from{total})); err != nil {
		return fmt.Errorf("%w: %w", relay.ErrAborted, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for o.taken < total && !s.over {
		o.wait()
	}
	if o.taken != total {
		return s.ending()
	}
	return nil
}
