package server

import (
	"net"
	"strings"
	"testing"
	"time"
)

func TestAnAcceptLoopThatIsStuckIsNoticed(t *testing.T) {
	b := newBastion(t)
	b.start()
	b.connect()
	b.events.wait("connection.opened")
	if err := b.Stuck(time.Nanosecond); err != nil {
		t.Errorf("a loop that waits: %v", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if !b.listen(l) {
		t.Fatal("the server is closed")
	}
	defer b.unlisten(l)
	b.busy(l, time.Now().Add(-time.Minute))
	if err := b.Stuck(2 * time.Minute); err != nil {
		t.Errorf("a loop that is at work for a minute: %v", err)
	}
	if err := b.Stuck(time.Second); err == nil || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Errorf("got %v, want an error that names %v", err, l.Addr())
	}
	b.busy(l, time.Time{})
	if err := b.Stuck(time.Nanosecond); err != nil {
		t.Errorf("a loop that waits again: %v", err)
	}
}
