//go:build unix

package main

import (
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// passedOn are the signals that a command gets when culvert does.
var passedOn = []os.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2}

// isForUs reports whether a signal was meant for culvert, and so is to be passed on. A terminal sends its own to the command as well, which is of the
// same process group.
func isForUs(s os.Signal) bool {
	return !slices.Contains([]os.Signal{syscall.SIGINT, syscall.SIGQUIT}, s) || !inForeground()
}

// inForeground reports whether there is a terminal that sends signals to this process group.
func inForeground() bool {
	tty, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	defer tty.Close()
	group, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// statusOf is the exit status of a program that has ended, or as in shells 128 and the number of the signal that has ended it.
func statusOf(p *os.ProcessState) int {
	if w, ok := p.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return exitSignal + int(w.Signal())
	}
	return p.ExitCode()
}
