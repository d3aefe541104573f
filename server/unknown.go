package server

import (
	"encoding/binary"
	"fmt"
	"io"
	"time"
)

const (
	// maxUnknown is how many bytes a client may send before it is authenticated. Key exchange and MaxAuthTries
	// keys of 16384 bits fit in easily. x/crypto/ssh would queue up to 16 packets of 256 KiB for whoever
	// doesn't wait for answers.
	maxUnknown = 128 << 10

	// unknownChunk is how many bytes of what it sends are handed on at once: those of 16 packets at
	// most, which have 16 bytes at least (RFC 4253, section 6).
	unknownChunk = 256

	// unknownPause is the time between two chunks, in which x/crypto/ssh empties its queue.
	unknownPause = 200 * time.Microsecond

	// unknownAhead is how many bytes are read at once of what comes in the clear. The identification of it is handed on byte by byte.
	unknownAhead = 2048

	// unknownRest is the same of what comes after. Whoever is let in and then says nothing holds it as long.
	unknownRest = 512
)

var errTooMuch = fmt.Errorf("more than %d bytes before authentication", maxUnknown)

// unknown reads from a client that isn't authenticated.
//
// x/crypto/ssh (v0.58.0) queues 16 packets. The goroutine that reads waits for room in the queue, and if the
// handshake fails meanwhile, it waits for good, with what it has read: everybody could leave goroutines
// and memory behind here, without a login, by sending much and then something wrong. So it is given no more
// than it can queue, and no more before that was taken: while one of our callbacks runs, nothing, and otherwise after a moment.
// Nothing that an honest client does is slowed down by it, since there each side waits for the other.
//
// Nothing is queued before the first key exchange is over: whoever makes that takes its packets himself, and before it comes nothing
// but its beginning is accepted. All of that is handed on at once.
type unknown struct {
	ahead []byte // what was read and not handed on yet
	buf   []byte // it is in there; nil if nothing was read yet

	clear        cleartext
	total, chunk int           // bytes handed on, in all and since the last pause
	last         time.Time     // when something was handed on
	turn         chan struct{} // has room for one: who hands something on, or a callback while it runs
}

func newUnknown() unknown { return unknown{turn: make(chan struct{}, 1)} }

// takeTurn waits until nobody else has it. Whoever has it must give it.
func (u *unknown) takeTurn() { u.turn <- struct{}{} }

func (u *unknown) giveTurn() { <-u.turn }

func (u *unknown) read(from io.Reader, p []byte) (int, error) {
	if len(u.ahead) == 0 {
		switch {
		case u.clear.over && len(u.buf) > unknownRest:
			u.buf = make([]byte, unknownRest)
		case u.buf == nil:
			u.buf = make([]byte, unknownAhead)
		}
		n, err := from.Read(u.buf)
		if n == 0 {
			return 0, err
		}
		u.ahead = u.buf[:n] // an error comes again
	}
	n := u.allowance(min(len(p), len(u.ahead)))
	if u.total += n; u.total > maxUnknown {
		return 0, errTooMuch
	}
	u.takeTurn() // when a callback ran, once it has returned
	u.giveTurn()
	u.last = time.Now()
	return u.hand(p[:n]), nil
}

// allowance returns how much of what was read may be handed on, of n bytes, and waits until that is something.
func (u *unknown) allowance(n int) int {
	if !u.clear.over {
		return u.clear.follow(u.ahead[:n])
	}
	pause := unknownPause - time.Since(u.last)
	if pause > 0 && u.chunk >= unknownChunk {
		time.Sleep(pause)
	}
	if pause <= 0 || u.chunk >= unknownChunk {
		u.chunk = 0
	}
	n = min(n, unknownChunk-u.chunk)
	u.chunk += n
	return n
}

// known reads from a client that is authenticated by now.
func (u *unknown) known(from io.Reader, p []byte) (int, error) {
	if len(u.ahead) == 0 {
		u.buf = nil
		return from.Read(p)
	}
	return u.hand(p), nil
}

func (u *unknown) hand(p []byte) int {
	n := copy(p, u.ahead)
	u.ahead = u.ahead[n:]
	return n
}

// cleartext follows what a client sends before it is encrypted: its identification (RFC 4253, section 4.2) and packets (section 6). It sees
// no end of it that comes later than the true one.
type cleartext struct {
	over bool // what follows is encrypted

	identified bool
	header     [packetHeader]byte // of the packet that comes
	has        int                // bytes of it
	rest       int                // bytes of the packet behind it that are to come
}

const (
	packetHeader = 4 + 1 + 1 // length, length of the padding, and the number of the message

	msgNewKeys = 21 // the last message in the clear (RFC 4253, section 7.3)
)

// follow returns how many bytes of p are in the clear. If that isn't all of p, the rest is not.
func (c *cleartext) follow(p []byte) (n int) {
	for n < len(p) && !c.over {
		switch {
		case !c.identified:
			c.identified = p[n] == '\n'
			n++
		case c.has < packetHeader:
			c.header[c.has] = p[n]
			c.has++
			n++
			if c.has == packetHeader {
				c.begin()
			}
		default:
			m := min(c.rest, len(p)-n)
			c.rest -= m
			n += m
			c.end()
		}
	}
	return n
}

// begin reads the header. No packet that is longer than all that may come is waited for.
func (c *cleartext) begin() {
	length := binary.BigEndian.Uint32(c.header[:])
	if length < packetHeader-4 || length > maxUnknown {
		c.over = true
		return
	}
	c.rest = int(length) + 4 - packetHeader
	c.end()
}

// end begins the next packet if this one has come.
func (c *cleartext) end() {
	if c.rest == 0 {
		c.has, c.over = 0, c.header[packetHeader-1] == msgNewKeys
	}
}
