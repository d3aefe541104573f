//go:build unix

package control

import (
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// KeepUrgent leaves urgent data of an FTP client in its place in the stream (SO_OOBINLINE): ABOR comes as such, and bytes of it would be missing.
func KeepUrgent(conn *net.TCPConn) error {
	raw, err := conn.SyscallConn()
	if err == nil {
		var optErr error
		err = raw.Control(func(fd uintptr) { optErr = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_OOBINLINE, 1) })
		err = errors.Join(err, optErr)
	}
	if err != nil {
		return fmt.Errorf("set SO_OOBINLINE: %w", err)
	}
	return nil
}
