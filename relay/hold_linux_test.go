package relay

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"os"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// holdStage is a socket, and what comes out of its other end.
func holdStage(t *testing.T) (s *Socket, far *net.TCPConn) {
	t.Helper()
	ln, err := Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	near, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if far, err = ln.AcceptTCP(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	return NewSocket(near.(*net.TCPConn)), far
}

// SystemWrites returns how many system calls of this process have written something (proc(5), /proc/PID/io).
func SystemWrites(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		t.Skip(err) // as in some containers
	}
	found := regexp.MustCompile(`(?m)^syscw: (\d+)$`).FindSubmatch(text)
	if found == nil {
		t.Fatalf("no syscw in %q", text)
	}
	n, err := strconv.Atoi(string(found[1]))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// words is an ssh.Channel that writes what it is told to a wire.
type words struct {
	ssh.Channel
	to io.Writer
}

func (w words) SendRequest(name string, _ bool, payload []byte) (bool, error) {
	_, err := w.to.Write(append([]byte(name), payload...))
	return false, err
}

func (w words) CloseWrite() error {
	_, err := w.to.Write([]byte("EOF"))
	return err
}

func (w words) Close() error {
	_, err := w.to.Write([]byte("CLOSE"))
	return err
}

// It isn't parallel: the writes of others would count.
func TestEndOfDataIsWrittenByOneSystemCall(t *testing.T) {
	oneSystemCall(t, (*Channel).CloseWrite, "EOF")
}

// Nor is this.
func TestEndOfDataAndCloseAreWrittenByOneSystemCall(t *testing.T) {
	oneSystemCall(t, (*Channel).Finish, "EOFCLOSE")
}

// oneSystemCall ends channels, and counts.
func oneSystemCall(t *testing.T, end func(*Channel) error, said string) {
	t.Helper()
	s, far := holdStage(t)
	wire := NewWire(s)
	wire.Over(s)
	const channels = 100
	before := SystemWrites(t)
	for range channels {
		c := &Channel{ch: words{to: wire}, cfg: ChannelConfig{Wire: wire, EndOfData: true}}
		if err := end(c); err != nil {
			t.Fatal(err)
		}
	}
	if got, most := float64(SystemWrites(t)-before)/channels, 1.3; got > most { // some are the Go runtime's
		t.Errorf("%.2f system calls for an end, want %.1f at most", got, most)
	}
	s.Close()
	got, err := io.ReadAll(far)
	if want := bytes.Repeat([]byte(EndOfDataRequest+string(make([]byte, 8))+said), channels); err != nil || !bytes.Equal(got, want) {
		t.Errorf("got %d bytes, %v; want the %d that were said", len(got), err, len(want))
	}
}

// Packets of every size, in and out of a hold, arrive in their order, and whole.
func TestHeldPacketsKeepTheirOrder(t *testing.T) {
	s, far := holdStage(t)
	s.gcm.Store(true)
	var (
		want    bytes.Buffer
		writing sync.Mutex // as x/crypto/ssh has it
		all     sync.WaitGroup
	)
	send := func(size int) {
		writing.Lock()
		defer writing.Unlock()
		p := make([]byte, size)
		binary.BigEndian.PutUint32(p, uint32(size-4-16))
		p[4] = byte(size)
		want.Write(p)
		for part := range split(p) {
			if n, err := s.Write(part); n != len(part) || err != nil {
				t.Errorf("wrote %d of %d bytes, %v", n, len(part), err)
			}
		}
	}
	got := make(chan []byte, 1)
	go func() {
		b, _ := io.ReadAll(far)
		got <- b
	}()
	for i := range 4 {
		all.Go(func() {
			for size := 20 + i; size < 6000; size += 37 {
				if size%2 == 0 {
					s.hold()
				}
				send(size)
				send(24 + i)
				if size%2 == 0 {
					s.release()
				}
			}
		})
	}
	all.Wait()
	s.Close()
	if b := <-got; !bytes.Equal(b, want.Bytes()) {
		t.Errorf("got %d bytes, want the %d that were written, in their order", len(b), want.Len())
	}
	if s.buffer != nil || s.begun != nil || s.kept != nil {
		t.Error("something is left")
	}
}

// split cuts a packet as bufio does.
func split(p []byte) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		if len(p) > pieceSize && !yield(p[:pieceSize]) {
			return
		}
		if len(p) > pieceSize {
			p = p[pieceSize:]
		}
		yield(p)
	}
}

// Whoever holds may come to wait for an exchange of keys, which has small packets to send.
func TestHeldPacketGoesOutThoughNobodyLetsItGo(t *testing.T) {
	s, far := holdStage(t)
	s.hold()
	defer s.release()
	for _, want := range []byte("xyz") {
		if n, err := s.Write([]byte{want}); n != 1 || err != nil {
			t.Fatalf("wrote %d bytes, %v", n, err)
		}
		if err := far.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
			t.Fatal(err)
		}
		var got [1]byte
		if _, err := far.Read(got[:]); err != nil || got[0] != want {
			t.Fatalf("got %q, %v; want %q", got, err, want)
		}
	}
}

func TestHeldPacketThatCantBeWrittenEndsTheConnection(t *testing.T) {
	s, far := holdStage(t)
	_ = far.SetLinger(0)
	far.Close()
	s.hold()
	if _, err := s.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	s.release()
	for range 2 { // the first write may be before the reset
		s.hold()
		_, _ = s.Write([]byte("x"))
		s.release()
	}
	if _, err := s.Read(make([]byte, 1)); err == nil {
		t.Error("it can be read")
	}
}
