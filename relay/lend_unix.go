//go:build unix

package relay

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// borrower reads a socket into buffers that it takes when there is something to read. So a connection that waits holds none.
type borrower struct {
	raw syscall.RawConn // nil until the first read
	try func(fd uintptr) (done bool)

	large *[bufferSize]byte // is lent; nil if not
	small *[idleSize]byte   // likewise
	n     int
	err   error
}

var smallBuffers = sync.Pool{New: func() any { return new([idleSize]byte) }}

// socket is a connection that can be read so.
type socket interface {
	net.Conn
	syscall.Conn
}

// read returns the next bytes of c, which is the same each time. They are the caller's until it calls giveBack, which it must before it
// reads again.
func (b *borrower) read(c socket) ([]byte, error) {
	if b.raw == nil {
		raw, err := c.SyscallConn()
		if err != nil {
			return nil, err
		}
		b.raw, b.try = raw, b.take
	}
	if err := b.raw.Read(b.try); err != nil {
		return nil, err // says what was read
	}
	switch {
	case b.err != nil:
		return nil, &net.OpError{
			Op: "read", Net: c.LocalAddr().Network(), Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: os.NewSyscallError("read", b.err),
		}
	case b.n == 0:
		return nil, io.EOF
	case b.small != nil:
		return b.small[:b.n], nil
	}
	return b.large[:b.n], nil
}

// take reads once, and reports false if there is nothing yet. What is little moves to a buffer of its size: whoever it is for may not
// take it for a long time.
func (b *borrower) take(fd uintptr) bool {
	b.large = buffers.Get().(*[bufferSize]byte)
	for {
		if b.n, b.err = unix.Read(int(fd), b.large[:]); b.err != unix.EINTR {
			break
		}
	}
	if b.err == nil && b.n > 0 && b.n <= idleSize {
		b.small = smallBuffers.Get().(*[idleSize]byte)
		copy(b.small[:], b.large[:b.n])
	}
	if b.err == nil {
		acknowledge(fd, b.n)
	}
	if b.err != nil || b.n <= idleSize {
		buffers.Put(b.large)
		b.large = nil
	}
	return b.err != unix.EAGAIN
}

// giveBack ends the loan, if there is one.
func (b *borrower) giveBack() {
	if b.large != nil {
		buffers.Put(b.large)
	}
	if b.small != nil {
		smallBuffers.Put(b.small)
	}
	b.large, b.small = nil, nil
}

// lend is [lender.lend].
func (t *TCP) lend(b *borrower) ([]byte, error) {
	p, err := b.read(t.TCPConn)
	return p, t.end(err)
}

// lend is [lender.lend].
func (u *Unix) lend(b *borrower) ([]byte, error) { return b.read(u.UnixConn) }
