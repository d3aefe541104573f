package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/culvert-ssh/culvert/internal/peers"
)

// toBastion is the desk's cable to the bastion.
const toBastion = 1

// standingTunnel has culvert on the desk hold a tunnel to server by its profile, and returns it with its bastion and where the tunnel is.
func (n *network) standingTunnel(t *testing.T, server *peers.FTP) (culvert *program, b *bastion, at netip.AddrPort) {
	t.Helper()
	n.bastion.Do(func() {
		b = startCulvertd(t, netip.MustParseAddr(bastionAtDesk), "PermitOpen ftp/"+server.Addr.String())
	})
	config := filepath.Join(t.TempDir(), "config")
	text := fmt.Sprintf(`Tunnel corp
    Bastion %s@%s
    IdentityFile %s
    UserKnownHostsFile %s
    StrictHostKeyChecking accept-new
    LocalForward ftp/127.0.0.1:0:%s
    # A link that is gone must be noticed soon.
    ServerAliveInterval 1
    ServerAliveCountMax 2
    ConnectTimeout 2
`, user, b.addr, b.key.Path, filepath.Join(t.TempDir(), "known_hosts"), server.Addr)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	n.desk.Do(func() { culvert = start(t, "culvert", "up", "--foreground", "-F", config, "corp") })
	return culvert, b, netip.MustParseAddrPort(culvert.await(`FTP to .* is at ([^ ,\n]+)`)[1])
}

// TestLinkThatBreaksIsMadeAgain pulls the cable in the middle of transfers. Each must be seen to fail, and nothing short may be
// kept for whole; who comes meanwhile waits, and is served when the cable is back.
func TestLinkThatBreaksIsMadeAgain(t *testing.T) {
	t.Parallel()
	if apart(t) {
		return
	}
	n := newNetwork(t)
	server := n.serve(t, peers.VSFTPD, peers.FTPConfig{})
	files := makeFilesOf(t, 32<<20, 0)
	files.linkInto(t, filepath.Join(server.Root, "files"))
	culvert, bastion, at := n.standingTunnel(t, server)
	target := server.Target()
	target.Addr = at

	for _, upload := range []bool{false, true} {
		d := login(t, dialOn(t, n.desk, at), server)
		d.command(200, "TYPE I")
		data := dialOn(t, n.desk, netip.AddrPortFrom(at.Addr(), d.endpoint()))
		if upload {
			d.command(150, "STOR half")
			if _, err := data.Write(make([]byte, 1<<20)); err != nil {
				t.Fatal(err)
			}
		} else {
			d.command(150, "RETR files/big")
			if _, err := io.ReadFull(data, make([]byte, 1<<20)); err != nil {
				t.Fatal(err)
			}
		}
		n.desk.Pull(toBastion)
		next := n.fetch(t, target) // from now on, it waits
		wantCut(t, d, data)
		n.desk.Push(toBastion)
		files.want(t, <-next, "big", "")
	}

	// The server's word for it may find nobody any more. It was told by a reset, as the bastion has on record.
	bastion.await(`"path":"half".*"result":"aborted"`)
	if lost := strings.Count(culvert.Output(), "the SSH connection was lost"); lost != 2 {
		t.Errorf("culvert told of %d lost connections, want 2", lost)
	}
}

// wantCut checks that both connections of a session end as those that were cut.
func wantCut(t *testing.T, d *dialog, data *net.TCPConn) {
	t.Helper()
	if n, err := io.Copy(io.Discard, data); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the data connection: got %d bytes and %v, want a reset", n, err)
	}
	if text := d.reply(421); !strings.Contains(text, "the SSH connection was lost") {
		t.Errorf("got 421 %q, want that the SSH connection was lost", text)
	}
	if line, err := d.ReadLine(); err != io.EOF {
		t.Errorf("after the 421: got %q, %v, want the end", line, err)
	}
}

// fetch has curl on the desk download the large file, and tells where it is when that is done.
func (n *network) fetch(t *testing.T, target peers.Target) <-chan string {
	local := filepath.Join(t.TempDir(), "big")
	done := make(chan string, 1)
	go n.desk.Do(func() {
		if out, err := peers.Curl.Download(t.Context(), target, "files/big", local); err != nil {
			t.Errorf("a download that began while the cable was out: %v\n%s", err, out)
		}
		done <- local
	})
	return done
}
