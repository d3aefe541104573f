package client

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/culvert-ssh/culvert/ftp"
	"github.com/culvert-ssh/culvert/relay"
)

// waiting is a client in active mode that waits on loopback, and the endpoint that its PORT becomes.
func waiting(t *testing.T) (*net.TCPListener, ftp.Endpoint) {
	t.Helper()
	ln, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(loopback, 0)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	if err := ln.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return ln, ftp.Endpoint{Mode: ftp.PORT, Client: relay.AddrPort(ln.Addr()), Port: 1548}
}

// accepted waits for a connection to the client.
func accepted(t *testing.T, ln *net.TCPListener) *net.TCPConn {
	t.Helper()
	c, err := ln.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c
}

// sink is a server that reports how reading from each of its data connections ended.
func sink(t *testing.T) (Forward, <-chan error) {
	ended := make(chan error, maxData)
	return destination(t, func(c *net.TCPConn) {
		_, err := io.Copy(io.Discard, c)
		ended <- err
	}), ended
}

func wantAborted(t *testing.T, ended <-chan error) {
	t.Helper()
	select {
	case err := <-ended:
		if !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the server saw %v, want a reset", err)
		}
	case <-time.After(patience):
		t.Error("the server saw no end")
	}
}

func TestActiveClientIsDialledWhenItsTransferBegins(t *testing.T) {
	e, d := testEndpoints(t)
	for range 3 { // the first opens its channel beforehand
		ln, end := waiting(t)
		if _, err := e.Open(t.Context(), end); err != nil {
			t.Fatal(err)
		}
		if c, err := acceptNow(ln); err == nil {
			t.Fatalf("%v was connected to before the transfer began", c.LocalAddr())
		}
		e.Begin(t.Context())
		if err := e.End(t.Context()); err != nil {
			t.Errorf("the end of the transfer: %v, want no error", err)
		}
		c := accepted(t, ln)
		if from := relay.AddrPort(c.RemoteAddr()).Addr(); from != e.hop {
			t.Errorf("the client is dialled from %v, want the control connection's own %v", from, e.hop)
		}
		wantData(t, c)
		if got, want := d.asked.Load(), "ftp.corp:1548"; got != want {
			t.Errorf("asked for %v, want %s", got, want)
		}
	}
}

// acceptNow returns a connection that is in the queue already.
func acceptNow(ln *net.TCPListener) (*net.TCPConn, error) {
	_ = ln.SetDeadline(time.Now().Add(time.Millisecond))
	defer func() { _ = ln.SetDeadline(time.Now().Add(patience)) }()
	return ln.AcceptTCP()
}

func TestActiveModeIsRefusedIfItsFirstChannelFails(t *testing.T) {
	e, d := testEndpoints(t)
	d.fail.Store(true)
	_, end := waiting(t)
	if _, err := e.Open(t.Context(), end); err == nil {
		t.Error("got no error, want the failure of the channel")
	}
	e.Begin(t.Context()) // has nothing to begin
}

func TestClientThatDoesNotWaitAbortsTheServersSide(t *testing.T) {
	e, d := testEndpoints(t)
	var ended <-chan error
	d.to, ended = sink(t)
	ln, end := waiting(t)
	_ = ln.Close()
	if _, err := e.Open(t.Context(), end); err != nil {
		t.Fatal(err)
	}
	e.Begin(t.Context())
	wantAborted(t, ended)
	if err := e.End(t.Context()); !errors.Is(err, errNotReached) {
		t.Errorf("the end of the transfer: %v, want that nobody was connected to", err)
	}
}

func TestTransferThatNeverBeginsConnectsNobody(t *testing.T) {
	e, d := testEndpoints(t)
	var ended <-chan error
	d.to, ended = sink(t)
	ln, end := waiting(t)
	if _, err := e.Open(t.Context(), end); err != nil {
		t.Fatal(err)
	}
	e.Cancel("the transfer failed (550)")
	wantAborted(t, ended)
	if c, err := acceptNow(ln); err == nil {
		t.Errorf("%v was connected to", c.LocalAddr())
	}
}

