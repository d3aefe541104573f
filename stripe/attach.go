package stripe

import (
	"io"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/relay"
)

// stripe is a channel that was attached.
type stripe struct {
	ch      ssh.Channel
	reserve bool
	died    func() // nil for nobody

	// Guarded by the Stream's mutex.
	dead    bool
	asked   time.Time     // for a sign of life that hasn't come yet, or zero
	heard   time.Time     // when the last one came, or zero
	took    time.Duration // how long that has taken
	resting bool          // as it was slow
	until   time.Time     // until then at least
	pause   time.Duration // so long
}

// Attach has ch, which is of [ChannelType], carry a part of the stream, which owns it from now on, whatever Attach returns. reserve says that it is of
// the primary's connection: it carries something only while there is no other. died is called, in a goroutine of its own, if the stripe ends before the stream,
// perhaps before Attach returns, but not if that returns an error. If nil, nobody is told.
func (s *Stream) Attach(ch ssh.Channel, reqs <-chan *ssh.Request, reserve bool, died func()) error {
	go relay.Refuse(reqs) // ends with ch, as do the others here
	st := &stripe{ch: ch, reserve: reserve, died: died}
	if err := s.add(st); err != nil {
		_ = ch.Close() // fails only if it is closed already
		return err
	}
	return nil
}

func (s *Stream) add(st *stripe) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.over:
		return errEnded
	case !s.agreed:
		return errRefused
	case len(s.stripes) == Max:
		return errTooMany
	}
	s.stripes = append(s.stripes, st)
	if !st.reserve {
		s.useful.Store(true)
	}
	go s.collect(st)
	if s.out != nil {
		s.out.fed()
		go s.carry(st)
	}
	return nil
}

// lose takes note that st has ended.
func (s *Stream) lose(st *stripe) {
	s.mu.Lock()
	if st.dead || s.over {
		s.mu.Unlock()
		return
	}
	st.dead = true
	s.stripes = slices.DeleteFunc(s.stripes, func(other *stripe) bool { return other == st })
	if s.out != nil {
		s.out.resend(st)
		s.starved()
	}
	died := st.died != nil && !s.served()
	s.mu.Unlock()
	_ = st.ch.Close() // fails if it is closed
	if died {
		go st.died()
	}
}

// served reports whether what went over stripes has ended, and whoever has closed one was right. The caller holds the mutex.
func (s *Stream) served() bool {
	return s.in != nil && s.in.whole() || s.out != nil && s.out.ended && s.out.taken == s.out.next
}

// onlyReserves reports whether there are none but reserves. The caller holds the mutex.
func (s *Stream) onlyReserves() bool {
	return !slices.ContainsFunc(s.stripes, func(st *stripe) bool { return !st.reserve })
}

// carry sends blocks over st until it, or the stream, ends.
func (s *Stream) carry(st *stripe) {
	for {
		b := s.take(st)
		if b == nil {
			return
		}
		_, err := st.ch.Write(b.packet())
		s.carried(b)
		if err != nil {
			s.lose(st)
			return
		}
	}
}

// collect receives blocks from st until it, or the stream, ends.
func (s *Stream) collect(st *stripe) {
	defer s.lose(st)
	var head [headerSize]byte
	for have := 0; ; {
		if _, err := io.ReadFull(st.ch, head[have:]); err != nil {
			return
		}
		h, err := parseHeader(head[:])
		if err == nil {
			err = s.expect(h)
		}
		if err != nil {
			s.breach(err)
			return
		}
		b := newBlock(h.length)
		b.header = h
		// One read for the block and the header of the next, as each sends a window adjustment.
		ahead := min(h.length+headerSize, len(b.buf))
		n, err := io.ReadAtLeast(st.ch, b.buf[:ahead], h.length)
		if err != nil {
			b.free()
			return
		}
		have = copy(head[:], b.buf[h.length:n])
		if err := s.arrive(b); err != nil {
			s.breach(err)
			return
		}
	}
}
