package server

import (
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

	// unknownPause is the time between two chunks, in which x/crypto/ssh empties its queue. All of a usual handshake
	// is some twenty chunks.
	unknownPause = 200 * time.Microsecond
)

var errTooMuch = fmt.Errorf("more than %d bytes before authentication", maxUnknown)

// unknown reads from a client that isn't authenticated.
//
// x/crypto/ssh (v0.58.0) queues 16 packets. The goroutine that reads waits for room in the queue, and if the
// handshake fails meanwhile, it waits for good, with what it has read: everybody could leave goroutines
// and memory behind here, without a login, by sending much and then something wrong. So it is given no more
// than it can queue, and no more before that was taken: while one of our callbacks runs, nothing, and otherwise after a moment.
// Nothing that an honest client does is slowed down by it, since there each side waits for the other.
type unknown struct {
	total, chunk int           // bytes handed on, in all and since the last pause
	turn         chan struct{} // has room for one: who hands something on, or a callback while it runs
}

func newUnknown() unknown { return unknown{turn: make(chan struct{}, 1)} }

// takeTurn waits until nobody else has it. Whoever has it must give it.
func (u *unknown) takeTurn() { u.turn <- struct{}{} }

func (u *unknown) giveTurn() { <-u.turn }

func (u *unknown) read(from io.Reader, p []byte) (int, error) {
	if u.chunk >= unknownChunk {
		time.Sleep(unknownPause)
		u.chunk = 0
	}
	n, err := from.Read(p[:min(len(p), unknownChunk-u.chunk)])
	u.chunk += n
	if u.total += n; u.total > maxUnknown {
		return 0, errTooMuch
	}
	u.takeTurn() // when a callback ran, once it has returned
	u.giveTurn()
	return n, err
}
