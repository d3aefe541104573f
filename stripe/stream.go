package stripe

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

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
		s.count(s.Received(), n)
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
	s.count(s.Sent(), n)
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

// count takes note of n bytes on the primary channel, of all that it has moved in their direction, and calls Crossed when it is time.
func (s *Stream) count(all uint64, n int) {
	if s.cfg.Crossed != nil && !s.crossed.Load() {
		if all < uint64(s.cfg.After) {
			return
		}
		if !s.crossed.Swap(true) {
			go s.cfg.Crossed(s)
		}
	}
	s.moved(uint64(n))
}

// moved tells of bytes that have gone.
func (s *Stream) moved(bytes uint64) {
	if s.cfg.Moved != nil && bytes > 0 {
		s.cfg.Moved(bytes)
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
		var taken uint64
		taken, err = s.peerHasTaken(payload)
		s.moved(taken)
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
