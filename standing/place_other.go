//go:build !unix

package standing

import (
	"errors"
	"net"
	"os"
)

var errElsewhere = errors.New("tunnels that stand are not known on this system: run culvert -N in their place")

var (
	// ErrNotRunning is the error of a call where there is no process.
	ErrNotRunning = errElsewhere
	errTaken      = errors.New("another process has the place")
)

func (p Place) take() (*os.File, error)            { return nil, errElsewhere }
func (p Place) listen() (*net.UnixListener, error) { return nil, errElsewhere }
func (p Place) dial() (*net.UnixConn, error)       { return nil, errElsewhere }

func sameUser(*net.UnixConn) error { return errElsewhere }

func private(string, bool) error { return errElsewhere }
