//go:build !unix

package client

import "net"

// oobInline has no portable form; an ABOR sent as urgent data may lose a byte.
func oobInline(*net.TCPConn) error { return nil }
