package client

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
)

func TestStdioIsCarried(t *testing.T) {
	to := destination(t, func(c *net.TCPConn) { _, _ = io.Copy(c, c) })
	_, cfg := bastion(t)
	cfg.Stdio = &to
	out := new(closable)
	if err := RunStdio(t.Context(), cfg, strings.NewReader("there and back"), out); err != nil || out.String() != "there and back" || !out.closed {
		t.Errorf("got %q, %v; closed %t", out.String(), err, out.closed)
	}
}

// closable is a standard output.
type closable struct {
	strings.Builder
	closed bool
}

func (c *closable) Close() error { c.closed = true; return nil }

func TestStdioOfALostConnectionIsAnError(t *testing.T) {
	to := destination(t, func(c *net.TCPConn) {
		_, _ = io.WriteString(c, "half")
		_, _ = io.Copy(io.Discard, c)
	})
	_, cfg := bastion(t)
	wire := flaky(t, cfg)
	cfg.Stdio = &to
	in, inEnd := net.Pipe() // nobody says anything, nor ends it
	defer inEnd.Close()
	outRead, out := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- RunStdio(context.Background(), cfg, in, out) }()
	if _, err := io.ReadFull(outRead, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	wire.cut()
	if err := <-ended; !errors.Is(err, ErrConnectionLost) {
		t.Errorf("got %v, want that the connection was lost", err)
	}
	_ = in.Close() // ends what reads it
}

// Half of something on standard output is no success, whoever has wanted the end.
func TestStdioThatIsInterruptedIsAnError(t *testing.T) {
	to := destination(t, func(c *net.TCPConn) {
		_, _ = io.WriteString(c, "half")
		_, _ = io.Copy(io.Discard, c)
	})
	_, cfg := bastion(t)
	cfg.Stdio = &to
	in, inEnd := net.Pipe()
	defer inEnd.Close()
	outRead, out := io.Pipe()
	ctx, interrupt := context.WithCancelCause(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- RunStdio(ctx, cfg, in, out) }()
	if _, err := io.ReadFull(outRead, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	why := errors.New("interrupted")
	interrupt(why)
	if err := <-ended; !errors.Is(err, why) {
		t.Errorf("in the middle: got %v, want why it was interrupted", err)
	}
	if err := RunStdio(ctx, cfg, in, out); !errors.Is(err, why) {
		t.Errorf("before it has begun: got %v, want why it was interrupted", err)
	}
	_ = in.Close() // ends what reads it
}

func TestStdioSyntax(t *testing.T) {
	for spec, want := range map[string]Forward{
		"h:22":             {Host: "h", HostPort: 22},
		"[2001:db8::1]:22": {Host: "2001:db8::1", HostPort: 22},
	} {
		c := NewConfig("", "me")
		if err := c.SetStdio(spec); err != nil || *c.Stdio != want {
			t.Errorf("%s: got %+v, %v; want %+v", spec, c.Stdio, err, want)
		}
	}
	for _, spec := range []string{"", "h", "h:0", ":22", "1:h:22", "/tmp/s", "h h:22"} {
		if err := NewConfig("", "me").SetStdio(spec); err == nil {
			t.Errorf("%q is taken", spec)
		}
	}
}
