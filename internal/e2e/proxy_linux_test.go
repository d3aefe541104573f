package e2e

import (
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/culvert-ssh/culvert/internal/peers"
)

// startProxy starts culvert with an FTP proxy, or another listener of that kind, and returns where that is.
func startProxy(t *testing.T, ssh netip.AddrPort, login string, key peers.Key, forward string, args ...string) (*program, netip.AddrPort) {
	t.Helper()
	p := start(t, "culvert", append([]string{
		"-N", "-v",
		"-i", key.Path,
		"-o", "UserKnownHostsFile=" + filepath.Join(t.TempDir(), "known_hosts"),
		"-o", "StrictHostKeyChecking=accept-new",
		"-p", strconv.Itoa(int(ssh.Port())),
		"-L", forward,
		login + "@" + ssh.Addr().String(),
	}, args...)...)
	return p, netip.MustParseAddrPort(p.await(`FTP .* at ([0-9.:\[\]a-f]+:\d+)`)[1])
}

// TestFTPProxyServesEveryClient has each client name the server in each way that it knows, among them those that can't say another
// port than 21.
func TestFTPProxyServesEveryClient(t *testing.T) {
	t.Parallel()
	if apart(t) {
		return
	}
	n := newNetwork(t)
	usual := n.serve(t, peers.VSFTPD, peers.FTPConfig{Port: 21})
	other := n.serve(t, peers.PureFTPD, peers.FTPConfig{})
	var b *bastion
	n.bastion.Do(func() {
		b = startCulvertd(t, netip.MustParseAddr(bastionAtDesk), "PermitOpen ftp/"+usual.Addr.String()+" ftp/"+other.Addr.String())
	})
	var proxy netip.AddrPort
	n.desk.Do(func() { _, proxy = startProxy(t, b.addr, user, b.key, "ftp-proxy/127.0.0.1:0") })
	t.Run("what the bastion refuses", func(t *testing.T) {
		target := usual.Target()
		target.Addr, target.User = proxy, target.User+"@10.2.0.9"
		n.desk.Do(func() {
			out, err := peers.LFTP.List(t.Context(), target, "")
			if err == nil || !strings.Contains(err.Error(), "530 culvert: the bastion refused 10.2.0.9:21: ") {
				t.Errorf("got %v, want what the bastion said:\n%s", err, out)
			}
		})
	})
	for _, way := range peers.ProxyWays() {
		t.Run(way.String(), func(t *testing.T) {
			n.desk.Do(func() {
				wantByteByProxy(t, way, proxy, usual)
				if !way.Default {
					wantByteByProxy(t, way, proxy, other)
				}
			})
		})
	}
}

func wantByteByProxy(t *testing.T, way peers.ProxyWay, proxy netip.AddrPort, server *peers.FTP) {
	t.Helper()
	local := filepath.Join(t.TempDir(), "byte")
	out, err := way.Download(t.Context(), proxy, server.Target(), "byte", local)
	if err != nil {
		t.Error(err)
		return
	}
	if got, err := os.ReadFile(local); err != nil || string(got) != "\xff" {
		t.Errorf("from %v: got %q, %v; the client said:\n%s", server.Addr, got, err, out)
	}
}
