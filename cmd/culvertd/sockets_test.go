package main

import (
	"net"
	"net/netip"
	"testing"
)

// A client that speaks Multipath TCP gets plain TCP.
func TestBastionListensForPlainTCP(t *testing.T) {
	t.Parallel()
	s, err := listenOn(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.listener.Close()
	var dialer net.Dialer
	dialer.SetMultipathTCP(true)
	c, err := dialer.Dial("tcp", s.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if multipath, err := c.(*net.TCPConn).MultipathTCP(); multipath || err != nil {
		t.Errorf("multipath %t, %v; want plain TCP", multipath, err)
	}
}

// An address that can't be had is an error, and no socket.
func TestSocketOfAnAddressThatIsInUse(t *testing.T) {
	t.Parallel()
	s, err := listenOn(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.listener.Close()
	at := s.listener.Addr().(*net.TCPAddr).AddrPort()
	if second, err := listenOn(at); err == nil || second.listener != nil {
		t.Errorf("got %v, %v; want an error", second.listener, err)
	}
}
