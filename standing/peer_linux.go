package standing

import (
	"net"

	"golang.org/x/sys/unix"
)

// peerUser returns the user of the process at the other end, as it was when it connected or began to listen.
func peerUser(c *net.UnixConn) (int, error) {
	cred, err := control(c, func(fd int) (*unix.Ucred, error) {
		return unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err != nil {
		return 0, err
	}
	return int(cred.Uid), nil
}
