package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"syscall"
	"testing"

	"github.com/culvert-ssh/culvert/internal/peers"
)

// masterEnds are the ways in which a running ssh, whose connection culvert uses, comes to its end.
var masterEnds = []fault{
	{"ssh killed", func(x *transfer) {
		_ = x.master.Process().Process.Kill() // fails only if it is gone already
		x.wire.release()
	}, true, nil},
	{"ssh -O exit", func(x *transfer) {
		if err := x.master.Order(x.client.t.Context(), "exit"); err != nil {
			x.client.t.Error(err)
		}
		x.wire.release()
	}, true, nil},
}

// TestEndOfTheMasterIsNeverTakenForTheEndOfFile ends an ssh at any point of the downloads that go over it.
func TestEndOfTheMasterIsNeverTakenForTheEndOfFile(t *testing.T) {
	t.Parallel()
	files := makeFiles(t)
	for _, f := range masterEnds {
		for i, client := range peers.FTPClients() {
			p, kind := []path{masterSSHD, masterCulvertd}[i%2], peers.FTPServers()[i%len(peers.FTPServers())]
			t.Run(fmt.Sprintf("%s/%s/%s/%s", f.name, p, kind, client), func(t *testing.T) {
				t.Parallel()
				wire := newGate(64<<10+rand.Int64N(16<<20), false)
				server := peers.TestFTP(t, kind, peers.FTPConfig{Root: t.TempDir()})
				x := &transfer{tunnel: p.open(t, server, nil, wire), wire: wire, server: server}
				f.breakDownload(t, x, files, client)
			})
		}
	}
}

// TestMasterOutlivesCulvert has an FTP server refuse its data connections, as one does that is down, and ends culvert: those whose
// sessions go over the same ssh must not notice.
func TestMasterOutlivesCulvert(t *testing.T) {
	t.Parallel()
	server := newPuppet(t)
	tun := masterSSHD.open(t, server.FTP, nil, nil)
	server.announces(netip.AddrPortFrom(server.Addr.Addr(), peers.TestPort(t)))
	d := login(t, tun.connect(t, 0), server.FTP)
	if err := d.PrintfLine("PASV"); err != nil {
		t.Fatal(err)
	}
	d.reply(425)
	tun.client.signal(syscall.SIGTERM)
	if status := tun.client.ended(); status != 0 {
		t.Errorf("culvert ended with status %d, want 0", status)
	}
	if err := tun.master.Order(t.Context(), "check"); err != nil {
		t.Errorf("the master is gone: %v\n%s", err, tun.master.Log())
	}
}
