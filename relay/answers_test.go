package relay_test

import (
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/culvert-ssh/culvert/relay"
)

// mute is a connection that takes nothing more once it is told, until it is closed.
type mute struct {
	net.Conn
	told   atomic.Bool
	closed chan struct{}
	once   sync.Once
}

func (m *mute) Write(p []byte) (int, error) {
	if m.told.Load() {
		<-m.closed
		return 0, net.ErrClosed
	}
	return m.Conn.Write(p)
}

func (m *mute) Close() error {
	m.once.Do(func() { close(m.closed) })
	return m.Conn.Close()
}

// asked is an Extension that passes on what it is asked.
type asked chan string

func (a asked) Request(name string, _ []byte) bool {
	a <- name
	return true
}

func (asked) EndOfData(uint64) {}
func (asked) Closed()          {}

// A peer that reads no answers has its requests handled all the same: what isn't is held, and has up to 256 KiB.
func TestRequestsAreHandledWhileNoAnswerCanBeSent(t *testing.T) {
	var m *mute
	p := newSSHPair(t, func(c net.Conn) net.Conn {
		m = &mute{Conn: c, closed: make(chan struct{})}
		return m
	})
	names := make(asked)
	relay.NewChannel(p.clientCh, p.clientRq, relay.ChannelConfig{Wire: p.clientWire, EndOfData: true, Extension: names})
	m.told.Store(true)
	answered := make(chan error, 1)
	go func() {
		_, err := p.serverCh.SendRequest("wants an answer", true, nil)
		answered <- err
	}()
	if got := <-names; got != "wants an answer" {
		t.Fatalf("request %q came first", got)
	}
	before := runtime.NumGoroutine()
	for range 100 {
		if _, err := p.serverCh.SendRequest("wants none", false, make([]byte, 30<<10)); err != nil {
			t.Fatal(err)
		}
		if got := <-names; got != "wants none" {
			t.Fatalf("request %q came next", got)
		}
	}
	n := runtime.NumGoroutine()
	for late := time.Now().Add(10 * time.Second); n > before+1 && time.Now().Before(late); n = runtime.NumGoroutine() { // some may be about to end
		runtime.Gosched()
	}
	if n > before+1 {
		t.Errorf("%d goroutines, and %d before", n, before)
	}
	select {
	case err := <-answered:
		t.Fatalf("an answer came, %v: the test shows nothing", err)
	default:
	}
	m.Close()
	if err := <-answered; err == nil {
		t.Error("an answer came")
	}
}

func TestRequestsAreAnsweredInTheirOrder(t *testing.T) {
	p := newSSHPair(t, nil)
	names := make(asked, 100)
	p.clientStream(false)
	relay.NewChannel(p.serverCh, p.serverRq, relay.ChannelConfig{Wire: p.serverWire, EndOfData: true, Extension: names})
	for i := range 100 {
		want := i%2 == 0
		name := "known"
		if !want {
			name = relay.EndOfDataRequest // whose payload is wrong
		}
		if ok, err := p.clientCh.SendRequest(name, true, nil); err != nil || ok != want {
			t.Fatalf("request %d: got %v, %v; want %v", i, ok, err, want)
		}
	}
}
