package e2e

import (
	"context"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/culvert-ssh/culvert/internal/peers"
)

// nobody is the user id of Debian's account of that name.
const nobody = 65534

// TestAnotherUsersDataConnectionIsRejected has another user of this machine come to the data port first.
func TestAnotherUsersDataConnectionIsRejected(t *testing.T) {
	t.Parallel()
	for _, name := range []path{culvertCulvertd, culvertSSHD} {
		t.Run(string(name), func(t *testing.T) {
			root := t.TempDir()
			if err := os.WriteFile(filepath.Join(root, "byte"), []byte{0xff}, 0o644); err != nil {
				t.Fatal(err)
			}
			server := peers.TestFTP(t, peers.VSFTPD, peers.FTPConfig{Root: root})
			tun := name.open(t, server, nil, nil)
			d := login(t, dial(t, tun.target.Addr), server)
			// The first data connection of a session is opened beforehand, later ones on demand.
			for range 2 {
				at := netip.AddrPortFrom(tun.target.Addr.Addr(), d.endpoint())
				wantThiefRejected(t, at)
				data := dial(t, at)
				d.command(150, "RETR byte")
				if got, err := io.ReadAll(data); err != nil || string(got) != "\xff" {
					t.Errorf("data connection: got %q, %v, want one byte", got, err)
				}
				d.reply(226)
			}
		})
	}
}

// wantThiefRejected connects to a port as another user, and wants to be reset with nothing read.
func wantThiefRejected(t *testing.T, at netip.AddrPort) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	script := `exec 3<>/dev/tcp/$0/$1 && exec cat <&3`
	host, port, _ := strings.Cut(at.String(), ":")
	cmd := exec.CommandContext(ctx, "bash", "-c", script, host, port)
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	} else {
		// Without being asked for a password, or not at all.
		cmd = exec.CommandContext(ctx, "sudo", "-n", "-u", "nobody", "bash", "-c", script, host, port)
	}
	cmd.Dir = "/"
	cmd.WaitDelay = patience // sudo would leave its child behind
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "reset by peer") {
		t.Errorf("another user's connection to %v: got %q, %v, want a reset", at, out, err)
	}
}
