package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/culvert-ssh/culvert/internal/transcript"
	"github.com/culvert-ssh/culvert/relay"
)

var loopbacks atomic.Uint32

// ownLoopback returns an address that no other transcript has, as a port that is free again may be somebody else's soon.
func ownLoopback() string {
	n := loopbacks.Add(1)
	return netip.AddrFrom4([4]byte{127, 77, byte(n >> 8), byte(n)}).String()
}

func dialFrom(t *testing.T, from, at string) *net.TCPConn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: patience}
	c, err := d.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn)
}

// activePorts are the two ports that the clients of the transcripts wait at in active mode.
type activePorts struct {
	t        *testing.T
	at       map[string]*net.TCPListener
	ports    *strings.Replacer // of the transcripts, by those of today
	expected []string          // where a connection is to come
}

func newActivePorts(t *testing.T, hop string) *activePorts {
	t.Helper()
	w := &activePorts{t: t, at: make(map[string]*net.TCPListener)}
	names := []string{"127.0.0.1", hop, "127,0,0,1", strings.ReplaceAll(hop, ".", ",")}
	for _, name := range []struct{ number, port string }{{"51210", "200,10"}, {"51211", "200,11"}} {
		ln, err := net.Listen("tcp", net.JoinHostPort(hop, "0"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ln.Close() })
		port := relay.AddrPort(ln.Addr()).Port()
		w.at[ln.Addr().String()] = ln.(*net.TCPListener)
		names = append(names, name.number, fmt.Sprint(port), name.port, fmt.Sprintf("%d,%d", port>>8, port&0xff))
	}
	w.ports = strings.NewReplacer(names...)
	return w
}

// close has nobody wait.
func (w *activePorts) close() {
	for at, ln := range w.at {
		_ = ln.Close()
		delete(w.at, at)
	}
}

func (w *activePorts) expect(at string, begins bool) {
	if begins && len(w.at) > 0 {
		w.expected = append(w.expected, at)
	}
}

// check holds that who waits was connected to when a transfer began, and nobody else.
func (w *activePorts) check() {
	w.t.Helper()
	for _, at := range w.expected {
		_ = w.at[at].SetDeadline(time.Now().Add(patience))
		c, err := w.at[at].Accept()
		if err != nil {
			w.t.Errorf("the client waits at %s: %v", at, err)
			return
		}
		w.t.Cleanup(func() { _ = c.Close() })
		_ = c.SetDeadline(time.Now().Add(patience))
		if err := exchange(c); err != nil {
			w.t.Errorf("the client at %s: %v", at, err)
		}
	}
	for at, ln := range w.at {
		last := dial(w.t, at)
		c, err := ln.Accept()
		if err != nil {
			w.t.Fatal(err)
		}
		if c.RemoteAddr().String() != last.LocalAddr().String() {
			w.t.Errorf("the client at %s was connected to, and nothing began", at)
		}
		_ = c.Close()
	}
}

// farServer is a Transport whose far end is in a transcript: it opens the control connection once, and what was announced.
type farServer struct {
	t       *testing.T
	control farEnd
	host    string
	hop     string // where the client and its side of culvert are

	offered   string // where the client was told to connect to last
	connected bool   // the test did

	mu       sync.Mutex
	asked    bool // for the control connection
	expected map[string]bool
	refused  bool           // what is announced now can't be reached
	told     string         // where the server is to be listened for; empty if it can't be
	secured  *tls.Config    // by which data connections are spoken
	protects bool           // what is announced now
	served   []<-chan error // how the server got on with what was opened for that
	closers  []io.Closer
}

// listening is told of the answer to a question.
func (f *farServer) listening(answer transcript.Step) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.told = ""
	if answer.Head == "listening" {
		f.told = answer.Text
	}
	f.served = nil
}

func (f *farServer) announcing(e transcript.Endpoint, refused bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !e.Listening {
		f.expected[Forward{Host: f.host, HostPort: e.Port}.Target()] = true
	}
	f.refused, f.protects, f.offered, f.connected, f.served = refused, e.Protected, "", false, nil
}

func (f *farServer) ReadsFTP() bool { return false }

func (f *farServer) OpenControl(ctx context.Context, host string, port uint16, origin netip.AddrPort) (relay.Stream, error) {
	return f.Open(ctx, host, port, origin)
}

func (f *farServer) OpenSocket(context.Context, string) (relay.Stream, error) {
	return nil, errors.New("the server isn't behind a Unix socket")
}

