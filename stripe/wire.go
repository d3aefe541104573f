package stripe

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/crypto/ssh"
)

// The channel requests on the primary channel, none of which wants a reply.
const (
	fromRequest = "stripes-from@culvert"
	ackRequest  = "stripes-ack@culvert"
)

// from is the payload of stripes-from@culvert: the direction goes on in blocks.
type from struct {
	Bytes uint64 // that were sent on the primary channel
}

// ack is the payload of stripes-ack@culvert.
type ack struct {
	Taken uint64 // every byte before this offset has been handed on
	Limit uint64 // no block ends after this offset
}

const (
	// firstDistance is from what was taken to the limit, in bytes, as long as nobody knows better. The window of a channel in x/crypto/ssh is as much.
	firstDistance = 2 << 20

	// maxDistance is that for a receiver whose consumer keeps up: 80 MB/s over a round trip of 200 ms.
	maxDistance = 16 << 20

	// maxLength is the longest block, in bytes.
	maxLength = 256 << 10

	// maxBlocks is how many blocks that were not taken a sender has at most.
	maxBlocks = 1024

	headerSize = 12
)

// header is what a block begins with:
//
//	uint64  offset of the first byte in this direction of the stream
//	uint32  length
type header struct {
	offset uint64
	length int
}

func (h header) end() uint64 { return h.offset + uint64(h.length) }

// put writes h to the first headerSize bytes of p.
func (h header) put(p []byte) {
	binary.BigEndian.PutUint64(p, h.offset)
	binary.BigEndian.PutUint32(p[8:], uint32(h.length))
}

// parseHeader reads the first headerSize bytes of p.
func parseHeader(p []byte) (header, error) {
	length := binary.BigEndian.Uint32(p[8:])
	if length < 1 || length > maxLength {
		return header{}, fmt.Errorf("a block of %d bytes", length)
	}
	h := header{offset: binary.BigEndian.Uint64(p), length: int(length)}
	if h.end() < h.offset {
		return header{}, fmt.Errorf("a block at %d", h.offset)
	}
	return h, nil
}

// parse reads a payload that is one of the structs above.
func parse[T from | ack](name string, payload []byte) (m T, err error) {
	if err := ssh.Unmarshal(payload, &m); err != nil {
		return m, fmt.Errorf("%s: %w", name, err)
	}
	return m, nil
}
