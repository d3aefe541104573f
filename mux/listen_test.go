//go:build unix

package mux

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/culvert-ssh/culvert/relay"
)

// listen has the master listen for the duration of a test, and returns where.
func listen(t *testing.T, m *Master, serve func(relay.Stream)) (*Listener, netip.AddrPort) {
	t.Helper()
	l, err := m.Listen(t.Context(), "127.0.0.1", 0, serve)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), l.Port)
}

func dialTCP(t *testing.T, at netip.AddrPort) *net.TCPConn {
	t.Helper()
	c, err := net.DialTimeout("tcp", at.String(), patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn)
}

func TestConnectionsComeThroughTheMaster(t *testing.T) {
	m := attach(t, startMaster(t))
	_, at := listen(t, m, func(s relay.Stream) {
		_, _ = io.Copy(s, s)                       // the other side says what it misses
		_ = errors.Join(s.CloseWrite(), s.Close()) // the same
	})
	for range 2 {
		c := dialTCP(t, at)
		wantEcho(t, c, "hello")
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if rest, err := io.ReadAll(c); len(rest) > 0 || err != nil {
			t.Errorf("got %q, %v, want an end in order", rest, err)
		}
	}
}

func TestEndOfTheMasterIsNoEndOfWhatCame(t *testing.T) {
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ssh := startMaster(t)
			m := attach(t, ssh)
			begun, result := make(chan struct{}), make(chan error, 1)
			_, at := listen(t, m, func(s relay.Stream) {
				defer s.Abort()
				_, err := io.CopyN(io.Discard, s, 1<<20)
				close(begun)
				if err == nil {
					_, err = io.Copy(io.Discard, s)
				}
				result <- err
			})
			c := dialTCP(t, at)
			go func() { _, _ = io.Copy(c, zeros{}) }() // until the master is gone
			wait(t, "the beginning of the data", begun)
			end(t, ssh)
			select {
			case err := <-result:
				if !errors.Is(err, relay.ErrAborted) {
					t.Errorf("got %v, want an abort", err)
				}
			case <-time.After(patience):
				t.Error("the end of the master wasn't noticed")
			}
		})
	}
}

func TestPortsAreGivenBack(t *testing.T) {
	ssh := startMaster(t)
	m := attach(t, ssh)
	l, at := listen(t, m, relay.Stream.Abort)
	if _, err := m.Listen(t.Context(), "127.0.0.1", l.Port, relay.Stream.Abort); err == nil {
		t.Error("a port was listened on twice")
	}
	l.Close()
	again, err := m.Listen(t.Context(), "127.0.0.1", at.Port(), relay.Stream.Abort)
	if err != nil {
		t.Fatal(err)
	}
	if again.Port != at.Port() {
		t.Errorf("got port %d, want %d", again.Port, at.Port())
	}
	m.Close()
	m = attach(t, ssh)
	if _, err := m.Listen(t.Context(), "127.0.0.1", at.Port(), relay.Stream.Abort); err != nil {
		t.Errorf("the port wasn't given back at the end: %v", err)
	}
}

func TestRefusedListening(t *testing.T) {
	m := attach(t, startMaster(t, "AllowTcpForwarding local"))
	var refused *RefusedError
	if _, err := m.Listen(t.Context(), "127.0.0.1", 0, relay.Stream.Abort); !errors.As(err, &refused) {
		t.Errorf("got %v, want a refusal", err)
	}
}

func TestSocketsAreInAFolderOfOurOwn(t *testing.T) {
	m := attach(t, startMaster(t))
	listen(t, m, relay.Stream.Abort)
	wantMode(t, m.folder, 0o700)
	m.Close()
	if exists(m.folder) {
		t.Errorf("%s is left", m.folder)
	}
}
