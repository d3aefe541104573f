package e2e

import (
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"github.com/culvert-ssh/culvert/internal/peers"
)

// noPassive is the line of a vsftpd that refuses passive mode.
const noPassive = "pasv_enable=NO"

// TestServerThatConnectsToTheBastion is a server without passive mode behind culvertd, by the bytes: for any client through culvert, in whichever
// mode, and for one in passive mode through ssh -D.
func TestServerThatConnectsToTheBastion(t *testing.T) {
	t.Parallel()
	files := makeFilesOf(t, 1<<20, 5)
	for _, addr := range []string{"127.0.0.1", "::1"} {
		for _, p := range []path{culvertCulvertd, sshCulvertd} {
			t.Run(addr+"/"+string(p), func(t *testing.T) {
				t.Parallel()
				root := t.TempDir()
				files.linkInto(t, filepath.Join(root, "files"))
				server := peers.TestFTP(t, peers.VSFTPD, peers.FTPConfig{Root: root, Addr: netip.MustParseAddr(addr), Lines: []string{noPassive}})
				tun := p.open(t, server, nil, nil, "FTPActive forward")
				for _, client := range p.clients() {
					if server.Addr.Addr().Is6() && !client.IPv6() {
						continue
					}
					t.Run(string(client), func(t *testing.T) { files.cell(t, client, tun.target, root) })
				}
				if !p.hasCulvert() {
					return
				}
				tun.target.Active = true
				for _, client := range []peers.FTPClient{peers.NetFTP, peers.TNFTP} {
					t.Run(string(client)+" in active mode", func(t *testing.T) { files.cell(t, client, tun.target, root) })
				}
			})
		}
	}
}

func TestServerConnectsOnlyWhereFTPActiveIsForward(t *testing.T) {
	t.Parallel()
	server := peers.TestFTP(t, peers.VSFTPD, peers.FTPConfig{Root: t.TempDir(), Lines: []string{noPassive}})
	tun := sshCulvertd.open(t, server, nil, nil)
	d := login(t, tun.connect(t, 0), server)
	d.command(550, "PASV")
	d.command(502, "PORT 127,0,0,1,200,10")
	if log := server.Log(); strings.Contains(log, `"PORT`) {
		t.Errorf("the server heard of PORT:\n%s", log)
	}
}

// TestServerThatConnectsAndRequiresTLS has the bastion speak TLS on what the server connects: it is the TLS client whoever connects.
func TestServerThatConnectsAndRequiresTLS(t *testing.T) {
	t.Parallel()
	ca := peers.TestCA(t, "ca")
	id := ca.TestIdentity(t, peers.Certificate{Names: []string{"127.0.0.1"}})
	files := makeFilesOf(t, 1<<20, 5)
	for _, p := range []path{culvertCulvertd, sshCulvertd} {
		t.Run(string(p), func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			files.linkInto(t, filepath.Join(root, "files"))
			server := peers.TestFTP(t, peers.VSFTPD, peers.FTPConfig{Root: root, TLS: &peers.FTPTLS{Identity: id}, Lines: []string{noPassive}})
			r := route{
				path: p, culvert: []string{"-o", "FTPActive=forward"},
				culvertd: []string{"FTPActive forward", "FTPUpstreamTLS require", "FTPUpstreamTLSCAFile " + ca.Path},
			}
			tun := r.open(t, server)
			files.cell(t, p.clients()[0], tun.target, root)
			if p.hasCulvert() {
				tun.target.Active = true
				files.cell(t, peers.Ftplib, tun.target, root)
			}
			tun.bastion.await(`"event":"ftp.transfer".*"protection":"TLS 1.3, verified"`)
		})
	}
}
