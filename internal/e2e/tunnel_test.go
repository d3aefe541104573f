package e2e

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/culvert-ssh/culvert/internal/peers"
)

const user = "alice"

// bastion is a running culvertd. Its audit log is on standard error, where await sees it.
type bastion struct {
	*program
	addr netip.AddrPort
	key  peers.Key // user's
	keys string    // the folder with a file for each user
	conf string    // path of the configuration
	base []string  // the lines that it can't do without
}

// configure writes the configuration, which is read again at SIGHUP.
func (b *bastion) configure(t *testing.T, lines ...string) {
	t.Helper()
	text := strings.Join(append(slices.Clip(b.base), lines...), "\n") + "\n"
	if err := os.WriteFile(b.conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// startCulvertd starts a bastion on a free port of addr that user may log in to, with the lines added to its
// configuration.
func startCulvertd(t *testing.T, addr netip.Addr, lines ...string) *bastion {
	t.Helper()
	folder := t.TempDir()
	keys := filepath.Join(folder, "keys")
	if err := os.Mkdir(keys, 0o755); err != nil {
		t.Fatal(err)
	}
	host, err := peers.NewKey(folder, "host_key")
	if err != nil {
		t.Fatal(err)
	}
	key := peers.TestKey(t, "id_ed25519")
	if err := os.WriteFile(filepath.Join(keys, user), key.Authorized(), 0o644); err != nil {
		t.Fatal(err)
	}
	b := &bastion{key: key, keys: keys, conf: filepath.Join(folder, "sshd_config"), base: []string{
		"ListenAddress " + netip.AddrPortFrom(addr, 0).String(),
		"HostKey " + host.Path,
		"AuthorizedKeysFile " + keys + "/%u",
		"LogLevel DEBUG",
	}}
	b.configure(t, lines...)
	b.program = start(t, "culvertd", "-D", "-e", "-f", b.conf)
	b.addr = netip.MustParseAddrPort(b.await(`msg=listening .*address="?([^ "\n]+)`)[1])
	return b
}

// startCulvert starts culvert with an FTP tunnel to target, at a free port of target's own loopback address.
func startCulvert(t *testing.T, ssh netip.AddrPort, login string, key peers.Key, target netip.AddrPort) (*program, netip.AddrPort) {
	t.Helper()
	p := start(
		t, "culvert", "-N", "-v",
		"-i", key.Path,
		"-o", "UserKnownHostsFile="+filepath.Join(t.TempDir(), "known_hosts"),
		"-o", "StrictHostKeyChecking=accept-new",
		"-p", strconv.Itoa(int(ssh.Port())),
		"-L", "ftp/"+netip.AddrPortFrom(target.Addr(), 0).String()+":"+target.String(),
		login+"@"+ssh.Addr().String(),
	)
	return p, netip.MustParseAddrPort(p.await(`FTP to .* is at ([^ ,\n]+)`)[1])
}

// path is one way from an FTP client to an FTP server.
type path string

const (
	culvertCulvertd path = "culvert-culvertd"
	culvertSSHD     path = "culvert-sshd"
	sshCulvertd     path = "ssh-culvertd" // expectations alone, with OpenSSH's client
)

func (p path) clients() []peers.FTPClient {
	if p == sshCulvertd {
		return []peers.FTPClient{peers.CurlSOCKS}
	}
	return peers.FTPClients()
}

// tunnel is a path in operation.
type tunnel struct {
	target  peers.Target // what the FTP client is told
	bastion *bastion     // nil on culvertSSHD
	client  *program     // nil on sshCulvertd
}

// open puts the path to server into operation. If they are not nil, the FTP control connection goes through
// control before it comes to the server, and the SSH connection through wire. The lines are added to culvertd's
// configuration.
func (p path) open(t *testing.T, server *peers.FTP, control, wire *gate, lines ...string) *tunnel {
	t.Helper()
	tun := &tunnel{target: server.Target()}
	if control != nil {
		// Data connections go past the gate: what the server announces is a port at the same address.
		tun.target.Addr = control.open(t, server.Addr)
	}
	ftp := tun.target.Addr
	var (
		ssh   netip.AddrPort
		login = user
		key   peers.Key
	)
	if p == culvertSSHD {
		key = peers.TestKey(t, "id_ed25519")
		sshd := peers.TestSSHD(t, peers.SSHDConfig{AuthorizedKeys: key.Authorized(), Addr: ftp.Addr()})
		ssh, login = sshd.Addr, sshd.User
	} else {
		tun.bastion = startCulvertd(t, ftp.Addr(), append(lines, "PermitOpen ftp/"+ftp.String())...)
		ssh, key = tun.bastion.addr, tun.bastion.key
	}
	if wire != nil {
		ssh = wire.open(t, ssh)
	}
	if p == sshCulvertd {
		client := peers.TestSSH(t, peers.SSHConfig{Server: ssh, User: login, Identity: key.Path, Dynamic: true})
		tun.target.SOCKS = client.Dynamic
		return tun
	}
	tun.client, tun.target.Addr = startCulvert(t, ssh, login, key, ftp)
	return tun
}
