package relay

import (
	"net"

	"golang.org/x/sys/unix"
)

// tcpClosed is TCP_CLOSE of the kernel's tcp_states.h: a connection that was reset, or that has ended both ways.
const tcpClosed = 7

// over reports whether nothing can come or go on c any more.
func over(c *net.TCPConn) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return true
	}
	is := true
	_ = raw.Control(func(fd uintptr) { // which fails if c is closed
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			is = info.State == tcpClosed
		}
	})
	return is
}
