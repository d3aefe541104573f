package stripe

import (
	"math/bits"
	"sync"
)

// block is a part of one direction of a stream, in a buffer out of a pool.
type block struct {
	header
	buf []byte // all of the buffer. The bytes of one that was received begin in front, of one to send behind headerSize.

	// What a sender knows of it.
	on     *stripe // that it was given to last; nil if it never was
	users  int     // goroutines that write it to a channel now
	queued bool    // it is among those to be sent
	taken  bool    // the peer has it
}

// smallest is the size of the smallest buffers. Those of the pools double from here to maxLength, so that one that is in use is at least half full or
// small.
const smallest = 4 << 10

var pools [7]sync.Pool // of *block, by the size of buf

// pool returns the index of the smallest buffers that take n bytes.
func pool(n int) int { return bits.Len(uint((n - 1) / smallest)) }

// bufferSize is the size of the buffer of a block that takes n bytes.
func bufferSize(n int) int { return smallest << pool(n) }

// newBlock returns a block whose buffer takes n bytes, which are at most maxLength.
func newBlock(n int) *block {
	i := pool(n)
	if b, ok := pools[i].Get().(*block); ok {
		return b
	}
	return &block{buf: make([]byte, smallest<<i)}
}

// free gives b back. Nobody may know it any more.
func (b *block) free() {
	*b = block{buf: b.buf}
	pools[pool(len(b.buf))].Put(b)
}

// seal writes the header of a block to send. Nothing may be added any more.
func (b *block) seal() { b.put(b.buf) }

// packet returns a block that was sealed, as it goes over a stripe. Several may send it at once.
func (b *block) packet() []byte { return b.buf[:headerSize+b.length] }

// room returns how many bytes can be added to a block to send.
func (b *block) room() int { return len(b.buf) - headerSize - b.length }

// add adds p to a block to send.
func (b *block) add(p []byte) {
	b.length += copy(b.buf[headerSize+b.length:], p)
}
