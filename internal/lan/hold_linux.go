package lan

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"
	"time"
)

// packetMax is the size of the largest packet: one of IP, and what stands in front of it.
const packetMax = 1<<16 + 16

// hold passes packets on, from one Read to one Write each, when meet says that they arrive, in their order, until either fails. At most room bytes
// are held; while there are so many, nothing is read. What the far side doesn't take, as it is down or its queue is full, is lost.
// It returns when the packets that were held are gone, too.
func hold(from io.Reader, to io.Writer, room int, meet meeting, sleepUntil func(time.Time)) error {
	r := &ring{buf: make([]byte, max(room, 2*packetMax)), held: make(chan packet, 1<<14)}
	r.freed.L = &r.mu
	var late error
	var wg sync.WaitGroup
	wg.Go(func() {
		defer r.end()
		for p := range r.held {
			sleepUntil(p.due)
			if late == nil {
				if _, err := to.Write(p.data); err != nil && !lost(err) {
					late = fmt.Errorf("deliver a packet: %w", err)
					r.end()
				}
			}
			r.free(p)
		}
	})
	err := r.fill(from, meet)
	close(r.held)
	wg.Wait()
	return errors.Join(err, late)
}

// lost reports whether a packet could not be delivered, but the next one may be: EIO from an interface that is down, EINVAL from one
// that is not content with this packet.
func lost(err error) bool {
	return errors.Is(err, syscall.EIO) || errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.ENOMEM)
}

// packet is one that is held.
type packet struct {
	due  time.Time
	data []byte // in the ring
	end  int64  // where the ring is free up to when it is gone
}

// ring is where the bytes of packets are, one after another, as they are held and freed in the same order.
// Positions count all bytes that ever were in it.
type ring struct {
	buf  []byte
	held chan packet

	mu    sync.Mutex
	freed sync.Cond
	tail  int64 // all before it are free
	ended bool  // nobody frees any more
}

// meeting says when a packet arrives that is sent now, or that it is lost: [direction.meet].
type meeting func(now time.Time, packet []byte) (due time.Time, arrives bool)

// fill reads packets into the ring.
func (r *ring) fill(from io.Reader, meet meeting) error {
	size := int64(len(r.buf))
	for head := int64(0); ; {
		if left := size - head%size; left < packetMax {
			head += left // a packet is in one piece
		}
		if !r.await(head + packetMax - size) {
			return nil
		}
		at := r.buf[head%size:][:packetMax]
		n, err := from.Read(at)
		if err != nil {
			return fmt.Errorf("take a packet: %w", err)
		}
		due, arrives := meet(time.Now(), at[:n])
		if !arrives {
			continue
		}
		head += int64(n)
		r.held <- packet{due: due, data: at[:n], end: head}
	}
}

// await waits until all before a position is free, and reports whether anybody takes more.
func (r *ring) await(position int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.tail < position && !r.ended {
		r.freed.Wait()
	}
	return !r.ended
}

func (r *ring) free(p packet) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tail = p.end
	r.freed.Signal()
}

func (r *ring) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	r.freed.Signal()
}
