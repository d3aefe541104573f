package server

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

func TestUnknownClientIsHandedOnInPartsThatFitTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUnknown()
		u.clear.over = true
		flood := bytes.NewReader(make([]byte, 4*unknownChunk))
		buf := make([]byte, 4096)
		begin := time.Now()
		for got := 0; got < 4*unknownChunk; {
			n, err := u.read(flood, buf)
			if err != nil || n > unknownChunk {
				t.Fatalf("%d bytes at once, %v; want no more than %d", n, err, unknownChunk)
			}
			got += n
			if least := time.Duration((got-1)/unknownChunk) * unknownPause; time.Since(begin) < least {
				t.Fatalf("%d bytes within %v, want at least %v", got, time.Since(begin), least)
			}
		}
	})
}

func TestUnknownClientIsHandedOnNothingWhileACallbackRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUnknown()
		var read bool
		u.takeTurn()
		go func() {
			_, _ = u.read(bytes.NewReader(make([]byte, 10)), make([]byte, 10))
			read = true
		}()
		time.Sleep(time.Minute)
		if read {
			t.Error("something was handed on")
		}
		u.giveTurn()
		synctest.Wait()
		if !read {
			t.Error("nothing was handed on after the callback")
		}
	})
}

func TestUnknownClientIsHandedOnNoMoreThanItsBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUnknown()
		u.clear.over = true
		flood := bytes.NewReader(make([]byte, 2*maxUnknown))
		for got := 0; got <= maxUnknown; {
			n, err := u.read(flood, make([]byte, 4096))
			got += n
			if errors.Is(err, errTooMuch) != (n == 0) {
				t.Fatalf("%d bytes, %v", got, err)
			}
			if err != nil {
				return
			}
		}
		t.Errorf("more than %d bytes were handed on", maxUnknown)
	})
}

// clearPacket is a packet of an SSH connection that isn't encrypted yet.
func clearPacket(message byte, size int) []byte {
	packet := binary.BigEndian.AppendUint32(nil, uint32(1+size+4))
	return slices.Concat(packet, []byte{4, message}, make([]byte, size-1+4))
}

func TestKeyExchangeOfAnUnknownClientIsHandedOnAtOnce(t *testing.T) {
	exchange := slices.Concat([]byte("SSH-2.0-x y\r\n"), clearPacket(20, 1500), clearPacket(30, 1200), clearPacket(msgNewKeys, 1))
	synctest.Test(t, func(t *testing.T) {
		u := newUnknown()
		from := bytes.NewReader(append(exchange, make([]byte, 4*unknownChunk)...))
		begin := time.Now()
		var got []byte
		for buf := make([]byte, 4096); len(got) < len(exchange); {
			n, err := u.read(from, buf)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, buf[:n]...)
		}
		if !bytes.Equal(got, exchange) || time.Since(begin) > 0 {
			t.Errorf("%d bytes within %v, want those %d at once", len(got), time.Since(begin), len(exchange))
		}
		for range 2 {
			n, err := u.read(from, make([]byte, 4096))
			if n != unknownChunk || err != nil {
				t.Errorf("then %d bytes, %v; want %d", n, err, unknownChunk)
			}
		}
		if time.Since(begin) != unknownPause {
			t.Errorf("twice %d bytes within %v, want %v", unknownChunk, time.Since(begin), unknownPause)
		}
	})
}

func TestUnknownClientThatWaitsForAnswersIsNotSlowedDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUnknown()
		u.clear.over = true
		for range 20 {
			time.Sleep(unknownPause) // until it has its answer
			begin := time.Now()
			if n, err := u.read(bytes.NewReader(make([]byte, unknownChunk)), make([]byte, 4096)); n != unknownChunk || err != nil {
				t.Fatalf("%d bytes, %v", n, err)
			}
			if time.Since(begin) > 0 {
				t.Fatalf("it waited for %v", time.Since(begin))
			}
		}
	})
}

func TestWhatWasReadAheadOfAnUnknownClientIsNotLost(t *testing.T) {
	t.Parallel()
	want := append([]byte("SSH-2.0-x\r\n"), bytes.Repeat([]byte("0123456789"), 1000)...)
	from := iotest.HalfReader(bytes.NewReader(want))
	u := newUnknown()
	var got []byte
	for len(got) < len(want) {
		read := u.known
		if len(got) < 100 {
			read = u.read
		}
		p := make([]byte, 7)
		n, err := read(from, p)
		if err != nil {
			t.Fatalf("after %d bytes: %v", len(got), err)
		}
		got = append(got, p[:n]...)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("got %.60q and so on, want %.60q", got, want)
	}
	if u.buf != nil {
		t.Error("the buffer is kept")
	}
}

// FuzzCleartext: however it is cut, the same is taken for cleartext, and that is what x/crypto/ssh would read in the clear, or less.
func FuzzCleartext(f *testing.F) {
	f.Add(slices.Concat([]byte("SSH-2.0-x\n"), clearPacket(20, 50), clearPacket(msgNewKeys, 1), []byte("rest")), uint8(3))
	f.Add([]byte("\n\x00\x00\x00\x02\x00\x15\x00"), uint8(1))
	f.Add([]byte("\n\x00\x00\x00\x01\x00\x15\x00"), uint8(9))
	f.Add([]byte("no end"), uint8(2))
	f.Fuzz(func(t *testing.T, sent []byte, size uint8) {
		var c cleartext
		got := 0
		for got < len(sent) && !c.over {
			n := c.follow(sent[got:min(len(sent), got+1+int(size))])
			if n < 1+int(size) && got+n < len(sent) && !c.over {
				t.Fatalf("%d bytes were taken at %d, and it isn't over", n, got)
			}
			got += n
		}
		if want := clearBytes(sent); got != want {
			t.Errorf("got %d bytes in the clear, want %d of %q", got, want, sent)
		}
	})
}

// clearBytes says, of all that was sent, how much is in the clear.
func clearBytes(sent []byte) int {
	at := bytes.IndexByte(sent, '\n') + 1
	if at == 0 {
		return len(sent)
	}
	for len(sent)-at >= packetHeader {
		length := int(binary.BigEndian.Uint32(sent[at:]))
		if length < 2 || length > maxUnknown {
			return at + packetHeader
		}
		message := sent[at+5]
		if at += 4 + length; at >= len(sent) {
			return len(sent)
		}
		if message == msgNewKeys {
			return at
		}
	}
	return len(sent)
}
