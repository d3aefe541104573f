//go:build unix

package mux

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/relay"
)

const (
	// aliveTimeout is how long a master may take to prove that it lives, when nothing else tells a complete transfer from a broken one.
	aliveTimeout = 15 * time.Second

	// maxOpening bounds the connections that are asked for and not answered yet.
	maxOpening = 256

	// lastAnswers is how long Close waits for the answers to connections that nobody wants any more.
	lastAnswers = 30 * time.Second

	// partingTimeout is how long Close waits for what was written to be read, and for the ports to be given back.
	partingTimeout = 2 * time.Second
)

// Master is a running ControlMaster.
type Master struct {
	path   string
	watch  *conn // is asked whether the master lives, which it answers at once, and ends with it
	orders *conn // for what the SSH server has to answer

	opening chan struct{} // one token for each connection that is being opened

	mu        sync.Mutex
	dropped   bool
	folder    string // private, for the sockets that the master connects to; made when it is needed
	sockets   int    // in it, so far
	listeners map[*Listener]struct{}
	streams   map[*stream]struct{}

	done chan struct{}   // closed when the master has ended, or was dropped
	kept context.Context // ends with Drop
	drop context.CancelFunc
	over chan struct{} // closed when nothing is waited for any more
	wg   sync.WaitGroup

	giveUp func() // closes over

	ended func() // called when all is over, after the master was told to end; nil if the master isn't ours
}

// Dial attaches to the master whose control socket is at path, which must be of this user or of root. The caller must
// call Close.
func Dial(ctx context.Context, path string) (*Master, error) {
	watch, err := dial(ctx, path)
	if err != nil {
		return nil, err
	}
	orders, err := dial(ctx, path)
	if err != nil {
		return nil, errors.Join(err, watch.Close())
	}
	m := &Master{
		path: path, watch: watch, orders: orders,
		opening:   make(chan struct{}, maxOpening),
		listeners: make(map[*Listener]struct{}), streams: make(map[*stream]struct{}),
		done: make(chan struct{}), over: make(chan struct{}),
	}
	m.kept, m.drop = context.WithCancel(context.Background())
	m.giveUp = sync.OnceFunc(func() { close(m.over) })
	go func() {
		select {
		case <-watch.gone:
		case <-m.kept.Done():
		}
		close(m.done)
	}()
	return m, nil
}

// Done is closed when the master has ended, or after Drop.
func (m *Master) Done() <-chan struct{} { return m.done }

// Alive returns an error if the master doesn't say that it lives. It says nothing of the SSH server.
func (m *Master) Alive() error {
	ctx, cancel := context.WithTimeout(context.Background(), aliveTimeout)
	defer cancel()
	_, err := m.watch.ask(ctx.Done(), askAlive, nil)
	return err
}

// Terminate has the master end. There is no answer.
func (m *Master) Terminate() {
	ctx, cancel := context.WithTimeout(context.Background(), partingTimeout)
	defer cancel()
	_, _ = m.watch.ask(ctx.Done(), askTerminate, nil) // it ends, or has ended
}

var (
	errDropped = errors.New("the master was left")
	errBusy    = fmt.Errorf("%d connections are waiting for the master already", maxOpening)
)

// Open opens a connection to host:port as the SSH server sees them. Why the SSH server refuses is the master's secret. The
// caller owns the stream.
func (m *Master) Open(ctx context.Context, host string, port uint16) (relay.Stream, error) {
	return m.openFor(ctx, stdio{Host: host, Port: uint32(port)})
}

// OpenSocket is Open for a Unix socket. OpenSSH can do that since 9.4.
func (m *Master) OpenSocket(ctx context.Context, path string) (relay.Stream, error) {
	return m.openFor(ctx, stdio{Host: path, Port: unixSocket})
}

func (m *Master) openFor(ctx context.Context, asked stdio) (relay.Stream, error) {
	select {
	case m.opening <- struct{}{}:
	default:
		return nil, errBusy
	}
	type opened struct {
		*stream
		err error
	}
	answer := make(chan opened)
	ok := m.start(func() {
		defer func() { <-m.opening }()
		s, err := m.open(asked)
		select {
		case answer <- opened{s, err}:
		case <-ctx.Done():
			if err == nil { // too late: nobody wants it any more
				s.Abort()
			}
		}
	})
	if !ok {
		<-m.opening
		return nil, errDropped
	}
	select {
	case o := <-answer:
		if o.err != nil {
			return nil, o.err
		}
		return o.stream, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// open waits for the answer for as long as it takes, even if nobody wants it any more: a master ends, with everybody's sessions, when the SSH
// server answers and who has asked is gone.
func (m *Master) open(asked stdio) (*stream, error) {
	control, err := dial(context.Background(), m.path)
	if err != nil {
		return nil, m.dialAgainError(err)
	}
	p := passenger{control: control}
	if p.theirIn, p.out, err = os.Pipe(); err != nil {
		return nil, errors.Join(err, control.Close())
	}
	in, theirOut, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, control.Close(), p.theirIn.Close(), p.out.Close())
	}
	p.in = in
	enlarge(p.out)
	enlarge(p.in)
	_, err = control.ask(m.over, askStdio, ssh.Marshal(asked), p.theirIn, theirOut)
	_ = theirOut.Close() // the master has its own
	s := newPassenger(m, p)
	if err == nil && !m.keep(s) {
		err = errDropped
	}
	if err != nil {
		p.close()
		return nil, err
	}
	return s, nil
}

// dialAgainError says why a master that lives takes no connection.
func (m *Master) dialAgainError(err error) error {
	if errors.Is(err, errNoMaster) && m.Alive() == nil {
		return fmt.Errorf("control socket %q is gone, though the master lives: was it told to stop (ssh -O stop)?", m.path)
	}
	return err
}

// keep has s aborted by Drop. It reports false after that.
func (m *Master) keep(s *stream) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.dropped {
		m.streams[s] = struct{}{}
	}
	return !m.dropped
}

// forget ends keep.
func (m *Master) forget(s *stream) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.streams, s)
}

// start runs f, which Close waits for. It reports false after Drop.
func (m *Master) start(f func()) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dropped {
		return false
	}
	m.wg.Go(f)
	return true
}

// linger calls end when gone is closed, or when nothing is waited for any more.
func (m *Master) linger(gone <-chan struct{}, end func()) {
	if !m.start(func() {
		select {
		case <-gone:
		case <-m.kept.Done():
			select {
			case <-gone:
			case <-time.After(partingTimeout):
			}
		}
		end()
	}) {
		end()
	}
}

// Drop aborts everything, and waits for nothing. It may be called more than once.
func (m *Master) Drop() {
	m.mu.Lock()
	m.dropped = true
	streams := slices.Collect(maps.Keys(m.streams))
	m.mu.Unlock()
	m.drop()
	for _, s := range streams {
		s.Abort()
	}
}

// Close drops the master, gives back the ports that its SSH server listens on, and returns when all of that is done. The master lives on,
// unless it was started by Start.
func (m *Master) Close() {
	m.mu.Lock()
	listeners := slices.Collect(maps.Keys(m.listeners))
	m.mu.Unlock()
	for _, l := range listeners {
		l.Close()
	}
	m.Drop()
	if m.ended != nil {
		m.Terminate()
		defer m.ended()
	}
	late := time.AfterFunc(lastAnswers, m.giveUp)
	m.wg.Wait()
	late.Stop()
	m.giveUp()
	_ = errors.Join(m.watch.Close(), m.orders.Close(), m.removeFolder()) // there is nothing to be done about it
}
