//go:build unix

package mux

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/culvert-ssh/culvert/internal/peers"
	"github.com/culvert-ssh/culvert/relay"
)

func TestConnectionsGoThroughTheMaster(t *testing.T) {
	m := attach(t, startMaster(t))
	s := open(t, m, destination(t, echo))
	wantEcho(t, s, "hello")
	if err := s.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(s); len(rest) > 0 || err != nil {
		t.Errorf("got %q, %v, want an end in order", rest, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestWhatWasWrittenBeforeCloseArrives has the destination read late: by the time of Close some of the data is still in this machine.
func TestWhatWasWrittenBeforeCloseArrives(t *testing.T) {
	m := attach(t, startMaster(t))
	data := bytes.Repeat([]byte("0123456789abcdef"), 128<<10)
	closed, got := make(chan struct{}), make(chan []byte, 1)
	s := open(t, m, destination(t, func(c *net.TCPConn) {
		<-closed
		all, _ := io.ReadAll(c)
		got <- all
	}))
	_, err := s.Write(data)
	err = errors.Join(err, s.CloseWrite(), s.Close())
	close(closed)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case all := <-got:
		if !bytes.Equal(all, data) {
			t.Errorf("%d bytes came of %d", len(all), len(data))
		}
	case <-time.After(patience):
		t.Fatal("the destination didn't get it all")
	}
}

// TestNothingIsLostInSilence: ssh ends both directions when the server ends one. What it has not read then is lost, and whoever writes
// hears of it.
func TestNothingIsLostInSilence(t *testing.T) {
	m := attach(t, startMaster(t))
	t.Run("written afterwards", func(t *testing.T) {
		s := open(t, m, destination(t, func(c *net.TCPConn) {
			_ = c.CloseWrite()            // the other side says what it misses
			_, _ = io.Copy(io.Discard, c) // the same
		}))
		if rest, err := io.ReadAll(s); len(rest) > 0 || err != nil {
			t.Fatalf("got %q, %v, want an end in order", rest, err)
		}
		if _, err := s.Write([]byte("x")); !errors.Is(err, relay.ErrAborted) {
			t.Errorf("got %v, want an abort", err)
		}
	})
	t.Run("written before", func(t *testing.T) {
		stuck, over := make(chan struct{}), make(chan struct{})
		s := open(t, m, destination(t, func(c *net.TCPConn) {
			<-stuck
			_ = c.CloseWrite() // the other side says what it misses
			<-over
		}))
		go func() {
			defer close(stuck)
			for moved := make(chan struct{}, 1); ; {
				go func() {
					if _, err := s.Write(make([]byte, 64<<10)); err == nil {
						moved <- struct{}{}
					}
				}()
				select {
				case <-moved:
				case <-time.After(time.Second): // all that holds something on the way is full
					return
				}
			}
		}()
		if _, err := io.ReadAll(s); !errors.Is(err, relay.ErrAborted) {
			t.Errorf("got %v, want an abort", err)
		}
		close(over)
	})
}

// ends are the ways in which a master can end.
var ends = map[string]func(*testing.T, *peers.SSH){
	"killed": func(_ *testing.T, s *peers.SSH) { _ = s.Process().Process.Kill() },
	"-O exit": func(t *testing.T, s *peers.SSH) {
		if err := s.Order(t.Context(), "exit"); err != nil {
			t.Error(err)
		}
	},
}

// TestEndOfTheMasterIsNoEndOfData ends masters at random points of several downloads each.
func TestEndOfTheMasterIsNoEndOfData(t *testing.T) {
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for range 2 {
				s := startMaster(t)
				m := attach(t, s)
				zeros := destination(t, func(c *net.TCPConn) {
					_, _ = io.Copy(c, zeros{}) // until the master is gone
				})
				streams := []relay.Stream{open(t, m, destination(t, echo))} // and one that is idle
				var begun sync.WaitGroup
				for range 4 {
					source := open(t, m, zeros)
					streams = append(streams, source)
					begun.Go(func() {
						if _, err := io.CopyN(io.Discard, source, rand.Int64N(4<<20)); err != nil {
							t.Error(err)
						}
					})
				}
				begun.Wait()
				end(t, s)
				for _, stream := range streams {
					if _, err := io.Copy(io.Discard, stream); !errors.Is(err, relay.ErrAborted) {
						t.Errorf("got %v, want an abort", err)
					}
				}
				wait(t, "end of the master", m.Done())
			}
		})
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestMasterOutlivesUs has connections refused, given up while they are asked for, broken off and left open, and then goes. Others may use
// the same master.
func TestMasterOutlivesUs(t *testing.T) {
	s := startMaster(t)
	m, err := Dial(t.Context(), s.Control)
	if err != nil {
		t.Fatal(err)
	}
	var refused *RefusedError
	if _, err := m.Open(t.Context(), "127.0.0.1", peers.TestPort(t)); !errors.As(err, &refused) {
		t.Errorf("got %v, want a refusal", err)
	}
	at := destination(t, echo)
	for range 20 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.Int64N(int64(2*time.Millisecond))))
		if s, err := m.Open(ctx, at.Addr().String(), at.Port()); err == nil {
			defer s.Abort()
		}
		cancel()
	}
	wantEcho(t, open(t, m, at), "hello")
	m.Close()
	wantMasterAlive(t, s)
}

func TestDroppedMasterAbortsAll(t *testing.T) {
	s := startMaster(t)
	m := attach(t, s)
	stream := open(t, m, destination(t, echo))
	m.Drop()
	wait(t, "end", m.Done())
	if _, err := io.Copy(io.Discard, stream); !errors.Is(err, relay.ErrAborted) {
		t.Errorf("got %v, want an abort", err)
	}
	if _, err := m.Open(t.Context(), "127.0.0.1", 1); err == nil {
		t.Error("a connection was opened after Drop")
	}
}

func TestStoppedMasterCarriesOn(t *testing.T) {
	s := startMaster(t)
	m := attach(t, s)
	at := destination(t, echo)
	stream := open(t, m, at)
	if err := s.Order(t.Context(), "stop"); err != nil {
		t.Fatal(err)
	}
	wantEcho(t, stream, "still here")
	if _, err := m.Open(t.Context(), at.Addr().String(), at.Port()); err == nil || !strings.Contains(err.Error(), "ssh -O stop") {
		t.Errorf("got %v, want a word about ssh -O stop", err)
	}
	if err := stream.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(stream); len(rest) > 0 || err != nil {
		t.Errorf("got %q, %v, want an end in order", rest, err)
	}
}

func TestTerminateEndsTheMaster(t *testing.T) {
	s := startMaster(t)
	m := attach(t, s)
	m.Terminate()
	wait(t, "end of the master", m.Done())
	wait(t, "end of ssh", s.Done())
}
