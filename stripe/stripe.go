// Package stripe carries one byte stream over several SSH channels, which may be of several connections.
//
// It knows the one channel that a stream began on, its primary, and those that were attached to it, its stripes, and what is said on them:
// docs/protocol.md, section stripes@culvert. It opens no channel and makes no connection, and decides neither when a stream
// is to have stripes nor whose they may be.
package stripe

import (
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/relay"
)

// Request is the name of the global request that negotiates stripes, and of the channel request by which a stream gets its token.
const Request = "stripes@culvert"

// ChannelType is the type of the channels that are stripes. Their extra data is [Open].
const ChannelType = "stripe@culvert"

// Max is how many stripes a stream has at most.
const Max = 16

// Token names one stream to whoever attaches stripes to it. Nobody else can guess it.
type Token [32]byte

// NewToken returns a token that was never used.
func NewToken() Token {
	var t Token
	_, _ = rand.Read(t[:]) // which never fails
	return t
}

// Open is the extra data of the open of a stripe, and the payload of the channel request.
type Open struct {
	Token []byte
}

// ParseToken reads the payload that is an [Open].
func ParseToken(payload []byte) (Token, error) {
	var m Open
	if err := ssh.Unmarshal(payload, &m); err != nil {
		return Token{}, fmt.Errorf("parse the token of a stream: %w", err)
	}
	if len(m.Token) != len(Token{}) {
		return Token{}, fmt.Errorf("the token of a stream has %d bytes, not %d", len(m.Token), len(Token{}))
	}
	return Token(m.Token), nil
}

// Payload returns the [Open] of t.
func (t Token) Payload() []byte { return ssh.Marshal(Open{t[:]}) }

// Config says what is known about a stream.
type Config struct {
	// ChannelConfig is of the SSH connection under the primary channel. Without EndOfData there are no stripes. Its Extension is New's.
	relay.ChannelConfig

	// Ask is whether the peer, who asks for it, may attach stripes to this stream by the token. It is called once at most, and
	// nothing else happens on the SSH connection until it returns. If nil, the peer may not.
	Ask func(Token) bool

	// Crossed is called once, in a goroutine of its own, when After bytes have gone in one direction. If nil, nobody is.
	Crossed func(*Stream)
	After   int64

	// Died is called, in a goroutine of its own, each time that a stripe has ended before the stream: there may be a better one. If nil, nobody is.
	Died func(*Stream)
}

var (
	errRefused = errors.New("the peer wants no stripes for this stream")
	errEnded   = errors.New("the stream has ended")
	errTooMany = fmt.Errorf("the stream has %d stripes already", Max)
)

// Stream is a [relay.Stream] that may go over several channels. As long as it has no stripes it is a [relay.Channel].
type Stream struct {
	*relay.Channel
	cfg     Config
	primary ssh.Channel

	moved   [2]atomic.Int64 // read and written
	crossed atomic.Bool

	mu      sync.Mutex
	agreed  bool // there may be stripes
	ended   bool
	stripes []*stripe

	done chan struct{}
}

// stripe is a channel that was attached.
type stripe struct {
	ch      ssh.Channel
	reserve bool
}

// New makes ch a stream, with what [relay.NewChannel] says of that.
func New(ch ssh.Channel, reqs <-chan *ssh.Request, cfg Config) *Stream {
	s := &Stream{cfg: cfg, primary: ch, done: make(chan struct{})}
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

// Attach has ch, which is of [ChannelType], carry a part of the stream, which owns it from now on, whatever Attach returns. reserve says that it is of
// the primary's connection: it carries something only while there is no other.
func (s *Stream) Attach(ch ssh.Channel, reqs <-chan *ssh.Request, reserve bool) error {
	go ssh.DiscardRequests(reqs)
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
	case s.ended:
		return errEnded
	case !s.agreed:
		return errRefused
	case len(s.stripes) == Max:
		return errTooMany
	}
	s.stripes = append(s.stripes, st)
	return nil
}

func (s *Stream) Read(p []byte) (int, error) {
	n, err := s.Channel.Read(p)
	s.count(&s.moved[0], n)
	return n, err
}

func (s *Stream) Write(p []byte) (int, error) {
	n, err := s.Channel.Write(p)
	s.count(&s.moved[1], n)
	return n, err
}

// count calls Crossed when it is time.
func (s *Stream) count(moved *atomic.Int64, n int) {
	if s.cfg.Crossed == nil || n == 0 {
		return
	}
	if now := moved.Add(int64(n)); now >= s.cfg.After && !s.crossed.Swap(true) {
		go s.cfg.Crossed(s)
	}
}

// Close closes the stream.
func (s *Stream) Close() error {
	s.end()
	return s.Channel.Close()
}

// Abort ends the stream.
func (s *Stream) Abort() {
	s.end()
	s.Channel.Abort()
}

// end lets the stripes go.
func (s *Stream) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	s.ended = true
	close(s.done)
	for _, st := range s.stripes {
		go st.ch.Close()
	}
	s.stripes = nil
}

// extension is what a Stream is to its primary channel.
type extension Stream

// Request is [relay.Extension.Request].
func (e *extension) Request(name string, payload []byte) bool {
	s := (*Stream)(e)
	if name != Request || s.cfg.Ask == nil || !s.cfg.EndOfData {
		return false
	}
	t, err := ParseToken(payload)
	s.mu.Lock()
	ask := err == nil && !s.agreed && !s.ended
	s.mu.Unlock()
	if !ask || !s.cfg.Ask(t) {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.agreed = true
	return true
}

// EndOfData is [relay.Extension.EndOfData].
func (e *extension) EndOfData(uint64) {}

// Closed is [relay.Extension.Closed].
func (e *extension) Closed() { (*Stream)(e).end() }