func TestActiveTransferOutlivesItsCancel(t *testing.T) {
	e, d := testEndpoints(t)
	resume := make(chan struct{})
	d.to = destination(t, func(c *net.TCPConn) {
		<-resume
		_, _ = io.WriteString(c, "data")
	})
	ln, end := waiting(t)
	if _, err := e.Open(t.Context(), end); err != nil {
		t.Fatal(err)
	}
	e.Begin(t.Context())
	c := accepted(t, ln)
	e.Cancel("a new endpoint")
	close(resume)
	wantData(t, c)
}

// TestPortOfAnotherUserIsNotDialled has a PORT that names where another user's program waits: what it would get is not meant for it, and what it
// would send would be taken for the client's.
func TestPortOfAnotherUserIsNotDialled(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can start a program as somebody else")
	}
	e, d := testEndpoints(t)
	var ended <-chan error
	d.to, ended = sink(t)
	at := listenAsNobody(t)
	if _, err := e.Open(t.Context(), ftp.Endpoint{Mode: ftp.PORT, Client: at, Port: 1548}); err != nil {
		t.Fatal(err)
	}
	e.Begin(t.Context())
	wantAborted(t, ended)
}

// listenAsNobody starts a program of another user that waits for a connection until the test ends.
func listenAsNobody(t *testing.T) netip.AddrPort {
	t.Helper()
	self, err := os.Open("/proc/self/exe") // it lies where others can't reach it
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	cmd := exec.Command("/proc/self/fd/3")
	cmd.ExtraFiles = []*os.File{self}
	cmd.Dir = "/"
	cmd.Env = []string{"CULVERT_TEST_LISTEN=1"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}, Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the other user's program was connected to, or failed: %v", err)
		}
	})
	line := make([]byte, 64)
	n, err := out.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	return netip.MustParseAddrPort(strings.TrimSpace(string(line[:n])))
}

// listenHelper is what the test binary does as another user: it waits for a connection until its input ends, and fails if one comes.
func listenHelper() bool {
	if os.Getenv("CULVERT_TEST_LISTEN") == "" {
		return false
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		os.Exit(2)
	}
	_, _ = io.WriteString(os.Stdout, ln.Addr().String()+"\n")
	go func() {
		if _, err := ln.Accept(); err == nil {
			os.Exit(1)
		}
	}()
	_, _ = io.Copy(io.Discard, os.Stdin)
	return true
}

func TestDiallerWaitsForAServerThatConnects(t *testing.T) {
	e, _ := testEndpoints(t)
	ln, end := waiting(t)
	end.Listening = true
	if _, err := e.Open(t.Context(), end); err == nil {
		t.Fatal("nobody listens, and there was no error")
	}
	a := &pretendArrival{conns: make(chan relay.Stream, 1), closed: make(chan struct{}, 2)}
	e.listening = a
	if _, err := e.Open(t.Context(), end); err != nil {
		t.Fatal(err)
	}
	e.Begin(t.Context()) // doesn't wait for the server
	if c, err := acceptNow(ln); err == nil {
		t.Fatalf("%v was connected to, and the server has not connected", c.LocalAddr())
	}
	server := newFarEnd(t)
	a.conns <- server.near
	c := accepted(t, ln)
	_, _ = io.WriteString(server.far, "data")
	_ = server.far.Close()
	wantData(t, c)
	<-a.closed
}

func TestServerThatFailsToConnectIsWaitedForNoLonger(t *testing.T) {
	e, _ := testEndpoints(t)
	for range 2 * maxData { // none of them takes a place for long
		ln, end := waiting(t)
		end.Listening = true
		a := &pretendArrival{conns: make(chan relay.Stream), closed: make(chan struct{}, 2)}
		e.listening = a
		if _, err := e.Open(t.Context(), end); err != nil {
			t.Fatal(err)
		}
		e.Begin(t.Context())
		e.Cancel("the transfer failed (425)")
		<-a.closed
		_ = ln.Close()
	}
}

// pretendArrival is an Arrival that a test makes.
type pretendArrival struct {
	conns  chan relay.Stream
	closed chan struct{}
}

func (a *pretendArrival) Addr() netip.AddrPort { return netip.MustParseAddrPort("10.0.0.1:5000") }
func (a *pretendArrival) Close()               { a.closed <- struct{}{} }

func (a *pretendArrival) Accept(ctx context.Context) (relay.Stream, error) {
	select {
	case s := <-a.conns:
		return s, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
