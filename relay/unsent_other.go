//go:build !linux

package relay

import "net"

// boundUnsent does nothing: what it is about is known for Linux alone.
func boundUnsent(*net.TCPConn) {}
