//go:build !unix

package main

import "os"

// passedOn are the signals that don't end culvert while a command runs.
var passedOn = []os.Signal{os.Interrupt}

// isForUs reports whether a signal is to be passed on: a console sends it to all of its programs.
func isForUs(os.Signal) bool { return false }

func statusOf(p *os.ProcessState) int { return p.ExitCode() }
