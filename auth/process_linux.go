package auth

import (
	"errors"
	"math"

	"golang.org/x/sys/unix"
)

// awaitExit returns when the child has ended, and reports whether its process id stays its own until it is waited for.
func awaitExit(pid int) (ours bool) {
	for errors.Is(unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil), unix.EINTR) {
	}
	return true
}

// keepDescriptors keeps those that we inherited from whoever started us from being inherited any further. Our own never are.
func keepDescriptors() {
	_ = unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC) // Linux 5.11; before, nothing does it
}
