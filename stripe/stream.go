package stripe

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/relay"
)

var (
	errRefused = errors.New("the peer wants no stripes for this stream")
	errEnded   = errors.New("the stream has ended")
	errTooMany = fmt.Errorf("the stream has %d stripes already", Max)
)

// Stream is a [relay.Stream] that may go over several channels. As long as it has no stripes it is a [relay.Channel].
//
// Read is called by one goroutine at a time, and so are Write and CloseWrite. CloseWrite returns when the peer has handed everything on, if the direction went over
// stripes: after that, and the end of the other direction, the channels may be closed.
type Stream struct {
	*relay.Channel
	cfg     Config
	primary ssh.Channel
	crossed atomic.Bool
	useful  atomic.Bool // there are stripes that are no reserve, or were
	striped bool        // Read has come to where the primary channel ends; the reader's

	acking sync.Mutex // held while an ack is made and sent: they must not overtake each other

	mu      sync.Mutex // guards what is below
	agreed  bool       // there may be stripes
	asked   bool       // the peer has asked
	over    bool       // the stream has ended: nothing is carried any more
	cause   error      // why it was ended, if that was for a reason of ours
	stripes []*stripe
	out     *sender   // nil until this direction has changed over
	in      *receiver // nil until this direction has changed over
	changed sync.Cond // in or over is another

	done chan struct{} // closed when over is set
}

// New makes ch a stream, with what [relay.NewChannel] says of that.
func New(ch ssh.Channel, reqs <-chan *ssh.Request, cfg Config) *Stream {
	s := &Stream{cfg: cfg, primary: ch, done: make(chan struct{})}
	s.changed.L = &s.mu
	cfg.Extension = (*extension)(s)
	s.Channel = relay.NewChannel(ch, reqs, cfg.ChannelConfig)
	return s
}

// Done is closed when the stream has ended: its token counts no more.
func (s *Stream) Done() <-chan struct{} { return s.done }

// Stripes returns how many stripes live.
func (s *Stream) Stripes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.stripes)
}

// Offer asks the peer whether stripes may be attached, and waits for its answer. Nil says that they may, by the token.
func (s *Stream) Offer() (Token, error) {
	if !s.cfg.EndOfData {
		return Token{}, errRefused
	}
	t := NewToken()
	ok, err := s.primary.SendRequest(Request, true, t.Payload())
	if err != nil {
		return Token{}, fmt.Errorf("ask for stripes: %w", err)
	}
	if !ok {
		return Token{}, errRefused
	}
	s.mu.Lock()
	s.agreed = true
	s.mu.Unlock()
	return t, nil
}

func (s *Stream) Read(p []byte) (int, error) {
	if s.striped {
		return s.readBlocks(p)
	}
	n, err := s.Channel.Read(p)
	if n > 0 {
		s.count(s.Received())
	}
	if err == nil {
		return n, nil
	}
	s.mu.Lock()
	in, cause := s.in, s.cause
	s.mu.Unlock()
	switch {
	case cause != nil:
		return n, cause
	case in == nil:
		return n, err
	case in.from != s.Received():
		return n, s.fail(fmt.Errorf("%d bytes came on the primary channel, of the %d that the peer sent", s.Received(), in.from))
	}
	s.striped = true
	if n > 0 {
		return n, nil
	}
	return s.readBlocks(p)
}

func (s *Stream) Write(p []byte) (int, error) {
	if s.out == nil && s.useful.Load() && len(p) > 0 {
		if err := s.changeOver(); err != nil {
			return 0, err
		}
	}
	if s.out != nil {
		return s.writeBlocks(p)
	}
	n, err := s.Channel.Write(p)
	s.count(s.Sent())
	return n, err
}

// CloseWrite is [relay.Channel.CloseWrite], and waits until everything was taken from the stripes.
func (s *Stream) CloseWrite() error {
	if s.out == nil {
		return s.Channel.CloseWrite()
	}
	return s.finish()
}

// Finish is [relay.Channel.Finish], and leaves the rest to Close if there are stripes. It is called once Read has returned io.EOF.
func (s *Stream) Finish() error {
	if s.out != nil || s.striped {
		return s.CloseWrite()
	}
	err := s.Channel.Finish()
	if err == nil {
		s.end(nil)
	}
	return err
}

