package lan

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"
)

const patience = 20 * time.Second

// TestMachinesReachTheirNeighboursAlone has three machines in a row: the one in the middle reaches both others, by IPv4 and by
// IPv6, and they don't reach each other.
func TestMachinesReachTheirNeighboursAlone(t *testing.T) {
	t.Parallel()
	if Apart(t) {
		return
	}
	left, middle, right := NewMachine(t, "left"), NewMachine(t, "middle"), NewMachine(t, "right")
	Cable(Plug{left, []string{"10.1.0.2/24", "fd01::2/64", "fe80::2/64"}}, Plug{middle, []string{"10.1.0.1/24", "fd01::1/64", "fe80::1/64"}})
	Cable(Plug{middle, []string{"10.2.0.1/24"}}, Plug{right, []string{"10.2.0.2/24"}})

	for there, want := range map[string]string{"10.1.0.2": "10.1.0.1", "fd01::2": "fd01::1"} {
		at, from := greet(t, left, there)
		if got, err := hear(t, right, at); !errors.Is(err, syscall.ENETUNREACH) {
			t.Errorf("from the right to %v: got %q, %v; want no route", at, got, err)
		}
		if got, err := hear(t, middle, at); err != nil || got != "hello" {
			t.Fatalf("from the middle to %v: got %q, %v", at, got, err)
		}
		if got := <-from; got.Addr() != netip.MustParseAddr(want) {
			t.Errorf("at %v: got a connection from %v, want one from %s", at, got, want)
		}
	}
	at, _ := greet(t, right, "10.2.0.2")
	if got, err := hear(t, middle, at); err != nil || got != "hello" {
		t.Errorf("from the middle to %v: got %q, %v", at, got, err)
	}
	if got, err := hear(t, left, at); !errors.Is(err, syscall.ENETUNREACH) {
		t.Errorf("from the left to %v: got %q, %v; want no route", at, got, err)
	}
}

// TestLineIsLongAndLosesNothing moves some bytes both ways at once over a line: they come as they were sent, and nobody is connected before his
// packets have been there and back.
func TestLineIsLongAndLosesNothing(t *testing.T) {
	t.Parallel()
	if Apart(t) {
		return
	}
	w := Way{Delay: 10 * time.Millisecond}
	near, far := NewMachine(t, "near"), NewMachine(t, "far")
	Line(Plug{near, []string{"10.9.0.1/24", "fd09::1/64"}}, Plug{far, []string{"10.9.0.2/24", "fd09::2/64"}}, w)
	for _, there := range []string{"10.9.0.2", "fd09::2"} {
		thereAndBack(t, near, far, there, 8<<20, w)
	}
}

// TestLineThatLosesPacketsIsMendedByTCP has the packets cut before they are lost.
func TestLineThatLosesPacketsIsMendedByTCP(t *testing.T) {
	t.Parallel()
	if Apart(t) {
		return
	}
	w := Way{Delay: time.Millisecond, Loss: 0.01, Rate: 10_000_000, Bad: 1, BadLoss: 0.01}
	near, far := NewMachine(t, "near"), NewMachine(t, "far")
	Line(Plug{near, []string{"10.9.0.1/24", "fd09::1/64"}}, Plug{far, []string{"10.9.0.2/24", "fd09::2/64"}}, w)
	for _, there := range []string{"10.9.0.2", "fd09::2"} {
		thereAndBack(t, near, far, there, 1<<20, w)
	}
}

// thereAndBack has a server send back what it is sent.
func thereAndBack(t *testing.T, near, far *Machine, there string, size int, w Way) {
	t.Helper()
	at, _ := serve(t, far, there, func(c *net.TCPConn) { _, _ = io.Copy(c, c) })
	begin := time.Now()
	conn, err := dial(near, at)
	if took := time.Since(begin); err != nil || took < 2*w.Delay {
		t.Fatalf("connect to %v: %v in %v, want at least %v", at, err, took, 2*w.Delay)
	}
	defer conn.Close()
	sent := make([]byte, size)
	rand.NewChaCha8([32]byte{1}).Read(sent)
	go func() {
		_, _ = conn.Write(sent) // what is missing is missed
		_ = conn.(*net.TCPConn).CloseWrite()
	}()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if got, err := io.ReadAll(conn); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%v: got %d bytes, %v; want the %d that were sent", at, len(got), err, size)
	}
}

// greet says hello to whoever connects to addr on m, and tells who it was.
func greet(t *testing.T, m *Machine, addr string) (netip.AddrPort, <-chan netip.AddrPort) {
	t.Helper()
	return serve(t, m, addr, func(c *net.TCPConn) { _, _ = io.WriteString(c, "hello") }) // whoever doesn't hear it says so
}

// serve serves one connection to addr on m, and tells whose it is.
func serve(t *testing.T, m *Machine, addr string, f func(c *net.TCPConn)) (netip.AddrPort, <-chan netip.AddrPort) {
	t.Helper()
	var l *net.TCPListener
	var err error
	m.Do(func() {
		l, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(addr), 0)))
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	from := make(chan netip.AddrPort, 1)
	go func() {
		conn, err := l.AcceptTCP()
		if err != nil {
			close(from)
			return
		}
		from <- conn.RemoteAddr().(*net.TCPAddr).AddrPort()
		f(conn)
		conn.Close()
	}()
	return l.Addr().(*net.TCPAddr).AddrPort(), from
}

func dial(m *Machine, at netip.AddrPort) (conn net.Conn, err error) {
	m.Do(func() { conn, err = net.DialTimeout("tcp", at.String(), patience) })
	return conn, err
}

func hear(t *testing.T, m *Machine, at netip.AddrPort) (string, error) {
	t.Helper()
	conn, err := dial(m, at)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	heard, err := io.ReadAll(conn)
	return string(heard), err
}

// TestForbiddenSaysWhatToDo is about machines that give users no namespaces.
func TestForbiddenSaysWhatToDo(t *testing.T) {
	t.Parallel()
	err := forbidden(syscall.EPERM)
	if !errors.Is(err, syscall.EPERM) || !strings.Contains(err.Error(), "as root") || !strings.Contains(err.Error(), "sysctl") {
		t.Errorf("got %q, want what to do", err)
	}
}
