package relay

import (
	"context"
	"errors"
	"io"
	"testing"
)

// broken is a stream that ends in an error; still is one that has nothing to say until it is aborted.
type (
	broken struct{ still }
	still  struct{ aborted chan struct{} }
)

func (broken) Read([]byte) (int, error)   { return 0, errors.New("it broke") }
func (s still) Read([]byte) (int, error)  { <-s.aborted; return 0, io.ErrUnexpectedEOF }
func (still) Write(p []byte) (int, error) { return len(p), nil }
func (still) CloseWrite() error           { return nil }
func (still) Close() error                { return nil }
func (s still) Abort()                    { close(s.aborted) }

func TestAnErrorSaysWhichWayItWent(t *testing.T) {
	good, bad := still{make(chan struct{})}, broken{still{make(chan struct{})}}
	if got, want := Join(context.Background(), good, bad, nil).Error(), "down: it broke"; got != want {
		t.Errorf("b broke: got %q, want %q", got, want)
	}
	good, bad = still{make(chan struct{})}, broken{still{make(chan struct{})}}
	if got, want := Join(context.Background(), bad, good, nil).Error(), "up: it broke"; got != want {
		t.Errorf("a broke: got %q, want %q", got, want)
	}
}
