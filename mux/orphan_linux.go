package mux

import (
	"os/exec"
	"syscall"
)

// endsWithUs has a program end when the thread that starts it does: with this process, if it is killed. What goes to the background from there
// is not concerned.
func endsWithUs(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
}
