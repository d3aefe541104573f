//go:build unix

package main

import (
	"fmt"
	"io"
	"log/syslog"
)

// openSyslog returns what passes lines on to syslog, at network and address, or, if these are empty, where this machine has it.
func openSyslog(network, address string) (io.Writer, error) {
	w, err := syslog.Dial(network, address, syslog.LOG_INFO|syslog.LOG_USER, "culvert")
	if err != nil {
		return nil, fmt.Errorf("-y: there is no syslog on this machine: %w", err)
	}
	return w, nil
}
