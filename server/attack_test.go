package server

import (
	"bytes"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// spoiled is a client's connection on which garbage is written from a certain byte on.
type spoiled struct {
	net.Conn
	rest    int64 // bytes until then
	garbage *rand.ChaCha8
	begun   atomic.Bool
}

func (s *spoiled) Write(p []byte) (int, error) {
	good := min(int64(len(p)), s.rest)
	s.rest -= good
	bad := bytes.Clone(p)
	if good < int64(len(p)) {
		s.begun.Store(true)
		_, _ = s.garbage.Read(bad[good:])
	}
	return s.Conn.Write(bad)
}

// Whatever a client sends instead of what is due: its connection ends, and nothing else. TestMain sees to it that no goroutine is left.
func TestGarbageAtEveryStageEndsItsConnectionAlone(t *testing.T) {
	b := newBastion(t)
	key, _ := b.user("alice")
	b.cfg.Log = slog.New(slog.DiscardHandler)
	b.cfg.LoginGraceTime = patience / 2
	b.start()
	bystander := b.mustDial("alice", ssh.PublicKeys(key))
	whole := false
	for at := int64(0); !whole; at += 61 {
		conn := &spoiled{Conn: b.connect(), rest: at, garbage: rand.NewChaCha8([32]byte{byte(at), byte(at >> 8)})}
		if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		client, channels, requests, err := ssh.NewClientConn(conn, b.addr, b.clientConfig("alice", ssh.PublicKeys(key)))
		if err == nil {
			go ssh.DiscardRequests(requests)
			go func() {
				for range channels { // there are none
				}
			}()
			_, _, _ = client.SendRequest("any", true, make([]byte, 100))
			whole = !conn.begun.Load()
			client.Close()
		}
		conn.Close()
		b.events.wait("connection.closed", "client", conn.LocalAddr().String())
	}
	if _, _, err := bystander.SendRequest("any", true, nil); err != nil {
		t.Errorf("bystander: %v", err)
	}
	if b.Panics() != 0 {
		t.Errorf("panics: got %d, want none", b.Panics())
	}
}

// flooding is a client's connection on which much follows a certain write.
type flooding struct {
	net.Conn
	after int // writes until then
	flood []byte
}

func (f *flooding) Write(p []byte) (int, error) {
	if f.after--; f.after == 0 {
		p = slices.Concat(p, f.flood)
		_, err := f.Conn.Write(p)
		return len(p) - len(f.flood), err
	}
	return f.Conn.Write(p)
}

// Who sends a hundred packets where one is due has them read at the pace of whoever takes them. TestMain sees to it that no goroutine is left.
func TestFloodOfPacketsAtEveryStepOfAKeyExchange(t *testing.T) {
	b := newBastion(t)
	key, _ := b.user("alice")
	b.cfg.Log = slog.New(slog.DiscardHandler)
	b.start()
	for _, message := range []byte{2, 5, 20, 30, 50} { // to ignore, asks for a service, begins a key exchange, is part of it, logs in
		for after := 1; after < 6; after++ { // identification, list of algorithms, its half of the exchange, new keys, first packet after it
			conn := &flooding{Conn: b.connect(), after: after, flood: bytes.Repeat(clearPacket(message, 20), 100)}
			if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			if _, _, _, err := ssh.NewClientConn(conn, b.addr, b.clientConfig("alice", ssh.PublicKeys(key))); err == nil && after < 5 && message != 2 {
				t.Errorf("message %d after write %d: got a login", message, after)
			}
			conn.Close()
			b.events.wait("connection.closed", "client", conn.LocalAddr().String())
		}
	}
}

// A client that sends a byte now and then has LoginGraceTime like everybody else, wherever it has got to.
func TestSlowClientHasNoMoreThanLoginGraceTime(t *testing.T) {
	for name, begins := range map[string]string{
		"identification": "SSH-2.0-",
		"key exchange":   "SSH-2.0-x\r\n\x00\x00\x0f\xf0\x04\x14",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBastion(t)
			b.cfg.LoginGraceTime = time.Second
			b.start()
			c := b.connect()
			if _, err := io.WriteString(c, begins); err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				tick := time.NewTicker(100 * time.Millisecond)
				defer tick.Stop()
				for range tick.C {
					if _, err := c.Write([]byte("S")); err != nil {
						return
					}
				}
			}()
			gone(t, c)
			c.Close()
			<-done
			b.events.wait("connection.closed", "reason", "LoginGraceTime")
		})
	}
}

func TestFloodOfLinesInsteadOfAnIdentification(t *testing.T) {
	b := newBastion(t)
	b.start()
	for _, line := range []string{"x\r\n", "\n", "SSH-", strings.Repeat("y", 1000), "SSH-2.0-" + strings.Repeat("z", 300)} {
		c := b.connect()
		sent := make(chan int, 1)
		go func() {
			n := 0
			for ; n < 100<<20; n += len(line) { // far more than a socket takes
				if _, err := io.WriteString(c, line); err != nil {
					break
				}
			}
			sent <- n
		}()
		b.events.wait("connection.closed", "client", c.LocalAddr().String(), "reason", "not an SSH client")
		gone(t, c)
		c.Close()
		if n := <-sent; n >= 100<<20 {
			t.Errorf("%.10q: all %d bytes were taken", line, n)
		}
	}
}

func TestManyConnectionsLeaveNothing(t *testing.T) {
	b := newBastion(t)
	key, _ := b.user("alice")
	b.cfg.Log = slog.New(slog.DiscardHandler)
	b.cfg.MaxStartups = Startups{1000, 100, 1000} // all of this comes from one address
	b.start()
	b.mustDial("alice", ssh.PublicKeys(key)).Close()
	for range 300 {
		c := b.connect()
		_, _ = io.WriteString(c, "SSH-2.0-x\r\n") // what becomes of it is not the matter
		c.Close()
	}
	b.mustDial("alice", ssh.PublicKeys(key)).Close()
	for deadline := time.Now().Add(patience); ; runtime.Gosched() {
		b.mu.Lock()
		open := len(b.open)
		b.mu.Unlock()
		b.startups.mu.Lock()
		places := b.startups.pending.places
		b.startups.mu.Unlock()
		if open+places == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d connections and %d places are left", open, places)
		}
	}
}
