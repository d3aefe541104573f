package channels_test

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/relay"
)

// wordy is a channel on which an end is said to be one, as by culvert.
type wordy struct {
	ssh.Channel
	said uint64
}

func (w *wordy) Write(p []byte) (int, error) {
	n, err := w.Channel.Write(p)
	w.said += uint64(n)
	return n, err
}

func (w *wordy) CloseWrite() error {
	_, _ = w.SendRequest(relay.EndOfDataRequest, false, ssh.Marshal(struct{ Bytes uint64 }{w.said})) // fails only if it is closed
	return w.Channel.CloseWrite()
}

// connects has the server connect to where it was told, and holds that this is joined with the client: at what the reply says, or where the client
// waits.
func (s *theatre) connects(t *testing.T, told, client, reply string) {
	t.Helper()
	var a [6]int
	if _, err := fmt.Sscanf(told, "PORT %d,%d,%d,%d,%d,%d", &a[0], &a[1], &a[2], &a[3], &a[4], &a[5]); err != nil {
		t.Fatalf("the server is told %q: %v", told, err)
	}
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(s.at.Addr(), 0)), Timeout: 10 * time.Second}
	server, err := d.Dial("tcp", fmt.Sprintf("%d.%d.%d.%d:%d", a[0], a[1], a[2], a[3], a[4]<<8|a[5]))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	server.SetDeadline(time.Now().Add(20 * time.Second))
	var channel ssh.Channel
	if client != "" {
		var nc ssh.NewChannel
		select {
		case nc = <-s.toCulvert:
		case <-time.After(20 * time.Second):
			t.Fatal("the client is offered nothing of what came")
		}
		at := openedAt(nc)
		if got := net.JoinHostPort(at.Host, fmt.Sprint(at.Port)); got != client {
			t.Errorf("the client is offered what came to %s, want %s", got, client)
		}
		channel = accept(t, nc)
	} else {
		if _, err := fmt.Sscanf(reply, "227 Entering Passive Mode (%d,%d,%d,%d,%d,%d)", &a[0], &a[1], &a[2], &a[3], &a[4], &a[5]); err != nil {
			t.Fatalf("%q: %v", reply, err)
		}
		channel = s.mustOpen(s.at.Addr().String(), uint16(a[4]<<8|a[5]))
	}
	for _, way := range []struct {
		from io.Writer
		to   io.Reader
	}{{server, channel}, {channel, server}} {
		got := make([]byte, 1)
		if _, err := way.from.Write([]byte("x")); err != nil {
			t.Error(err)
		}
		if _, err := io.ReadFull(way.to, got); err != nil || got[0] != 'x' {
			t.Errorf("got %q, %v of the data, want x", got, err)
		}
	}
}
