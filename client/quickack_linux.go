package client

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// quickACK acknowledges small packets at once. sshd before 10.1 sends a channel's
// confirmation in a small segment without TCP_NODELAY, and waits for an ACK that Linux delays
// by 40 ms; the option is forgotten by the kernel, so it is set anew after each small read.
type quickACK struct {
	*net.TCPConn
	raw syscall.RawConn
}

// smallRead is how little a read brings, in bytes, when nothing else is under way. Bulk data never pays
// for the system call.
const smallRead = 1 << 10

func (c quickACK) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
	if n > 0 && n < smallRead {
		// A refusal costs speed, nothing else.
		_ = c.raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1) })
	}
	return n, err
}

func wireConn(c *net.TCPConn) net.Conn {
	raw, err := c.SyscallConn()
	if err != nil { // closed already; the first read says so
		return c
	}
	return quickACK{c, raw}
}