// count calls Crossed when it is time.
func (s *Stream) count(moved uint64) {
	if s.cfg.Crossed != nil && moved >= uint64(s.cfg.After) && !s.crossed.Load() && !s.crossed.Swap(true) {
		go s.cfg.Crossed(s)
	}
}

// Close closes the stream. It doesn't wait: see CloseWrite.
func (s *Stream) Close() error {
	s.end(nil)
	return s.Channel.Close()
}

// Abort ends both directions.
func (s *Stream) Abort() {
	s.end(nil)
	s.Channel.Abort()
}

// fail aborts the stream for a reason of ours, unless it has ended, and returns what Read and Write say about it from now on. A peer that doesn't read
// may bring it about again and again.
func (s *Stream) fail(why error) error {
	if s.end(fmt.Errorf("%w: %w", relay.ErrAborted, why)) {
		go s.Channel.Abort() // which may take as long as the peer doesn't read
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ending()
}

// breach has Read and Write return an error of a stripe, unless it is that the stream has ended: what came on the primary channel may be read still.
func (s *Stream) breach(err error) {
	if err != errEnded {
		_ = s.fail(err)
	}
}

// ending returns why the stream is over. The caller holds the mutex.
func (s *Stream) ending() error {
	switch {
	case s.cause != nil:
		return s.cause
	case s.cfg.Wire.Lost():
		return relay.ErrTransportLost
	}
	return relay.ErrAborted
}

// end lets the stripes go, and everybody who waits know. It reports whether it is the first time.
func (s *Stream) end(cause error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return false
	}
	s.over, s.cause = true, cause
	close(s.done)
	s.changed.Broadcast()
	if s.out != nil {
		s.out.letGo()
		s.out.wakeAll()
		s.out.rest()
	}
	if s.in != nil {
		s.in.letGo()
		s.in.arrived.Broadcast()
	}
	for _, st := range s.stripes {
		go st.ch.Close() // see fail
	}
	s.stripes = nil
	return true
}

// extension is what a Stream is to its primary channel.
type extension Stream

// Request is [relay.Extension.Request]. It waits for nothing but Ask.
func (e *extension) Request(name string, payload []byte) bool {
	s := (*Stream)(e)
	var err error
	switch name {
	case Request:
		return s.mayAsk() && s.asks(payload)
	case fromRequest:
		err = s.peerChangesOver(payload)
	case ackRequest:
		err = s.peerHasTaken(payload)
	default:
		return false
	}
	if err != nil {
		_ = s.fail(err) // Read and Write return it
	}
	return true
}

// mayAsk reports whether it is the first time that the peer asks for stripes.
func (s *Stream) mayAsk() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := !s.asked && !s.over
	s.asked = true
	return first && s.cfg.EndOfData && s.cfg.Ask != nil
}

func (s *Stream) asks(payload []byte) bool {
	t, err := ParseToken(payload)
	if err != nil || !s.cfg.Ask(t) {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.agreed = true
	return true
}

// EndOfData is [relay.Extension.EndOfData].
func (e *extension) EndOfData(bytes uint64) {
	s := (*Stream)(e)
	if err := s.peerEnds(bytes); err != nil {
		_ = s.fail(err) // Read and Write return it
	}
}

// Closed is [relay.Extension.Closed].
func (e *extension) Closed() { (*Stream)(e).end(nil) }

// stripe is a channel that was attached.
type stripe struct {
	ch      ssh.Channel
	reserve bool

	// Guarded by the Stream's mutex.
	dead  bool
	asked time.Time // for a sign of life that hasn't come yet, or zero
	heard time.Time // when the last one came, or zero
}

// Attach has ch, which is of [ChannelType], carry a part of the stream, which owns it from now on, whatever Attach returns. reserve says that it is of
// the primary's connection: it carries something only while there is no other.
func (s *Stream) Attach(ch ssh.Channel, reqs <-chan *ssh.Request, reserve bool) error {
	go ssh.DiscardRequests(reqs) // ends with ch, as do the others here
	st := &stripe{ch: ch, reserve: reserve}
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
	died := s.cfg.Died != nil && !s.served()
	s.mu.Unlock()
	_ = st.ch.Close() // fails if it is closed
	if died {
		go s.cfg.Died(s)
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
