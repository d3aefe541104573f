//go:build !unix

package control

import "net"

// KeepUrgent has no portable form; an ABOR sent as urgent data may lose a byte.
func KeepUrgent(*net.TCPConn) error { return nil }
