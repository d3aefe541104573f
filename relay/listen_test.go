package relay_test

import (
	"net"
	"testing"

	"github.com/culvert-ssh/culvert/relay"
)

func TestListenersTakeNoPartInMultipathTCP(t *testing.T) {
	ln, err := relay.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	var dialer net.Dialer
	dialer.SetMultipathTCP(true)
	c, err := dialer.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	accepted, err := ln.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	for who, conn := range map[string]*net.TCPConn{"who has connected": c.(*net.TCPConn), "who has accepted": accepted} {
		if multipath, err := conn.MultipathTCP(); multipath || err != nil {
			t.Errorf("%s: multipath %t, %v; want plain TCP", who, multipath, err)
		}
	}
}
