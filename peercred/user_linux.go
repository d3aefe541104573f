package admin

import (
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// peer returns the user id of the process at the other end, as it was when it connected.
func peer(c *net.UnixConn) (uint32, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var (
		cred   *unix.Ucred
		failed error
	)
	if err := raw.Control(func(fd uintptr) {
		cred, failed = unix.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return 0, err
	}
	if failed != nil {
		return 0, os.NewSyscallError("getsockopt", failed)
	}
	return cred.Uid, nil
}
