//go:build !unix

package main

import (
	"errors"
	"io"
)

// openSyslog says that there is none.
func openSyslog(network, address string) (io.Writer, error) {
	return nil, errors.New("-y: there is no syslog on this machine: use -E")
}
