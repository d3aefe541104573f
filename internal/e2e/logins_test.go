package e2e

import (
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/culvert-ssh/culvert/internal/peers"
)

// TestFTPLoginServesForSSH has a bastion whose accounts are those of the FTP server, and FTP clients that log in there alone. Each login has an SSH
// connection of its own.
func TestFTPLoginServesForSSH(t *testing.T) {
	t.Parallel()
	server := peers.TestFTP(t, peers.PureFTPD, peers.FTPConfig{Root: withByte(t)})
	accounts := filepath.Join(t.TempDir(), "accounts")
	setPassword(t, accounts, server.User, server.Password)
	b := startCulvertd(t, netip.MustParseAddr("127.0.0.1"),
		"PasswordAuthentication yes", "PerSourcePenalties no", "PasswordFile "+accounts, "PermitOpen ftp/"+server.Addr.String())
	nobody := netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), b.addr.Port()) // who must not be connected to
	for _, tt := range []struct {
		bastion       netip.AddrPort
		forward, what string
	}{
		{b.addr, "ftp/127.0.0.1:0:" + server.Addr.String(), "user,password"},
		{b.addr, "ftp-proxy/127.0.0.1:0", "user,password"},
		{nobody, "ftp-proxy/127.0.0.1:0", "host,user,password"},
	} {
		t.Run(tt.what+" by "+tt.forward, func(t *testing.T) {
			p, at := startProxy(t, tt.bastion, "nobody", b.key, tt.forward, "-o", "FTPLoginForSSH="+tt.what)
			target := server.Target()
			target.Addr = at
			if strings.HasPrefix(tt.forward, "ftp-proxy/") {
				target.User += "@" + server.Addr.String()
			}
			for _, client := range []peers.FTPClient{peers.LFTP, peers.NcFTP} {
				moveByte(t, client, target)
			}
			target.Password = "wrong"
			if out, err := peers.LFTP.List(t.Context(), target, ""); err == nil || !strings.Contains(err.Error(), "530") {
				t.Errorf("with a wrong password: %v, want a 530:\n%s", err, out)
			}
			if n := strings.Count(p.Output(), "connected to the bastion"); n != 1 {
				t.Errorf("the sessions of one login had %d SSH connections, want 1", n)
			}
		})
	}
}

// setPassword makes an account of the bastion.
func setPassword(t *testing.T, file, name, password string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(binaries, "culvertd"), "passwd", "-f", file, name)
	cmd.Stdin = strings.NewReader(password + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("culvertd passwd: %v\n%s", err, out)
	}
}
