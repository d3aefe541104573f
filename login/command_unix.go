//go:build unix

package login

import (
	"os"
	"os/exec"
	"syscall"
)

// shell is the command that line is to the user's shell, which gives way to the program in it.
func shell(line string) (*exec.Cmd, error) {
	return exec.Command(userShell(), "-c", "exec "+line), nil
}

// hangUp tells a program that its terminal is gone, as ssh(1) ends a ProxyCommand.
func hangUp(p *os.Process) { _ = p.Signal(syscall.SIGHUP) } // it may have ended already

// userShell is the shell that runs the user's commands.
func userShell() string {
	if shell := os.Getenv("SHELL"); shell != "" {
		return shell
	}
	return "/bin/sh"
}
