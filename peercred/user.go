//go:build linux || darwin

package peercred

import (
	"net"
	"os"
)

// User returns the user id of the process at the other end, as it was when it connected or began to listen. Where the system can't tell,
// the error matches [errors.ErrUnsupported].
func User(c *net.UnixConn) (uid uint32, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) {
		cred, err := credentials(int(fd))
		if failed = err; err == nil {
			uid = cred.Uid
		}
	}); err != nil {
		return 0, err
	}
	return uid, os.NewSyscallError("getsockopt", failed)
}
