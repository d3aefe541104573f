package relay

import (
	"bytes"
	"encoding/binary"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/processors"
)

// Socket is a TCP connection under an SSH connection. It is read as [QuickACK] says unless both programs are ours, packets go out whole, and little of what was written waits
// in the system to be sent, so that what is short and urgent doesn't wait behind it.
//
// x/crypto/ssh (v0.58.0) writes a large packet in two pieces, the first of which is its full buffer. Each of them would be a system call here and
// wake the peer up there. So a piece that is part of a packet waits for the rest, which always follows at once.
type Socket struct {
	net.Conn
	tcp *net.TCPConn // the same

	known atomic.Bool // the SSH connection is authenticated
	gcm   atomic.Bool // what is sent is encrypted by AES-GCM
	ours  atomic.Bool // the peer sends small segments without waiting for an ACK

	mu     sync.Mutex       // also held while something is written
	begun  *[pieceSize]byte // of a packet; nil if there is none. Writes come one after another
	holds  int              // see hold
	kept   []byte           // is written before anything else; shares memory with buffer, nil if there is nothing
	buffer *[keptSize]byte
	late   *time.Timer // runs while something is kept; nil until something was
	pieces [3][]byte
}

// pieceSize is how much of a packet comes at once if more of it is to come: the buffer of bufio, as x/crypto/ssh has it.
const pieceSize = 4096

// keptSize is how many bytes of packets are held back. Those that say the end of data have some hundred.
const keptSize = 512

// keptTime is how long they are held back at most. It is far longer than the end of data takes, unless keys are exchanged just then: whoever says it waits for
// the end of that once 64 packets do (x/crypto/ssh v0.58.0), and the exchange has small packets as well, without which it doesn't end.
const keptTime = time.Millisecond

var keepers = sync.Pool{New: func() any { return new([keptSize]byte) }}

var beginnings = sync.Pool{New: func() any { return new([pieceSize]byte) }}

// NewSocket returns c as a Socket, which owns it from now on.
func NewSocket(c *net.TCPConn) *Socket {
	boundUnsent(c)
	return &Socket{Conn: QuickACK(c), tcp: c}
}

// Under tells the socket which SSH connection it is under, once that is authenticated. Before that, nothing waits.
func (s *Socket) Under(conn ssh.Conn) {
	s.known.Store(true)
	s.ours.Store(isOurs(conn.ServerVersion()) && isOurs(conn.ClientVersion()))
	if meta, ok := conn.(ssh.AlgorithmsConnMetadata); ok {
		s.gcm.Store(strings.HasSuffix(meta.Algorithms().Write.Cipher, "-gcm@openssh.com"))
	}
}

// isOurs reports whether an identification is that of a program whose sockets have TCP_NODELAY, as all have in Go. Its sender loses nothing but
// speed by a lie.
func isOurs(identification []byte) bool {
	return bytes.HasPrefix(identification, []byte("SSH-2.0-culvert"))
}

func (s *Socket) Read(p []byte) (n int, err error) {
	if s.ours.Load() {
		n, err = s.tcp.Read(p)
	} else {
		n, err = s.Conn.Read(p)
	}
	if s.known.Load() {
		processors.Moved(n)
	} else {
		processors.Need() // keys are exchanged, and passwords hashed
	}
	return n, err
}

func (s *Socket) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.begun == nil && s.gcm.Load() && isPiece(p):
		s.begun = beginnings.Get().(*[pieceSize]byte)
		return copy(s.begun[:], p), nil
	case s.begun == nil && s.holds > 0 && s.keep(p):
		return len(p), nil
	case s.begun == nil && s.kept == nil:
		return s.tcp.Write(p)
	}
	return s.finish(p)
}

// hold has small packets wait for each other, and the peer woken up once for them all, until the caller calls release, or for keptTime.
func (s *Socket) hold() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.holds++
}

// release is the end of hold. If what was held can't be written, the connection ends.
func (s *Socket) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.holds--; s.holds == 0 {
		s.flush()
	}
}

// overdue is called when something was kept for keptTime.
func (s *Socket) overdue() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flush()
}

// flush writes what was kept, unless a packet was begun behind it: whoever ends that writes both. It needs s.mu.
func (s *Socket) flush() {
	if s.kept == nil || s.begun != nil {
		return
	}
	if _, err := s.finish(nil); err != nil {
		_ = s.tcp.Close() // who reads is told
	}
}

// keep reports whether there was room for p. It needs s.mu.
func (s *Socket) keep(p []byte) bool {
	if len(s.kept)+len(p) > keptSize {
		return false
	}
	if s.buffer == nil {
		s.buffer = keepers.Get().(*[keptSize]byte)
		if s.late == nil {
			s.late = time.AfterFunc(keptTime, s.overdue)
		} else {
			s.late.Reset(keptTime)
		}
	}
	s.kept = append(s.buffer[:len(s.kept)], p...)
	return true
}

// longestPacket is more than the length of any packet that x/crypto/ssh sends.
const longestPacket = 1 << 19

// isPiece reports whether p begins a packet that it doesn't end. With AES-GCM the length is not encrypted, and a tag of 16 bytes is behind what it
// counts (RFC 5647, section 7.3). A peer may choose another cipher when keys are exchanged again, of which the socket isn't told: then it is a random number, and
// next to always one that no length is, so that no packet waits for a rest that doesn't come.
func isPiece(p []byte) bool {
	if len(p) != pieceSize {
		return false
	}
	length := binary.BigEndian.Uint32(p)
	return length+4+16 > pieceSize && length < longestPacket
}

// finish writes what was kept, the packet that was begun, and p, its end. It needs s.mu.
func (s *Socket) finish(p []byte) (int, error) {
	all := append(net.Buffers(s.pieces[:0]), s.kept)
	if s.begun != nil {
		all = append(all, s.begun[:])
	}
	all = append(all, p)
	n, err := all.WriteTo(s.tcp)
	before := int64(len(s.kept))
	if s.buffer != nil {
		s.late.Stop()
		keepers.Put(s.buffer)
		s.buffer, s.kept = nil, nil
	}
	if s.begun != nil {
		beginnings.Put(s.begun)
		s.begun, before = nil, before+pieceSize
	}
	s.pieces = [3][]byte{}
	return int(max(0, n-before)), err
}
