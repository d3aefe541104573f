package relay_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/relay"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tcpPair returns the two ends of a TCP connection on loopback.
func tcpPair(t *testing.T) (near *relay.TCP, far *net.TCPConn) {
	t.Helper()
	far, a := socketPair(t)
	t.Cleanup(func() { far.Close(); a.Close() })
	return relay.NewTCP(a), far
}

// socketPair returns the two ends of a TCP connection.
func socketPair(t *testing.T) (*net.TCPConn, *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	left, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	right, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return left.(*net.TCPConn), right.(*net.TCPConn)
}

// sshPair is an SSH connection over loopback with one direct-tcpip channel in it.
type sshPair struct {
	client, server     ssh.Conn
	clientTCP          net.Conn // below clientWire; closing it cuts the connection
	clientWire         *relay.Wire
	serverWire         *relay.Wire
	clientCh, serverCh ssh.Channel
	clientRq, serverRq <-chan *ssh.Request
}

func newSSHPair(t *testing.T, tamper func(net.Conn) net.Conn) *sshPair {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	near, far := tcpPair(t)
	p := &sshPair{clientTCP: far, serverWire: relay.NewWire(near.TCPConn)}
	below := net.Conn(far)
	if tamper != nil {
		below = tamper(far)
	}
	p.clientWire = relay.NewWire(below)

	var wg sync.WaitGroup
	wg.Go(func() {
		cfg := &ssh.ServerConfig{NoClientAuth: true}
		cfg.AddHostKey(signer)
		conn, chans, reqs, err := ssh.NewServerConn(p.serverWire, cfg)
		if err != nil {
			t.Error(err)
			return
		}
		go ssh.DiscardRequests(reqs)
		p.server = conn
		p.serverCh, p.serverRq, err = (<-chans).Accept()
		if err != nil {
			t.Error(err)
		}
	})
	conn, chans, reqs, err := ssh.NewClientConn(p.clientWire, "x", &ssh.ClientConfig{HostKeyCallback: ssh.FixedHostKey(signer.PublicKey())})
	if err != nil {
		t.Fatal(err)
	}
	go ssh.DiscardRequests(reqs)
	go func() {
		for range chans {
		}
	}()
	p.client = conn
	p.clientCh, p.clientRq, err = conn.OpenChannel("direct-tcpip", nil)
	if err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	t.Cleanup(func() {
		p.client.Close()
		p.server.Close()
		p.client.Wait()
		p.server.Wait()
	})
	return p
}

func alive(c ssh.Conn) func() error {
	return func() error {
		_, _, err := c.SendRequest("keepalive@openssh.com", true, nil)
		return err
	}
}

func (p *sshPair) clientStream(endOfData bool) *relay.Channel {
	return relay.NewChannel(p.clientCh, p.clientRq, relay.ChannelConfig{
		Wire: p.clientWire, EndOfData: endOfData, Alive: alive(p.client),
	})
}

func (p *sshPair) serverStream(endOfData bool) *relay.Channel {
	return relay.NewChannel(p.serverCh, p.serverRq, relay.ChannelConfig{
		Wire: p.serverWire, EndOfData: endOfData, Alive: alive(p.server),
	})
}

func random(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	r.Read(b)
	return b
}

// chain is TCP → relay → SSH → relay → TCP, as in production.
type chain struct {
	*sshPair
	left, right *net.TCPConn
	results     chan error
	cancel      context.CancelFunc
}

func newChain(t *testing.T, endOfData bool) *chain {
	t.Helper()
	p := newSSHPair(t, nil)
	nearLeft, left := tcpPair(t)
	nearRight, right := tcpPair(t)
	ctx, cancel := context.WithCancel(t.Context())
	c := &chain{sshPair: p, left: left, right: right, results: make(chan error, 2), cancel: cancel}
	go func() { c.results <- relay.Join(ctx, nearLeft, p.clientStream(endOfData), nil) }()
	go func() { c.results <- relay.Join(ctx, p.serverStream(endOfData), nearRight, nil) }()
	t.Cleanup(func() {
		cancel()
		<-c.results
		<-c.results
	})
	return c
}

// join makes the results available again for the cleanup.
func (c *chain) join() (a, b error) {
	a, b = <-c.results, <-c.results
	c.results <- a
	c.results <- b
	return a, b
}

