package relay

import (
	"net"

	"golang.org/x/sys/unix"
)

// mostUnsent is how much of what was written to an SSH connection may lie in this machine unsent, in bytes. It is encrypted, in its order, and what
// somebody types has to wait until it has gone out: on a slow line that is the whole window of a busy channel otherwise, 2 MiB. What is under way, and
// makes the rate, isn't counted.
const mostUnsent = 128 << 10

// boundUnsent has c take no more than that (tcp(7), TCP_NOTSENT_LOWAT).
func boundUnsent(c *net.TCPConn) {
	raw, err := c.SyscallConn()
	if err != nil { // closed already; the first read says so
		return
	}
	_ = raw.Control(func(fd uintptr) { // a refusal costs the time of who types, nothing else
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, mostUnsent)
	})
}
