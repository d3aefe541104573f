//go:build unix && !linux

package mux

import "os/exec"

// endsWithUs can't be had here.
func endsWithUs(*exec.Cmd) {}
