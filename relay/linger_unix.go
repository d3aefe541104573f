//go:build unix

package relay

import "syscall"

// resetOnClose has a close of the socket reset its connection, from the moment on that there is one.
func resetOnClose(fd uintptr) error {
	return syscall.SetsockoptLinger(int(fd), syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1})
}
