//go:build !linux && !darwin

package peercred

import (
	"errors"
	"net"
)

// User knows no way to ask here: the error matches [errors.ErrUnsupported].
func User(*net.UnixConn) (uint32, error) { return 0, errors.ErrUnsupported }
