package relay_test

import (
	"errors"
	"io"
	"syscall"
	"testing"

	"github.com/culvert-ssh/culvert/relay"
)

// The kernel tells a reset once. Where a Write has heard it, Read must not take what is left for the whole.
func TestResetThatWriteHeardIsNoEnd(t *testing.T) {
	near, far := tcpPair(t)
	if _, err := io.WriteString(far, "half a file"); err != nil {
		t.Fatal(err)
	}
	far.SetLinger(0)
	far.Close()
	var err error
	for err == nil {
		_, err = near.Write([]byte("x"))
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("Write: %v, want a reset", err)
	}
	got, err := io.ReadAll(near)
	if string(got) != "half a file" || !errors.Is(err, relay.ErrAborted) {
		t.Errorf("got %q, %v; want what came, and that it is not all", got, err)
	}
}

// An end that came before the reset is one.
func TestEndBeforeTheResetIsAnEnd(t *testing.T) {
	near, far := tcpPair(t)
	if _, err := io.WriteString(far, "a file"); err != nil {
		t.Fatal(err)
	}
	far.Close()
	var err error
	for err == nil {
		_, err = near.Write([]byte("x"))
	}
	if got, err := io.ReadAll(near); string(got) != "a file" || err != nil {
		t.Errorf("got %q, %v; want the file and its end", got, err)
	}
}
