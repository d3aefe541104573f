package control

import (
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/culvert-ssh/culvert/relay"
)

func TestClosedSocketBelongsToNobody(t *testing.T) {
	const header = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
	local, remote := netip.MustParseAddrPort("127.0.0.1:43690"), netip.MustParseAddrPort("127.0.0.1:2121")
	local6, remote6 := netip.MustParseAddrPort("[::1]:43690"), netip.MustParseAddrPort("[2001:db8::1]:2121")
	const tail = " 1 0000000000000000 20 4 30 10 -1\n"
	for name, test := range map[string]struct {
		row           string
		local, remote netip.AddrPort
		want          int
	}{
		"open":             {"   0: 0100007F:AAAA 0100007F:0849 01 00000000:00000000 00:00000000 00000000  1000        0 4711" + tail, local, remote, 1000},
		"closed":           {"   0: 0100007F:AAAA 0100007F:0849 05 00000000:00000000 00:00000000 00000000     0        0 0" + tail, local, remote, -1},
		"our own end":      {"   0: 0100007F:0849 0100007F:AAAA 01 00000000:00000000 00:00000000 00000000  1000        0 4711" + tail, local, remote, -1},
		"another port":     {"   0: 0100007F:AAAB 0100007F:0849 01 00000000:00000000 00:00000000 00000000  1000        0 4711" + tail, local, remote, -1},
		"IPv4 in IPv6":     {"   0: 0000000000000000FFFF00000100007F:AAAA 0000000000000000FFFF00000100007F:0849 01 00000000:00000000 00:00000000 00000000  1000        0 4711" + tail, local, remote, 1000},
		"IPv6":             {"   0: 00000000000000000000000001000000:AAAA B80D0120000000000000000001000000:0849 01 00000000:00000000 00:00000000 00000000  1000        0 4711" + tail, local6, remote6, 1000},
		"nothing we know":  {"   0: x:y z:0 01 a b c d e f\n", local, remote, -1},
		"a shortened line": {"   0: 0100007F:AAAA 0100007F:0849 01\n", local, remote, -1},
	} {
		got := -1
		err := readTable(strings.NewReader(header+test.row), func(r row) bool {
			if r.local == test.local && r.remote == test.remote {
				got = r.uid
			}
			return true
		})
		if got != test.want || err != nil {
			t.Errorf("%s: got uid %d, %v; want %d", name, got, err, test.want)
		}
	}
}

func TestOwnerOfALocalConnectionIsFound(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		o, err := NewOwner(relay.AddrPort(c.LocalAddr()), relay.AddrPort(c.RemoteAddr()))
		if want := (Owner{Addr: relay.AddrPort(c.LocalAddr()).Addr(), UID: os.Getuid()}); err != nil || o != want {
			t.Errorf("%s: got %+v, %v; want %+v", addr, o, err, want)
		}
		if uid, err := askKernel(relay.AddrPort(c.LocalAddr()), relay.AddrPort(c.RemoteAddr())); err != nil || uid != os.Getuid() {
			t.Errorf("%s: the kernel answered uid %d, %v; want %d", addr, uid, err, os.Getuid())
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if uid, err := askKernel(relay.AddrPort(c.LocalAddr()), relay.AddrPort(c.RemoteAddr())); err != nil || uid != -1 {
			t.Errorf("%s: for a closed socket, the kernel answered uid %d, %v; want none", addr, uid, err)
		}
		_ = ln.Close()
	}
}

