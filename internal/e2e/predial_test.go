package e2e

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"testing"

	"github.com/culvert-ssh/culvert/internal/peers"
)

// TestPredialling has the bastion connect to each server before the client asks for that, with and without TLS on the last leg: no server and
// no client may notice.
func TestPredialling(t *testing.T) {
	t.Parallel()
	files := makeFilesOf(t, 1<<20, 5)
	ca := peers.TestCA(t, "ca")
	id := ca.TestIdentity(t, peers.Certificate{Names: []string{"127.0.0.1", "::1"}})
	for p, secured := range map[path]bool{culvertCulvertd: false, sshCulvertd: true} {
		for _, kind := range peers.FTPServers() {
			t.Run(fmt.Sprintf("%s/%s/TLS %t", p, kind, secured), func(t *testing.T) {
				t.Parallel()
				config := peers.FTPConfig{Root: t.TempDir(), Addr: netip.MustParseAddr("127.0.0.1")}
				r := route{path: p, culvertd: []string{"FTPPredial yes"}}
				if secured {
					config.TLS = &peers.FTPTLS{Identity: id}
					r.culvertd = append(r.culvertd, "FTPUpstreamTLS require", "FTPUpstreamTLSCAFile "+ca.Path)
				}
				files.linkInto(t, filepath.Join(config.Root, "files"))
				server := peers.TestFTP(t, kind, config)
				tun := r.open(t, server)
				for _, client := range p.clients() {
					t.Run(string(client), func(t *testing.T) { files.cell(t, client, tun.target, config.Root) })
				}
			})
		}
	}
}

// TestPredialledConnectionThatNobodyTakesLeavesTheServerUsable announces several, of which none is taken, breaks a transfer off before its data
// connection is there, and then transfers.
func TestPredialledConnectionThatNobodyTakesLeavesTheServerUsable(t *testing.T) {
	t.Parallel()
	for _, kind := range peers.FTPServers() {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			server := peers.TestFTP(t, kind, peers.FTPConfig{Root: withByte(t)})
			tun := sshCulvertd.open(t, server, nil, nil, "FTPPredial yes", "FTPActive forward")
			d := login(t, tun.connect(t, 0), server)
			for range 3 {
				d.endpoint()
			}
			d.command(550, "RETR none")
			tun.bastion.await(`"event":"ftp.expired".*"dialled":true`)
			d.wantByteOver(tun)
			d.endpoint()
			d.command(200, "TYPE I")
			d.wantByteOver(tun)
		})
	}
}
