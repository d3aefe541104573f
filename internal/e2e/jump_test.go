package e2e

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/culvert-ssh/culvert/internal/peers"
)

// chain is a bastion behind three jump hosts: culvertd, sshd, culvertd.
type chain struct {
	*tunnel
	near, far *bastion
	middle    *peers.SSHD
	client    *program
	config    string // ssh_config of whoever goes that way
}

// openChain puts the chain into operation, and a tunnel to an FTP server through it. Each host permits the next one alone.
func openChain(t *testing.T, server *peers.FTP) *chain {
	t.Helper()
	loopback := netip.MustParseAddr("127.0.0.1")
	c := &chain{tunnel: &tunnel{target: server.Target()}}
	c.tunnel.bastion = startCulvertd(t, loopback, "PermitOpen ftp/"+server.Addr.String())
	c.far = startCulvertd(t, loopback, "PermitOpen "+c.tunnel.bastion.addr.String())
	key := peers.TestKey(t, "id_ed25519")
	c.middle = peers.TestSSHD(t, peers.SSHDConfig{AuthorizedKeys: key.Authorized(), Lines: []string{"PermitOpen " + c.far.addr.String()}})
	c.near = startCulvertd(t, loopback, "PermitOpen "+c.middle.Addr.String())

	folder := t.TempDir()
	var config strings.Builder
	for _, host := range []struct {
		name string
		at   netip.AddrPort
		user string
		key  peers.Key
	}{
		{"near", c.near.addr, user, c.near.key},
		{"middle", c.middle.Addr, c.middle.User, key},
		{"far", c.far.addr, user, c.far.key},
		{"bastion", c.tunnel.bastion.addr, user, c.tunnel.bastion.key},
	} {
		fmt.Fprintf(&config, "Host %s\nHostName %s\nPort %d\nUser %s\nIdentityFile %s\n", host.name, host.at.Addr(), host.at.Port(), host.user, host.key.Path)
	}
	fmt.Fprintf(&config, "Host *\nUserKnownHostsFile %s/known_hosts\nGlobalKnownHostsFile none\nStrictHostKeyChecking accept-new\nIdentitiesOnly yes\n", folder)
	c.config = filepath.Join(folder, "config")
	if err := os.WriteFile(c.config, []byte(config.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	c.client = start(t, "culvert", "-N", "-v", "-F", c.config, "-J", "near,middle,far", "-L", "ftp/127.0.0.1:0:"+server.Addr.String(), "bastion")
	c.target.Addr = netip.MustParseAddrPort(c.client.await(`FTP to .* is at ([^ ,\n]+)`)[1])
	return c
}

// TestTransfersThroughThreeJumpHosts is by the bytes.
func TestTransfersThroughThreeJumpHosts(t *testing.T) {
	t.Parallel()
	files := makeFilesOf(t, 4<<20, 3)
	config := peers.FTPConfig{Root: t.TempDir()}
	files.linkInto(t, filepath.Join(config.Root, "files"))
	c := openChain(t, peers.TestFTP(t, peers.VSFTPD, config))
	for _, client := range []peers.FTPClient{peers.LFTP, peers.Curl} {
		t.Run(string(client), func(t *testing.T) { files.cell(t, client, c.target, config.Root) })
	}
}

// TestJumpHostThatIsLostIsNoEndOfFile loses one of them in the middle of a download and of an upload. Both ends are told.
func TestJumpHostThatIsLostIsNoEndOfFile(t *testing.T) {
	t.Parallel()
	for name, kill := range map[string]func(*chain){
		"the first":  func(c *chain) { c.near.signal(syscall.SIGKILL) },
		"the second": func(c *chain) { c.middle.Kill() },
		"the third":  func(c *chain) { c.far.signal(syscall.SIGTERM) },
	} {
		for _, verb := range []string{"RETR", "STOR"} {
			t.Run(name+"/"+verb, func(t *testing.T) {
				t.Parallel()
				server := newPuppet(t)
				c := openChain(t, server.FTP)
				d := login(t, c.connect(t, 0), server.FTP)
				sender := c.connect(t, d.endpoint())
				if err := d.PrintfLine("%s file", verb); err != nil {
					t.Fatal(err)
				}
				x := server.next()
				receiver := x.data
				if verb == "RETR" {
					sender, receiver = receiver, sender
				}
				x.say("150 Here it comes")
				d.reply(150)
				const part = "a part of the file"
				if _, err := io.WriteString(sender, part); err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(receiver, make([]byte, len(part))); err != nil {
					t.Fatal(err)
				}
				kill(c)
				if rest, err := io.ReadAll(receiver); len(rest) > 0 || !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("got %q, %v; want a reset", rest, err)
				}
				if status := c.client.ended(); status != 255 {
					t.Errorf("culvert ended with status %d, want 255", status)
				}
				close(x.over)
			})
		}
	}
}

// TestJumpHostThatPermitsNothingSaysSo: the number in its answer finds the line in its audit log.
func TestJumpHostThatPermitsNothingSaysSo(t *testing.T) {
	t.Parallel()
	hop := startCulvertd(t, netip.MustParseAddr("127.0.0.1"))
	config := filepath.Join(t.TempDir(), "config")
	text := fmt.Sprintf("Host hop\nHostName 127.0.0.1\nPort %d\nUser %s\nIdentityFile %s\nStrictHostKeyChecking accept-new\nUserKnownHostsFile %s.hosts\n",
		hop.addr.Port(), user, hop.key.Path, config)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, "culvert", "-N", "-F", config, "-J", "hop", "-L", "0:127.0.0.1:1", "127.0.0.1")
	p.await(`culvert: jump host hop \(127\.0\.0\.1\) port \d+ does not permit 127\.0\.0\.1:22: .*\(request 1-1\): ask its administrator to permit it, with that number`)
	if status := p.ended(); status != 255 {
		t.Errorf("culvert ended with status %d, want 255", status)
	}
}
