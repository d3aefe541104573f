//go:build unix

package relay_test

import (
	"context"
	"io"
	"testing"

	"github.com/culvert-ssh/culvert/relay"
)

func TestConnectionsHoldNoBufferAfterTraffic(t *testing.T) {
	const (
		joins = 32
		most  = 16 << 10 // bytes for one, with the sockets of both sides and of their peers
	)
	before := heap()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	begun := 0
	defer func() {
		stop()
		for range begun {
			<-ended
		}
	}()
	for range joins {
		a, left := tcpPair(t)
		b, right := tcpPair(t)
		begun++
		go func() { ended <- relay.Join(ctx, a, b, nil) }()
		exchange(t, left, right)
	}
	if got := (heap() - before) / joins; got > most {
		t.Errorf("%d bytes are held for each connection that has carried something, want %d at most", got, most)
	} else {
		t.Logf("%d bytes for each connection", got)
	}
}

// What little there is goes through a small buffer: it may wait a long time for whoever is to take it.
func TestLittleThatWaitsHoldsLittle(t *testing.T) {
	const joins = 32
	before := heap()
	ctx, stop := context.WithCancel(context.Background())
	stuck := stopped{make(chan struct{}), make(chan struct{})}
	ended := make(chan error)
	for range joins {
		a, far := tcpPair(t)
		go func() { ended <- relay.Join(ctx, a, stuck, nil) }()
		if _, err := far.Write(make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		<-stuck.writes
	}
	if got, most := (heap()-before)/joins, 16<<10; got > most {
		t.Errorf("%d bytes are held for each connection of which 100 wait, want %d at most", got, most)
	}
	stop()
	close(stuck.over)
	for range joins {
		<-ended
	}
}

// stopped is a stream that takes nothing until it is over.
type stopped struct{ writes, over chan struct{} }

func (s stopped) Read([]byte) (int, error) { <-s.over; return 0, io.ErrUnexpectedEOF }
func (s stopped) Write([]byte) (int, error) {
	s.writes <- struct{}{}
	<-s.over
	return 0, io.ErrClosedPipe
}
func (s stopped) CloseWrite() error { return nil }
func (s stopped) Close() error      { return nil }
func (s stopped) Abort()            {}