// TestOwnerOfAnIPv6SocketOverIPv4IsFound has the socket that Java programs have.
func TestOwnerOfAnIPv6SocketOverIPv4IsFound(t *testing.T) {
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	hop := relay.AddrPort(ln.Addr())
	fd, err := syscall.Socket(syscall.AF_INET6, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	if err := syscall.Connect(fd, &syscall.SockaddrInet6{Addr: hop.Addr().As16(), Port: int(hop.Port())}); err != nil {
		t.Fatal(err)
	}
	c, err := ln.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if uid, err := askKernel(relay.AddrPort(c.RemoteAddr()), hop); err != nil || uid != os.Getuid() {
		t.Errorf("got uid %d, %v; want %d", uid, err, os.Getuid())
	}
}

func TestWhoWaitsAtAPortIsFound(t *testing.T) {
	for _, listen := range []string{"127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "[::]:0"} {
		network := "tcp"
		if strings.HasPrefix(listen, "0") {
			network = "tcp4"
		}
		ln, err := net.Listen(network, listen)
		if err != nil {
			t.Fatal(err)
		}
		port := relay.AddrPort(ln.Addr()).Port()
		dialled := []netip.Addr{relay.AddrPort(ln.Addr()).Addr()}
		if dialled[0].IsUnspecified() {
			dialled = []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()} // [::] is for both
			if network == "tcp4" {
				dialled = dialled[:1]
			}
		}
		for _, a := range dialled {
			at := netip.AddrPortFrom(a, port)
			if uid, err := askKernelForListener(at, a); err != nil || uid != os.Getuid() {
				t.Errorf("%s, dialled at %s: the kernel answered uid %d, %v; want %d", listen, at, uid, err, os.Getuid())
			}
			if uid, err := listenerInTables(at); err != nil || uid != os.Getuid() {
				t.Errorf("%s, dialled at %s: the tables say uid %d, %v; want %d", listen, at, uid, err, os.Getuid())
			}
		}
		_ = ln.Close()
		if uid, err := listenerUID(netip.AddrPortFrom(dialled[0], port), dialled[0]); err == nil {
			t.Errorf("%s, closed: got uid %d, want that it can't be told", listen, uid)
		}
	}
}

// TestConnectionThatSomebodyElseTookIsFound has the port change hands between the question who waits there and the connect.
func TestConnectionThatSomebodyElseTookIsFound(t *testing.T) {
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	at := relay.AddrPort(ln.Addr())
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ours := relay.AddrPort(c.LocalAddr())
	for _, took := range []bool{false, true} { // it is in the queue, and then somebody's
		if took {
			c, err := ln.AcceptTCP()
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
		}
		if err := (Owner{Addr: at.Addr(), UID: os.Getuid()}).Took(at, ours); err != nil {
			t.Errorf("taken %v by the owner: %v, want no error", took, err)
		}
		if err := (Owner{Addr: at.Addr(), UID: os.Getuid() + 1}).Took(at, ours); err == nil {
			t.Errorf("taken %v by somebody else: no error", took)
		}
	}
}

func TestUserWhoMayBeSeveralIsNotDistinct(t *testing.T) {
	for name, test := range map[string]struct {
		uid     int
		mapping string
		want    bool
	}{
		"the first namespace":            {65534, "         0          0 4294967295\n", true},
		"a user who is mapped":           {0, "         0     100000      65536\n", true},
		"one that is like the unmapped":  {65534, "         0     100000      65536\n", false},
		"the same, with several ranges":  {65534, "         0          0          1\n       998        998          1\n", false},
		"a namespace that maps one user": {65534, "      1000       1000          1\n", false},
		"nothing is mapped":              {65534, "", false},
	} {
		if err := distinctIn(test.uid, test.mapping, "65534\n"); (err == nil) != test.want {
			t.Errorf("%s: got %v, want distinct %v", name, err, test.want)
		}
	}
}

// A program knows a connection that was redirected as one to where it wanted to go, and that is what its owner is found by.
func TestOwnerOfARedirectedConnectionIsFound(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	client, to := relay.AddrPort(c.LocalAddr()), relay.AddrPort(c.RemoteAddr())
	hop := netip.MustParseAddrPort("127.0.0.9:2121")
	o, err := NewRedirectedOwner(client, to, hop)
	if want := (Owner{Addr: client.Addr(), UID: os.Getuid()}); err != nil || o != want {
		t.Fatalf("got %+v, %v; want %+v", o, err, want)
	}
	if err := o.AcceptsFrom(client, to); err != nil {
		t.Errorf("the owner's own: %v, want nil", err)
	}
	if err := (Owner{Addr: client.Addr(), UID: os.Getuid() + 1}).AcceptsFrom(client, to); err == nil {
		t.Error("somebody else's connection is accepted")
	}
	if err := o.AcceptsFrom(client, hop); err == nil {
		t.Error("a connection of nobody is accepted")
	}
	if o, err := NewRedirectedOwner(client, hop, hop); err == nil {
		t.Errorf("of a connection that nobody has made, the owner is %+v", o)
	}
	// One that comes from another machine arrives at another address, and has no owner here.
	other := netip.MustParseAddrPort("192.0.2.1:4711")
	if o, err := NewRedirectedOwner(other, to, netip.MustParseAddrPort("192.0.2.2:2121")); err != nil || o != (Owner{Addr: other.Addr(), UID: UnknownUID}) {
		t.Errorf("from another machine: %+v, %v; want the address alone", o, err)
	}
}
