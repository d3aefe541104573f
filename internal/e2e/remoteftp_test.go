package e2e

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/culvert-ssh/culvert/internal/peers"
)

// remote is a way from FTP clients near the bastion to an FTP server near culvert.
type remote struct {
	path              // culvertCulvertd or culvertSSHD
	wire     *gate    // nil, or what the SSH connection goes through
	bastion  []string // lines of the configuration of culvertd, or of sshd
	forward  string   // [bind:]port of -R; if it is empty, a port of the bastion's choice on 127.0.0.1
	culvert  []string // arguments
	audit    string   // path of the audit log; if it is empty, it is among what culvertd writes
	listener *program // set by open: culvert
}

// open puts the way into operation, and returns what an FTP client near the bastion is told.
func (r *remote) open(t *testing.T, server *peers.FTP) (peers.Target, *bastion) {
	t.Helper()
	var b *bastion
	var ssh netip.AddrPort
	login, key := user, peers.Key{}
	if r.hasCulvertd() {
		b = startCulvertd(t, netip.MustParseAddr("127.0.0.1"), append(r.bastion, "PermitListen ftp/*")...)
		ssh, key = b.addr, b.key
	} else {
		key = peers.TestKey(t, "id_ed25519")
		sshd := peers.TestSSHD(t, peers.SSHDConfig{AuthorizedKeys: key.Authorized(), Lines: r.bastion})
		ssh, login = sshd.Addr, sshd.User
	}
	if r.wire != nil {
		ssh = r.wire.open(t, ssh)
	}
	if r.forward == "" {
		r.forward = "127.0.0.1:0"
	}
	r.listener = start(t, "culvert", append([]string{
		"-N", "-v", "-i", key.Path,
		"-o", "UserKnownHostsFile=" + filepath.Join(t.TempDir(), "known_hosts"), "-o", "StrictHostKeyChecking=accept-new",
		"-p", strconv.Itoa(int(ssh.Port())),
		"-R", "ftp/" + r.forward + ":" + server.Addr.String(),
		login + "@" + ssh.Addr().String(),
	}, r.culvert...)...)
	target := server.Target()
	port := r.listener.await(`FTP to .* is at \S*:(\d+) of `)[1]
	target.Addr = netip.MustParseAddrPort("127.0.0.1:" + port)
	return target, b
}

func TestFTPServersNearCulvert(t *testing.T) {
	files := makeFiles(t)
	for _, cell := range []struct {
		path
		server  peers.FTPServer
		clients []peers.FTPClient
	}{
		{culvertCulvertd, peers.VSFTPD, []peers.FTPClient{peers.LFTP, peers.Wget}},
		{culvertCulvertd, peers.PureFTPD, []peers.FTPClient{peers.Curl, peers.TNFTP}},
		{culvertCulvertd, peers.ProFTPD, []peers.FTPClient{peers.NcFTP}},
		{culvertSSHD, peers.VSFTPD, []peers.FTPClient{peers.Curl}},
		{culvertSSHD, peers.PureFTPD, []peers.FTPClient{peers.NcFTP}},
		{culvertSSHD, peers.ProFTPD, []peers.FTPClient{peers.LFTP}},
	} {
		t.Run(fmt.Sprintf("%s/%s", cell.path, cell.server), func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			files.linkInto(t, filepath.Join(root, "files"))
			server := peers.TestFTP(t, cell.server, peers.FTPConfig{Root: root})
			target, _ := (&remote{path: cell.path}).open(t, server)
			for _, client := range cell.clients {
				t.Run(string(client), func(t *testing.T) { files.cell(t, client, target, root) })
			}
		})
	}
}
