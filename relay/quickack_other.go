//go:build !linux

package relay

import "net"

// QuickACK returns c as it is: what it is about is Linux's.
func QuickACK(c *net.TCPConn) net.Conn { return c }

func acknowledge(uintptr, int) {}
