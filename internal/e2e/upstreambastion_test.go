package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/culvert-ssh/culvert/internal/peers"
)

// TestBastionSpeaksTLSToTheServer is plain clients through culvertd, with and without culvert, and servers that speak nothing but TLS, by
// both versions of it. vsftpd and proftpd require each data connection to resume the session.
func TestBastionSpeaksTLSToTheServer(t *testing.T) {
	ca := peers.TestCA(t, "ca")
	id := ca.TestIdentity(t, peers.Certificate{Names: []string{"127.0.0.1"}})
	files := makeFilesOf(t, 1<<20, 4)
	for _, p := range []path{culvertCulvertd, sshCulvertd} {
		for _, kind := range peers.FTPServers() {
			for _, version := range []string{"1.2", "1.3"} {
				for _, implicit := range []bool{false, true} {
					if implicit && (kind == peers.PureFTPD || p == sshCulvertd) {
						continue // pure-ftpd has none, and once is enough
					}
					t.Run(fmt.Sprintf("%s/%s/%s/implicit %v", p, kind, version, implicit), func(t *testing.T) {
						t.Parallel()
						root := t.TempDir()
						files.linkInto(t, filepath.Join(root, "files"))
						server := peers.TestFTP(t, kind, peers.FTPConfig{Root: root, TLS: &peers.FTPTLS{Identity: id, Implicit: implicit}})
						lines := []string{"FTPUpstreamTLS require", "FTPUpstreamTLSCAFile " + ca.Path, "FTPUpstreamTLSMaxVersion " + version}
						if implicit {
							lines[0] = "PermitOpen ftps/" + server.Addr.String()
						}
						tun := p.open(t, server, nil, nil, lines...)
						clients := p.clients()[:1]
						if version == "1.3" && kind == peers.VSFTPD && !implicit {
							clients = p.clients()
						}
						for _, client := range clients {
							t.Run(string(client), func(t *testing.T) { files.cell(t, client, tun.target, root) })
						}
						want := "TLS " + version + ", verified"
						tun.bastion.await(`"event":"ftp.protection".*"protection":"` + want + `"`)
						tun.bastion.await(`"event":"ftp.transfer".*"protection":"` + want + `"`)
						if text := tun.bastion.Output(); strings.Contains(text, `"protection":"clear"`) {
							t.Errorf("something went in the clear:\n%s", text)
						}
					})
				}
			}
		}
	}
}
