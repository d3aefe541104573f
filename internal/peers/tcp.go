package peers

import (
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// TestTCPServer is a TCP server on loopback that serves each connection with serve and then closes it. A connection has a
// deadline after patience. The end of the test waits for those that run.
func TestTCPServer(t *testing.T, patience time.Duration, serve func(c *net.TCPConn)) netip.AddrPort {
	t.Helper()
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.AcceptTCP()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(patience))
				serve(c)
			})
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		wg.Wait()
	})
	return addrPort(ln)
}

func addrPort(ln *net.TCPListener) netip.AddrPort {
	at, _ := netip.ParseAddrPort(ln.Addr().String()) // the address of a socket is one
	return at
}
