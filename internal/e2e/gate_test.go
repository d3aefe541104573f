package e2e

import (
	"math"
	"net"
	"net/netip"
	"sync"
	"testing"

	"github.com/culvert-ssh/culvert/internal/stage"
)

// gate is a TCP proxy that stops when so many bytes have gone through it one way, on all connections together. A test puts it under SSH, so
// that a transfer stands still, surely in its middle, while something happens to it.
type gate struct {
	after   int64 // bytes
	up      bool  // counted from the client to the server; else the other way
	reached chan struct{}
	said    *stage.Transcript // if not nil, what went from the server to the client; for control connections

	goOn chan struct{}
	mu   sync.Mutex
	both []*net.TCPConn
	n    int64
}

// newGate returns a gate that stops after so many bytes. Exactly one of cut and release
// must be called, once reached is closed.
func newGate(after int64, up bool) *gate {
	return &gate{after: after, up: up, reached: make(chan struct{}), goOn: make(chan struct{})}
}

// newTap returns a gate that never stops, and notes what the server says.
func newTap() *gate {
	g := newGate(math.MaxInt64, false)
	g.said = stage.NewTranscript()
	return g
}

// open starts the proxy for connections to target and returns where it listens.
func (g *gate) open(t *testing.T, target netip.AddrPort) netip.AddrPort {
	t.Helper()
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(target.Addr(), 0)))
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			client, err := l.AcceptTCP()
			if err != nil {
				return
			}
			server, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(target))
			if err != nil {
				client.Close()
				continue
			}
			g.mu.Lock()
			g.both = append(g.both, client, server)
			g.mu.Unlock()
			running.Go(func() { g.copy(server, client, true) })
			running.Go(func() { g.copy(client, server, false) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		g.cut()
		running.Wait()
	})
	return l.Addr().(*net.TCPAddr).AddrPort()
}

func (g *gate) copy(dst, src *net.TCPConn, up bool) {
	defer dst.CloseWrite()
	buf := make([]byte, 16<<10)
	for {
		n, err := src.Read(buf)
		if !up && g.said != nil {
			_, _ = g.said.Write(buf[:n]) // never fails
		}
		if up == g.up && g.count(n) {
			<-g.goOn
		}
		if _, werr := dst.Write(buf[:n]); err != nil || werr != nil {
			return
		}
	}
}

// count reports whether the gate has stopped before the end of these n bytes.
func (g *gate) count(n int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	before := g.n
	g.n += int64(n)
	if before < g.after && g.n >= g.after {
		close(g.reached)
	}
	return g.n >= g.after
}

// release lets the bytes go on.
func (g *gate) release() { close(g.goOn) }

// connections returns how many have been made.
func (g *gate) connections() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.both) / 2
}

// cutOne resets the connection that was made as the i-th, from 0 on, and none other.
func (g *gate) cutOne(i int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.both[2*i : 2*i+2] {
		_ = c.SetLinger(0) // fails, as Close does, if it is closed already
		_ = c.Close()
	}
}

// cut resets what goes through the gate, both ways.
func (g *gate) cut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.both {
		_ = c.SetLinger(0) // fails, as Close does, if it is closed already
		_ = c.Close()
	}
	g.both = nil
	select {
	case <-g.goOn:
	default:
		close(g.goOn)
	}
}