func (f *farServer) Open(_ context.Context, host string, port uint16, _ netip.AddrPort) (relay.Stream, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	target := Forward{Host: host, HostPort: port}.Target()
	switch {
	case !f.asked && target == (Forward{Host: f.host, HostPort: 21}).Target():
		f.asked = true
		return f.control.near, nil
	case !f.expected[target]:
		f.t.Errorf("%s was opened, which nobody announced", target)
		return nil, errors.New("administratively prohibited")
	case f.refused:
		return nil, errors.New("connect failed")
	}
	return f.dataEnd(), nil
}

// dataEnd is a data connection of the server's, which speaks first on it. It needs f.mu.
func (f *farServer) dataEnd() relay.Stream {
	end := newFarEnd(f.t)
	f.closers = append(f.closers, end.far)
	var server net.Conn = end.far
	if f.protects {
		server = tls.Server(server, f.secured)
	}
	done := make(chan error, 1)
	f.served = append(f.served, done)
	go func() { done <- exchange(server) }()
	return end.near
}

// exchange says something, and holds that the other end says the same.
func exchange(c net.Conn) error {
	if _, err := c.Write([]byte("x")); err != nil {
		return err
	}
	got := make([]byte, 1)
	if _, err := io.ReadFull(c, got); err != nil || got[0] != 'x' {
		return fmt.Errorf("read %q, %v, want x", got, err)
	}
	return nil
}

// Listen is asked for an address of the transcript's choice.
func (f *farServer) Listen(_ context.Context, l Listening) (Arrival, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if l.Host != f.host {
		f.t.Errorf("the server %s is listened for, want %s", l.Host, f.host)
	}
	if f.told == "" {
		return nil, errors.New("no address")
	}
	return &farArrival{f: f, told: netip.MustParseAddrPort(f.told)}, nil
}

// farArrival is a server that connects as soon as it may.
type farArrival struct {
	f      *farServer
	told   netip.AddrPort
	closed bool // guarded by f.mu
}

func (a *farArrival) Addr() netip.AddrPort { return a.told }

func (a *farArrival) Accept(context.Context) (relay.Stream, error) {
	a.f.mu.Lock()
	defer a.f.mu.Unlock()
	if a.closed {
		return nil, net.ErrClosed
	}
	return a.f.dataEnd(), nil
}

func (a *farArrival) Close() {
	a.f.mu.Lock()
	defer a.f.mu.Unlock()
	a.closed = true
}

// connect makes the client's data connection: what it sends must get to the server.
func (f *farServer) connect() {
	f.t.Helper()
	f.connected = true
	c := dialFrom(f.t, f.hop, f.offered)
	f.mu.Lock()
	f.closers = append(f.closers, c)
	f.mu.Unlock()
	f.carries(c)
}

// carries holds that the client's data connection is one with the server's.
func (f *farServer) carries(c net.Conn) {
	f.t.Helper()
	_ = c.SetDeadline(time.Now().Add(patience))
	if err := exchange(c); err != nil {
		f.t.Errorf("the client at its data connection: %v", err)
		return
	}
	f.mu.Lock()
	served := f.served
	f.mu.Unlock()
	for _, done := range served {
		select {
		case err := <-done:
			if err != nil {
				f.t.Errorf("the server at its data connection: %v", err)
			}
		case <-time.After(patience):
			f.t.Error("the server hears nothing of its data connection")
		}
	}
}

func (f *farServer) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range append(f.closers, f.control.far) {
		_ = c.Close()
	}
}

// farEnd is a connection of the bastion: the stream that culvert has, and the server's socket.
type farEnd struct {
	near relay.Stream
	far  *net.TCPConn
}

func newFarEnd(t *testing.T) farEnd {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	near, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return farEnd{relay.NewTCP(near.(*net.TCPConn)), far.(*net.TCPConn)}
}

// readStream knows when all that was said has been read and dealt with: whoever reads on has done with what came before.
type readStream struct {
	relay.Stream
	mu      sync.Mutex
	changed sync.Cond
	reading bool
	read    int
	ended   bool
}

func (r *readStream) Read(p []byte) (int, error) {
	r.change(func() { r.reading = true })
	n, err := r.Stream.Read(p)
	r.change(func() { r.reading, r.read, r.ended = false, r.read+n, err != nil })
	return n, err
}

func (r *readStream) change(how func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	how()
	r.changed.Broadcast()
}

func (r *readStream) wait(said int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for !r.ended && !(r.reading && r.read == said) {
		r.changed.Wait()
	}
}

// saying counts what is said.
type saying struct {
	*net.TCPConn
	said int
}

func (s *saying) Write(p []byte) (int, error) {
	n, err := s.TCPConn.Write(p)
	s.said += n
	return n, err
}