func TestBytesAndHalfCloseSurviveTheChain(t *testing.T) {
	for _, endOfData := range []bool{false, true} {
		for _, size := range []int{0, 1, 1023, 1024, 1025, 5 << 20} {
			c := newChain(t, endOfData)
			want := random(size)
			go func() {
				c.left.Write(want)
				c.left.CloseWrite()
			}()
			got, err := io.ReadAll(c.right)
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("end-of-data %v, %d bytes: got %d bytes, error %v", endOfData, size, len(got), err)
			}
			// The other direction is open still.
			go func() {
				c.right.Write(want)
				c.right.Close()
			}()
			got, err = io.ReadAll(c.left)
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("end-of-data %v, %d bytes back: got %d bytes, error %v", endOfData, size, len(got), err)
			}
			if a, b := c.join(); a != nil || b != nil {
				t.Errorf("end-of-data %v: Join returned %v and %v, want nil", endOfData, a, b)
			}
		}
	}
}

// wantReset reads conn to its end, which must be a reset.
func wantReset(t *testing.T, name string, conn *net.TCPConn) {
	t.Helper()
	if _, err := io.Copy(io.Discard, conn); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%s: the far end read %v, want a connection reset", name, err)
	}
}

func TestResetArrivesAsReset(t *testing.T) {
	for name, reset := range map[string]func(c *chain) *net.TCPConn{
		"upload":   func(c *chain) *net.TCPConn { c.left.SetLinger(0); c.left.Close(); return c.right },
		"download": func(c *chain) *net.TCPConn { c.right.SetLinger(0); c.right.Close(); return c.left },
	} {
		c := newChain(t, true)
		c.left.Write(random(100))
		io.ReadFull(c.right, make([]byte, 100))
		wantReset(t, name, reset(c))
		if a, b := c.join(); a == nil || b == nil {
			t.Errorf("%s: Join returned %v and %v, want errors", name, a, b)
		}
	}
}

// The kernel closes what a killed program had open, and asks nobody how.
func TestConnectionOfAKilledProgramIsReset(t *testing.T) {
	near, far := tcpPair(t)
	if _, err := near.Write([]byte("half a file")); err != nil {
		t.Fatal(err)
	}
	near.TCPConn.Close()
	wantReset(t, "far end", far)
}

func TestClosedConnectionDeliversWhatWasWritten(t *testing.T) {
	near, far := tcpPair(t)
	whole := random(1 << 20) // more than the far end's receive buffer takes at once
	go func() {
		near.Write(whole)
		near.CloseWrite()
		near.Close()
	}()
	if got, err := io.ReadAll(far); err != nil || !bytes.Equal(got, whole) {
		t.Errorf("%d bytes of %d arrived: %v", len(got), len(whole), err)
	}
}

func TestLostConnectionArrivesAsReset(t *testing.T) {
	for _, endOfData := range []bool{false, true} {
		c := newChain(t, endOfData)
		c.left.Write(random(100))
		io.ReadFull(c.right, make([]byte, 100))
		c.clientTCP.Close()
		wantReset(t, "left", c.left)
		wantReset(t, "right", c.right)
		a, b := c.join()
		if !errors.Is(a, relay.ErrAborted) || !errors.Is(b, relay.ErrAborted) {
			t.Errorf("end-of-data %v: Join returned %v and %v, want ErrAborted", endOfData, a, b)
		}
	}
}

func TestJoinEndsWithItsContext(t *testing.T) {
	c := newChain(t, true)
	c.left.Write(random(100))
	io.ReadFull(c.right, make([]byte, 100))
	c.cancel()
	wantReset(t, "left", c.left)
	if a, b := c.join(); !errors.Is(a, context.Canceled) || !errors.Is(b, context.Canceled) {
		t.Errorf("Join returned %v and %v, want context.Canceled", a, b)
	}
}

