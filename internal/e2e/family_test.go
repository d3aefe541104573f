package e2e

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/culvert-ssh/culvert/internal/peers"
)

// TestFamiliesOfTheTwoHopsDiffer has the FTP client on one family and the server on the other, in passive and in active mode: EPSV and EPRT
// are all that a client can say over IPv6, and ncftp knows neither.
func TestFamiliesOfTheTwoHopsDiffer(t *testing.T) {
	t.Parallel()
	for i, tt := range []struct{ hop, server, flag string }{{"[::1]:0", "127.0.0.1", ""}, {"[::1]:0", "127.0.0.1", "-6"}, {"127.0.0.1:0", "::1", ""}} {
		for j, p := range []path{culvertCulvertd, culvertSSHD} {
			kind := peers.FTPServers()[(i+j)%3]
			t.Run(tt.hop+tt.flag+"/"+string(p)+"/"+string(kind), func(t *testing.T) {
				t.Parallel()
				server := peers.TestFTP(t, kind, peers.FTPConfig{Root: withByte(t), Addr: netip.MustParseAddr(tt.server)})
				r := route{path: p, bind: tt.hop}
				if tt.flag != "" {
					r.culvert = []string{tt.flag}
					r.bastion = netip.IPv6Loopback() // -6 is about the bastion too
				}
				tun := r.open(t, server)
				wantBytes(t, p.clients(), tun.target)
				tun.target.Active = true
				wantBytes(t, []peers.FTPClient{peers.TNFTP, peers.NetFTP}, tun.target)
			})
		}
	}
}

// withByte is a folder with the file "byte" in it.
func withByte(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "byte"), []byte{0xff}, 0o644); err != nil {
		t.Fatal(err)
	}
	return root
}

// wantBytes has those of the clients that speak the target's family get the file "byte", and put it back where they can.
func wantBytes(t *testing.T, clients []peers.FTPClient, target peers.Target) {
	for _, c := range clients {
		speaks, mode := c.IPv6(), ""
		if target.Active {
			speaks, mode = c.ActiveIPv6(), " in active mode"
		}
		if speaks || target.Addr.Addr().Is4() {
			t.Run(string(c)+mode, func(t *testing.T) { moveByte(t, c, target) })
		}
	}
}

// moveByte is wantBytes with one client.
func moveByte(t *testing.T, c peers.FTPClient, target peers.Target) {
	t.Helper()
	local := filepath.Join(t.TempDir(), "byte")
	out, err := c.Download(t.Context(), target, "byte", local)
	if err != nil {
		t.Errorf("Download: %v", err)
		return
	}
	if got, err := os.ReadFile(local); err != nil || string(got) != "\xff" {
		t.Errorf("Download: got %q, %v; the client said:\n%s", got, err, out)
	}
	if !c.Uploads() {
		return
	}
	if _, err := c.Upload(t.Context(), target, local, "byte"); err != nil {
		t.Errorf("Upload: %v", err)
	}
}

// TestServersThatLackAWordOfPassiveMode has servers that know PASV alone, or EPSV alone, serve clients that use the other.
func TestServersThatLackAWordOfPassiveMode(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ lacks, hop string }{{"EPSV", "[::1]:0"}, {"EPSV", "127.0.0.1:0"}, {"PASV", "127.0.0.1:0"}} {
		for _, p := range []path{culvertCulvertd, culvertSSHD} {
			t.Run(tt.lacks+"/"+tt.hop+"/"+string(p), func(t *testing.T) {
				t.Parallel()
				config := peers.FTPConfig{Root: withByte(t), Lines: []string{"cmds_denied=" + tt.lacks}}
				if tt.lacks == "PASV" { // over IPv4 a server without PASV is not to be asked by EPSV: it may mean what it says
					config.Addr = netip.IPv6Loopback()
				}
				server := peers.TestFTP(t, peers.VSFTPD, config)
				tun := route{path: p, bind: tt.hop}.open(t, server)
				wantBytes(t, p.clients(), tun.target)
				tun.target.Active = true
				wantBytes(t, []peers.FTPClient{peers.TNFTP}, tun.target)
			})
		}
	}
}

// TestLongAddressesAreRefused is RFC 1639, which nobody needs and firewalls were led astray by. The server must not hear of it.
func TestLongAddressesAreRefused(t *testing.T) {
	t.Parallel()
	for _, p := range []path{culvertSSHD, sshCulvertd} {
		t.Run(string(p), func(t *testing.T) {
			t.Parallel()
			server, tap := peers.TestFTP(t, peers.ProFTPD, peers.FTPConfig{Root: t.TempDir()}), newTap()
			tun := p.open(t, server, tap, nil)
			d := login(t, tun.connect(t, 0), server)
			d.command(502, "LPSV")
			d.command(502, "LPRT 4,4,127,0,0,1,2,200,10")
			if feat := d.command(211, "FEAT"); strings.Contains(feat, "LPRT") || strings.Contains(feat, "LPSV") {
				t.Errorf("FEAT offers it: %s", feat)
			}
			if log := server.Log(); log == "" || strings.Contains(log, "LPSV") || strings.Contains(log, "LPRT") {
				t.Errorf("the server heard of it:\n%s", log)
			}
		})
	}
}
