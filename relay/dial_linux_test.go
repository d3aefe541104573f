package relay_test

import (
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/culvert-ssh/culvert/internal/lan"
	"github.com/culvert-ssh/culvert/relay"
)

// TestPortsDoNotRunOutWhileTheDestinationsDiffer makes more connections from one address than there are ports to make them from: each FTP client in
// active mode waits at a port of its own, and an ended connection keeps the other for a minute.
func TestPortsDoNotRunOutWhileTheDestinationsDiffer(t *testing.T) {
	t.Parallel()
	if lan.Apart(t) {
		return
	}
	const ports, connections = 4, 12
	lan.NewMachine(t, "desk").Do(func() {
		if err := os.WriteFile("/proc/sys/net/ipv4/ip_local_port_range", []byte("50000 50003"), 0); err != nil {
			t.Fatal(err)
		}
		from := netip.MustParseAddr("127.0.0.1")
		for i := range connections {
			at := netip.AddrPortFrom(from, uint16(20_000+i)) // nobody else is on this machine
			ln, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { ln.Close() })
			c, err := relay.Dial(t.Context(), from, at.String(), time.Minute)
			if err != nil {
				t.Fatalf("connection %d: %v, with %d ports to make it from", i+1, err, ports)
			}
			t.Cleanup(c.Abort)
			if got := relay.AddrPort(c.LocalAddr()).Addr(); got != from {
				t.Errorf("connection %d: got one from %v, want one from %v", i+1, got, from)
			}
		}
	})
}