func TestEndOfChannelData(t *testing.T) {
	word := func(n uint64) []byte { return ssh.Marshal(struct{ N uint64 }{n}) }
	for _, tt := range []struct {
		name  string
		agree bool
		end   func(p *sshPair)
		want  error
	}{
		{"word and EOF", true, func(p *sshPair) {
			p.serverCh.SendRequest(relay.EndOfDataRequest, false, word(5))
			p.serverCh.CloseWrite()
		}, io.EOF},
		{"word, EOF and close", true, func(p *sshPair) {
			p.serverCh.SendRequest(relay.EndOfDataRequest, false, word(5))
			p.serverCh.CloseWrite()
			p.serverCh.Close()
		}, io.EOF},
		{"word and close", true, func(p *sshPair) {
			p.serverCh.SendRequest(relay.EndOfDataRequest, false, word(5))
			p.serverCh.Close()
		}, io.EOF},
		{"EOF without the word", true, func(p *sshPair) { p.serverCh.CloseWrite() }, relay.ErrAborted},
		{"close without the word", true, func(p *sshPair) { p.serverCh.Close() }, relay.ErrAborted},
		{"another count", true, func(p *sshPair) {
			p.serverCh.SendRequest(relay.EndOfDataRequest, false, word(6))
			p.serverCh.CloseWrite()
		}, relay.ErrAborted},
		{"a malformed word", true, func(p *sshPair) {
			p.serverCh.SendRequest(relay.EndOfDataRequest, false, word(5)[:7])
			p.serverCh.CloseWrite()
		}, relay.ErrAborted},
		{"lost connection", true, func(p *sshPair) { p.clientTCP.Close() }, relay.ErrTransportLost},
		{"foreign: EOF", false, func(p *sshPair) { p.serverCh.CloseWrite() }, io.EOF},
		{"foreign: EOF and close", false, func(p *sshPair) { p.serverCh.CloseWrite(); p.serverCh.Close() }, io.EOF},
		{"foreign: lost connection", false, func(p *sshPair) { p.clientTCP.Close() }, relay.ErrTransportLost},
		{"foreign: the word means nothing", false, func(p *sshPair) {
			p.serverCh.SendRequest(relay.EndOfDataRequest, false, word(6))
			p.serverCh.CloseWrite()
		}, io.EOF},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newSSHPair(t, nil)
			go ssh.DiscardRequests(p.serverRq)
			s := p.clientStream(tt.agree)
			defer s.Close()
			if _, err := p.serverCh.Write([]byte("hello")); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(s, make([]byte, 5)); err != nil {
				t.Fatal(err)
			}
			tt.end(p)
			if _, err := s.Read(make([]byte, 5)); !errors.Is(err, tt.want) {
				t.Errorf("Read: %v, want %v", err, tt.want)
			}
		})
	}
}

// flipper corrupts what is read from a connection once it is told to.
type flipper struct {
	net.Conn
	mu sync.Mutex
	on bool
}

func (f *flipper) Read(p []byte) (int, error) {
	n, err := f.Conn.Read(p)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.on && n > 0 {
		p[n-1] ^= 1
	}
	return n, err
}

func TestForgedPacketIsNoEndOfData(t *testing.T) {
	// A packet that fails its MAC ends the connection inside the library while
	// the socket is well; the library calls that io.EOF too.
	for range 20 {
		var f *flipper
		p := newSSHPair(t, func(c net.Conn) net.Conn { f = &flipper{Conn: c}; return f })
		go ssh.DiscardRequests(p.serverRq)
		s := p.clientStream(false)
		p.serverCh.Write([]byte("hello"))
		io.ReadFull(s, make([]byte, 5))
		f.mu.Lock()
		f.on = true
		f.mu.Unlock()
		p.serverCh.Write([]byte("world"))
		if n, err := s.Read(make([]byte, 5)); n != 0 || !errors.Is(err, relay.ErrTransportLost) {
			t.Fatalf("Read: %d bytes, %v; want %v", n, err, relay.ErrTransportLost)
		}
		s.Close()
	}
}

func TestParkedStreamHoldsLittle(t *testing.T) {
	// The pool's buffers are taken only while data flows.
	res := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			a, fa := net.Pipe()
			c, fc := net.Pipe()
			done := make(chan error)
			go func() { done <- relay.Join(context.Background(), pipe{a}, pipe{c}, nil) }()
			fa.Close()
			fc.Close()
			<-done
		}
	})
	if got := res.AllocedBytesPerOp(); got > 16<<10 {
		t.Errorf("an idle Join allocates %d bytes, want less than 16 KiB", got)
	}
}

// pipe is a net.Conn whose every end is an abort.
type pipe struct{ net.Conn }

func (p pipe) CloseWrite() error { return nil }
func (p pipe) Abort()            { p.Close() }

// bug is a stream that panics when it is read.
type bug struct{ pipe }

func (bug) Read([]byte) (int, error) { panic("a bug") }

func TestPanicOfAStreamIsTheCallers(t *testing.T) {
	for name, join := range map[string]func(sound, unsound relay.Stream){
		"a": func(sound, unsound relay.Stream) { relay.Join(context.Background(), unsound, sound, nil) },
		"b": func(sound, unsound relay.Stream) { relay.Join(context.Background(), sound, unsound, nil) },
	} {
		near, far := net.Pipe()
		other, _ := net.Pipe()
		caught := make(chan any)
		go func() {
			defer func() { caught <- recover() }()
			join(pipe{near}, bug{pipe{other}})
		}()
		if got := <-caught; got == nil {
			t.Errorf("%s: Join did not panic in its caller's goroutine", name)
		}
		if _, err := far.Read(make([]byte, 1)); err == nil {
			t.Errorf("%s: the other stream goes on", name)
		}
	}
}
