package mux

import (
	"os"

	"golang.org/x/sys/unix"
)

// pipeSize is how much a pipe holds, in bytes: what a relay reads at once. With the 64 KiB that it is otherwise, the two programs wait for each other.
const pipeSize = 256 << 10

// enlarge makes room in a pipe. A user has no more than so much in all; who is refused is slower.
func enlarge(pipe *os.File) {
	raw, err := pipe.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { _, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, pipeSize) })
}
