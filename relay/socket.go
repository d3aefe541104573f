package relay

import (
	"encoding/binary"
	"net"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/crypto/ssh"
)

// Socket is a TCP connection under an SSH connection. It is read as [QuickACK] says, packets go out whole, and little of what was written waits
// in the system to be sent, so that what is short and urgent doesn't wait behind it.
//
// x/crypto/ssh (v0.58.0) writes a large packet in two pieces, the first of which is its full buffer. Each of them would be a system call here and
// wake the peer up there. So a piece that is part of a packet waits for the rest, which always follows at once.
type Socket struct {
	net.Conn
	tcp *net.TCPConn // the same

	gcm    atomic.Bool      // what is sent is encrypted by AES-GCM
	begun  *[pieceSize]byte // of a packet; nil if there is none. Writes come one after another
	pieces [2][]byte
}

// pieceSize is how much of a packet comes at once if more of it is to come: the buffer of bufio, as x/crypto/ssh has it.
const pieceSize = 4096

var beginnings = sync.Pool{New: func() any { return new([pieceSize]byte) }}

// NewSocket returns c as a Socket, which owns it from now on.
func NewSocket(c *net.TCPConn) *Socket {
	boundUnsent(c)
	return &Socket{Conn: QuickACK(c), tcp: c}
}

// Under tells the socket which SSH connection it is under, once that is authenticated. Before that, nothing waits.
func (s *Socket) Under(conn ssh.Conn) {
	if meta, ok := conn.(ssh.AlgorithmsConnMetadata); ok {
		s.gcm.Store(strings.HasSuffix(meta.Algorithms().Write.Cipher, "-gcm@openssh.com"))
	}
}

func (s *Socket) Write(p []byte) (int, error) {
	switch {
	case s.begun != nil:
		return s.finish(p)
	case s.gcm.Load() && isPiece(p):
		s.begun = beginnings.Get().(*[pieceSize]byte)
		return copy(s.begun[:], p), nil
	}
	return s.tcp.Write(p)
}

// isPiece reports whether p begins a packet that it doesn't end. With AES-GCM the length is not encrypted, and a tag of 16 bytes is behind what it
// counts (RFC 5647, section 7.3).
func isPiece(p []byte) bool {
	return len(p) == pieceSize && uint64(binary.BigEndian.Uint32(p))+4+16 > pieceSize
}

// finish writes the packet that was begun, to its end p.
func (s *Socket) finish(p []byte) (int, error) {
	s.pieces = [2][]byte{s.begun[:], p}
	both := net.Buffers(s.pieces[:])
	n, err := both.WriteTo(s.tcp)
	beginnings.Put(s.begun)
	s.begun, s.pieces = nil, [2][]byte{}
	return max(0, int(n)-pieceSize), err
}
