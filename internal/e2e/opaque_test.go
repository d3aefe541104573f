package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/culvert-ssh/culvert/internal/peers"
)

// TestClientsThatSpeakTLSThemselves is curl and lftp that insist on TLS, and a server that takes nothing else, through programs that
// can't read a word of it. Its passive ports are known beforehand, and its certificate is for the addresses where the clients find it.
func TestClientsThatSpeakTLSThemselves(t *testing.T) {
	const passive = 24 // ports
	ca := peers.TestCA(t, "ca")
	id := ca.TestIdentity(t, peers.Certificate{Names: []string{"127.0.0.1", "127.0.0.2"}})
	files := makeFilesOf(t, 1<<20, 10)
	for _, p := range []path{culvertCulvertd, culvertSSHD, sshCulvertd} {
		t.Run(string(p), func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			files.linkInto(t, filepath.Join(root, "files"))
			first := peers.TestPorts(t, passive)
			ports := fmt.Sprintf("%d-%d", first, first+passive-1)
			server := peers.TestFTP(t, peers.VSFTPD, peers.FTPConfig{Root: root, TLS: &peers.FTPTLS{Identity: id}, Lines: []string{
				fmt.Sprintf("pasv_min_port=%d", first), fmt.Sprintf("pasv_max_port=%d", first+passive-1),
				"require_ssl_reuse=NO", // curl's parallel sessions resume each other's, and the server would want its own
			}})
			tun := route{
				path: p, bind: "127.0.0.2:0",
				culvertd: []string{"FTPOpaqueTLS " + ports}, culvert: []string{"-o", "FTPOpaqueTLS=" + ports},
			}.open(t, server)
			tun.target.CA = ca.Path
			clients := []peers.FTPClient{peers.Curl, peers.LFTP}
			if !p.hasCulvert() {
				clients = p.clients()
			}
			for _, client := range clients {
				t.Run(string(client), func(t *testing.T) { files.cell(t, client, tun.target, root) })
			}
			if tun.bastion == nil {
				return
			}
			tun.bastion.await(`"event":"ftp.protection".*"protection":"opaque"`)
			tun.bastion.await(`"event":"channel.closed".*"down":1\d{6},`) // the big file, in records of TLS
			if text := tun.bastion.Output(); strings.Contains(text, `"event":"ftp.login"`) || strings.Contains(text, `"event":"ftp.transfer"`) {
				t.Error("somebody has read what is opaque")
			}
		})
	}
}
