package relay_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/culvert-ssh/culvert/relay"
)

// To an FTP server that waits for a file, an end of data would be an empty one.
func TestDialThatIsGivenUpIsNoEndOfData(t *testing.T) {
	t.Parallel()
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for range 200 {
		ctx, giveUp := context.WithCancel(t.Context())
		dialled := make(chan struct{})
		go func() {
			defer close(dialled)
			if c, err := relay.Dial(ctx, netip.Addr{}, ln.Addr().String(), time.Minute); err == nil {
				c.Abort()
			}
		}()
		c, err := ln.AcceptTCP()
		if err != nil {
			t.Fatal(err)
		}
		giveUp()
		if _, err := io.Copy(io.Discard, c); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("got %v, want a reset", err)
		}
		c.Close()
		<-dialled
	}
}
