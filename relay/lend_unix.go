//go:build unix

package relay

import (
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// borrower reads a socket into buffers that it takes when there is something to read. So a connection that waits holds none.
type borrower struct {
	loan
	raw syscall.RawConn // nil until the first read
	try func(fd uintptr) (done bool)
	err error
}

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
		b.raw, b.try = raw, b.once
	}
	if err := b.raw.Read(b.try); err != nil {
		return nil, err // says what was read
	}
	if b.err != nil {
		return nil, &net.OpError{
			Op: "read", Net: c.LocalAddr().Network(), Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: os.NewSyscallError("read", b.err),
		}
	}
	if b.n == 0 {
		return nil, io.EOF
	}
	return b.data(), nil
}

// once reads once, and reports false if there is nothing yet.
func (b *borrower) once(fd uintptr) bool {
	p := b.take()
	n, err := unix.Read(int(fd), p)
	for err == unix.EINTR {
		n, err = unix.Read(int(fd), p)
	}
	n = max(n, 0)
	b.keep(n)
	acknowledge(fd, n)
	b.err = err
	return err != unix.EAGAIN
}

// lend is [lender.lend].
func (t *TCP) lend(b *borrower) ([]byte, error) {
	p, err := b.read(t.TCPConn)
	return p, t.end(err)
}

// lend is [lender.lend].
func (u *Unix) lend(b *borrower) ([]byte, error) { return b.read(u.UnixConn) }
