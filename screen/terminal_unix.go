//go:build unix

package screen

import (
	"os"

	"golang.org/x/sys/unix"
)

// prepare has nothing to do: terminals know what is said to them.
func prepare(*os.File) error { return nil }

// foreground reports whether the terminal is ours to draw on, and not that of another program, which the shell has put before us.
func foreground(f *os.File) bool {
	group, err := unix.IoctlGetInt(int(f.Fd()), unix.TIOCGPGRP)
	return err != nil || group == unix.Getpgrp()
}
