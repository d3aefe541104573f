package e2e

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/culvert-ssh/culvert/internal/peers"
)

// TestPlainClientsOfServersThatRequireTLS is each client, none of which speaks TLS here, and each server, none of which speaks anything else, by
// both versions of TLS, through somebody else's SSH server. vsftpd and proftpd require each data connection to resume the session.
func TestPlainClientsOfServersThatRequireTLS(t *testing.T) {
	ca := peers.TestCA(t, "ca")
	id := ca.TestIdentity(t, peers.Certificate{Names: []string{"127.0.0.1"}})
	files := makeFilesOf(t, 4<<20, 12)
	for _, kind := range peers.FTPServers() {
		for _, version := range []string{"1.2", "1.3"} {
			for _, implicit := range []bool{false, true} {
				if implicit && kind == peers.PureFTPD {
					continue // it has none
				}
				t.Run(fmt.Sprintf("%s/%s/implicit %v", kind, version, implicit), func(t *testing.T) {
					t.Parallel()
					root := t.TempDir()
					files.linkInto(t, filepath.Join(root, "files"))
					server := peers.TestFTP(t, kind, peers.FTPConfig{Root: root, TLS: &peers.FTPTLS{Identity: id, Implicit: implicit}})
					r := route{path: culvertSSHD, implicit: implicit, culvert: []string{
						"-o", "FTPUpstreamTLSCAFile=" + ca.Path, "-o", "FTPUpstreamTLSMaxVersion=" + version,
					}}
					if !implicit {
						r.culvert = append(r.culvert, "-o", "FTPUpstreamTLS=require")
					}
					tun := r.open(t, server)
					clients := []peers.FTPClient{peers.Curl}
					if version == "1.3" && !implicit {
						clients = append(peers.FTPClients(), peers.Ftplib)
					}
					for _, client := range clients {
						t.Run(string(client), func(t *testing.T) { files.cell(t, client, tun.target, root) })
					}
				})
			}
		}
	}
}
