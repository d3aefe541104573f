package stripe

import (
	"runtime"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/relay"
)

// deaf is a channel whose peer reads nothing: it can't be closed before hears.
type deaf struct {
	*fake
	hears chan struct{}
}

func (d *deaf) Close() error {
	<-d.hears
	return d.fake.Close()
}

// TestBreachesLeaveOneGoroutine has a peer that reads nothing break the protocol again and again.
func TestBreachesLeaveOneGoroutine(t *testing.T) {
	primary, reqs := &deaf{fake: newFake(), hears: make(chan struct{})}, make(chan *ssh.Request)
	s := New(primary, reqs, Config{ChannelConfig: relay.ChannelConfig{Wire: relay.NewWire(nil), EndOfData: true}})
	before := runtime.NumGoroutine()
	for range 1000 {
		s.peer(ackRequest, ack{})
	}
	if n := runtime.NumGoroutine() - before; n > 1 {
		t.Errorf("%d goroutines wait after 1000 breaches, want 1", n)
	}
	close(primary.hears)
	close(reqs)
}
