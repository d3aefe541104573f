//go:build unix && !linux

package main

import "golang.org/x/sys/unix"

// dup makes to another descriptor of what from is one of.
func dup(from, to int) error { return unix.Dup2(from, to) }
