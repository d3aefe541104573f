package stripe

import (
	"io"
	"sync"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/relay"
)

// fake is one end of an SSH channel without SSH. What is written stands still until somebody takes it.
type fake struct {
	toUs, fromUs pipe
	said         chan request // what we have requested
	closed       chan struct{}
	once         sync.Once
}

type pipe struct {
	r *io.PipeReader
	w *io.PipeWriter
}

type request struct {
	name    string
	payload []byte
}

func newFake() *fake {
	f := &fake{said: make(chan request, 100), closed: make(chan struct{})}
	f.toUs.r, f.toUs.w = io.Pipe()
	f.fromUs.r, f.fromUs.w = io.Pipe()
	return f
}

func (f *fake) Read(p []byte) (int, error)  { return f.toUs.r.Read(p) }
func (f *fake) Write(p []byte) (int, error) { return f.fromUs.w.Write(p) }
func (f *fake) CloseWrite() error           { return nil }
func (f *fake) Stderr() io.ReadWriter       { return nil }

// Close ends all at once, as a peer does who confirms it at once.
func (f *fake) Close() error {
	f.once.Do(func() {
		f.toUs.w.Close()
		f.fromUs.r.Close()
		close(f.closed)
	})
	return nil
}

func (f *fake) SendRequest(name string, _ bool, payload []byte) (bool, error) {
	select {
	case f.said <- request{name, payload}:
		return true, nil
	case <-f.closed:
		return false, io.EOF
	}
}

// newFakeStream returns a stream that stripes were agreed on for. Its primary channel must be closed.
func newFakeStream() (*Stream, *fake) {
	primary, reqs := newFake(), make(chan *ssh.Request)
	s := New(primary, reqs, Config{ChannelConfig: relay.ChannelConfig{Wire: relay.NewWire(nil), EndOfData: true}})
	go func() {
		<-primary.closed
		close(reqs)
	}()
	s.agreed = true
	return s, primary
}

// attach attaches a stripe that is not SSH's either.
func (s *Stream) attach(reserve bool) *fake {
	f := newFake()
	if err := s.Attach(f, closedRequests(), reserve, nil); err != nil {
		panic(err)
	}
	return f
}

// closedRequests are those of a channel that nobody says anything on.
func closedRequests() <-chan *ssh.Request {
	reqs := make(chan *ssh.Request)
	close(reqs)
	return reqs
}

// block reads one block that the stream has sent.
func (f *fake) block() (header, []byte, error) {
	var head [headerSize]byte
	if _, err := io.ReadFull(f.fromUs.r, head[:]); err != nil {
		return header{}, nil, err
	}
	h, err := parseHeader(head[:])
	if err != nil {
		return header{}, nil, err
	}
	data := make([]byte, h.length)
	_, err = io.ReadFull(f.fromUs.r, data)
	return h, data, err
}
