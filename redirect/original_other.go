//go:build !linux

package redirect

import (
	"errors"
	"net"
	"net/netip"
)

// Supported says whether Original can be told.
const Supported = false

// Original can't be told here.
func Original(*net.TCPConn) (netip.AddrPort, error) {
	return netip.AddrPort{}, errors.New("redirected connections are known on Linux alone: use ftp-proxy/ here")
}
