package control_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/culvert-ssh/culvert/control"
	"github.com/culvert-ssh/culvert/relay"
)

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

var (
	loopback    = netip.MustParseAddr("127.0.0.1")
	errNotOurs  = errors.New("not ours")
	anyLoopback = netip.AddrPortFrom(loopback, 0)
)

// accept begins to listen with cfg, in which At, Accepts and Timeout have defaults, and returns where, and what Accept will.
func accept(t *testing.T, ctx context.Context, cfg control.DataListenerConfig) (d *control.DataListener, accepted <-chan *net.TCPConn, failed <-chan error) {
	t.Helper()
	cfg.At = anyLoopback
	if cfg.Accepts == nil {
		cfg.Accepts = func(*net.TCPConn) error { return nil }
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = patience
	}
	d, err := control.ListenData(cfg)
	if err != nil {
		t.Fatal(err)
	}
	conns, errs := make(chan *net.TCPConn, 1), make(chan error, 1)
	go func() {
		c, err := d.Accept(ctx)
		conns <- c
		errs <- err
	}()
	t.Cleanup(func() {
		d.Close()
		<-d.Checked()
	})
	return d, conns, errs
}

// connect dials d and returns how reading from it ends.
func connect(d *control.DataListener) error {
	c, err := net.DialTimeout("tcp", d.Addr().String(), patience)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	_, err = io.Copy(io.Discard, c)
	return err
}

// gone reports whether nobody listened any more, or no longer than until the connection was in the queue.
func gone(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET)
}

func TestDataListenerHandsOneConnectionOver(t *testing.T) {
	d, conns, errs := accept(t, t.Context(), control.DataListenerConfig{})
	ended := make(chan error, 1)
	go func() { ended <- connect(d) }()
	c := <-conns
	if err := <-errs; err != nil {
		t.Fatal(err)
	}
	if _, open := <-d.Checked(); open {
		t.Error("Checked isn't closed")
	}
	if err := connect(d); !gone(err) {
		t.Errorf("a second connection: %v, want that nobody listens", err)
	}
	d.Close() // does nothing to the connection
	_ = c.Close()
	if err := <-ended; err != nil {
		t.Errorf("the accepted connection ended with %v, want a clean end", err)
	}
}

func TestDataListenerResetsOthersUpToABound(t *testing.T) {
	type rejection struct {
		peer netip.AddrPort
		why  error
	}
	rejected := make(chan rejection, control.MaxRejects)
	d, _, errs := accept(t, t.Context(), control.DataListenerConfig{
		Accepts:  func(*net.TCPConn) error { return errNotOurs },
		Rejected: func(peer netip.AddrPort, why error) { rejected <- rejection{peer, why} },
	})
	for range control.MaxRejects {
		if err := connect(d); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("somebody else: %v, want a reset", err)
		}
		if r := <-rejected; r.peer.Addr() != loopback || r.why != errNotOurs {
			t.Errorf("rejected %v for %v, want loopback for %v", r.peer, r.why, errNotOurs)
		}
	}
	if err := <-errs; err == nil {
		t.Errorf("Accept went on after %d connections of others", control.MaxRejects)
	}
	if err := connect(d); !gone(err) {
		t.Errorf("after that: %v, want that nobody listens", err)
	}
}

func TestDataListenerServesTheRightOneAfterOthers(t *testing.T) {
	others := control.MaxRejects - 1 // owned by Accept
	d, conns, errs := accept(t, t.Context(), control.DataListenerConfig{Accepts: func(*net.TCPConn) error {
		if others--; others >= 0 {
			return errNotOurs
		}
		return nil
	}})
	for range control.MaxRejects - 1 {
		if err := connect(d); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("somebody else: %v, want a reset", err)
		}
	}
	go func() { _ = connect(d) }()
	c := <-conns
	if err := <-errs; err != nil {
		t.Fatalf("the right one wasn't accepted: %v", err)
	}
	relay.NewTCP(c).Abort()
}

func TestDataListenerEnds(t *testing.T) {
	d, _, errs := accept(t, t.Context(), control.DataListenerConfig{Timeout: time.Nanosecond})
	if err := <-errs; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after its time: %v, want that it is over", err)
	}
	if err := connect(d); !gone(err) {
		t.Errorf("after its time: %v, want that nobody listens", err)
	}

	d, _, errs = accept(t, t.Context(), control.DataListenerConfig{})
	d.Close()
	if err := <-errs; !errors.Is(err, net.ErrClosed) {
		t.Errorf("withdrawn: %v, want that it is closed", err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	_, _, errs = accept(t, ctx, control.DataListenerConfig{})
	cancel()
	if err := <-errs; !errors.Is(err, net.ErrClosed) {
		t.Errorf("the end of the context: %v, want that it is closed", err)
	}
}
