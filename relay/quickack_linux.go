package relay

import (
	"io"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// quickACK acknowledges small reads at once.
type quickACK struct {
	*net.TCPConn
	raw syscall.RawConn
}

// smallRead is how little a read brings, in bytes, when nothing else is under way. Bulk data never pays
// for the system call.
const smallRead = 1 << 10

// QuickACK returns c with small segments acknowledged at once. Linux would wait up to 40 ms for data
// to send along, and a peer without TCP_NODELAY, as OpenSSH before 10.1 and many an FTP server are, waits for
// the ACK before it sends its next small segment. The kernel forgets the option, so it is set
// anew after each small read. At the end of the data Linux waits as well, and vsftpd calls a transfer complete only
// when its end was acknowledged (SO_LINGER).
func QuickACK(c *net.TCPConn) net.Conn {
	raw, err := c.SyscallConn()
	if err != nil { // closed already; the first read says so
		return c
	}
	return quickACK{c, raw}
}

func (c quickACK) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
	if n < smallRead && (err == nil || err == io.EOF) {
		_ = c.raw.Control(func(fd uintptr) { acknowledge(fd, n) }) // a refusal costs speed, nothing else
	}
	return n, err
}

// acknowledge does it after a read of n bytes, or of the end, from a socket of whatever kind.
func acknowledge(fd uintptr, n int) {
	if n < smallRead {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1) // as above
	}
}
