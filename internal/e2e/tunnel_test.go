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
	return startForward(t, ssh, login, key, "ftp/"+netip.AddrPortFrom(target.Addr(), 0).String()+":"+target.String())
}

// startForward starts culvert with one value of -L for FTP, and further arguments.
func startForward(t *testing.T, ssh netip.AddrPort, login string, key peers.Key, forward string, args ...string) (*program, netip.AddrPort) {
	t.Helper()
	p := startCulvertWith(t, ssh, login, key, append(args, "-L", forward)...)
	return p, netip.MustParseAddrPort(p.await(`FTP to .* is at ([^ ,\n]+)`)[1])
}

// startCulvertWith starts culvert with arguments, of which one must be what to forward.
func startCulvertWith(t *testing.T, ssh netip.AddrPort, login string, key peers.Key, args ...string) *program {
	t.Helper()
	return start(t, "culvert", append([]string{
		"-N", "-v",
		"-i", key.Path,
		"-o", "UserKnownHostsFile=" + filepath.Join(t.TempDir(), "known_hosts"),
		"-o", "StrictHostKeyChecking=accept-new",
		"-p", strconv.Itoa(int(ssh.Port())),
		login + "@" + ssh.Addr().String(),
	}, args...)...)
}

// path is one way from an FTP client to an FTP server.
type path string

const (
	culvertCulvertd path = "culvert-culvertd"
	culvertStriped  path = "culvert-culvertd-striped" // the same, with stripes from the first byte of a stream on
	culvertSSHD     path = "culvert-sshd"
	sshCulvertd     path = "ssh-culvertd" // expectations alone, with OpenSSH's client
	sshSSHD         path = "ssh-sshd"     // nothing of ours, to know what is due to us

	masterCulvertd path = "culvert-ssh-culvertd" // culvert -S, over a running ssh
	masterSSHD     path = "culvert-ssh-sshd"
)

// hasCulvert reports whether any FTP client serves on the path; elsewhere it is curl, over ssh -D.
func (p path) hasCulvert() bool { return p != sshCulvertd && p != sshSSHD }

func (p path) hasCulvertd() bool { return p.bothAreOurs() || p == sshCulvertd || p == masterCulvertd }

// bothAreOurs reports whether culvert and culvertd speak with each other, so that they know what is an end.
func (p path) bothAreOurs() bool { return p == culvertCulvertd || p == culvertStriped }

// flags are what culvert needs to be told.
func (p path) flags() []string {
	if p == culvertStriped {
		return []string{"-o", "Stripes=4"}
	}
	return nil
}

// alternately is culvertCulvertd, without stripes for an even n and with them for an odd one. Where there are many clients, servers and more with each other, each of them
// comes both ways so, in the time of one.
func alternately(n int) path {
	if n%2 == 0 {
		return culvertCulvertd
	}
	return culvertStriped
}

// hasMaster reports whether the SSH connection is an ssh's that culvert uses.
func (p path) hasMaster() bool { return p == masterCulvertd || p == masterSSHD }

func (p path) clients() []peers.FTPClient {
	if p.hasCulvert() {
		return peers.FTPClients()
	}
	return []peers.FTPClient{peers.CurlSOCKS}
}

// tunnel is a path in operation.
type tunnel struct {
	target  peers.Target // what the FTP client is told
	bastion *bastion     // nil without culvertd
	client  *program     // nil without culvert
	master  *peers.SSH   // nil without culvert -S
}

// open puts the path to server into operation. If they are not nil, the FTP control connection goes through
// control before it comes to the server, and the SSH connection through wire. The lines are added to culvertd's
// configuration.
func (p path) open(t *testing.T, server *peers.FTP, control, wire *gate, lines ...string) *tunnel {
	t.Helper()
	return route{path: p, control: control, wire: wire, culvertd: lines}.open(t, server)
}

// route is a path with everything that there is to say about it.
type route struct {
	path
	control, wire *gate    // nil, or what the FTP control connection and the SSH connection go through
	line          *line    // nil, or what the SSH connection goes over
	culvertd      []string // lines of its configuration
	sshd          []string // the same of OpenSSH's
	culvert       []string // arguments

	// dynamic has culvert be a SOCKS proxy (-D) in place of a forward.
	dynamic bool
	// implicit has culvert expect TLS from the first byte on.
	implicit bool
	// bind is the local address of culvert's -L; if it is empty, the server's. A client on this machine finds it there.
	bind string
	// bastion is where the SSH server listens; if it is not valid, at the server's address.
	bastion netip.Addr
	// onDesk and onBastion run what they are given on the machines of the SSH client and the SSH server; if they are nil, on this one.
	onDesk, onBastion func(f func())
}

func here(f func()) { f() }

// open puts the route to server into operation.
func (r route) open(t *testing.T, server *peers.FTP) *tunnel {
	t.Helper()
	tun := &tunnel{target: server.Target()}
	if r.control != nil {
		// Data connections go past the gate: what the server announces is a port at the same address.
		tun.target.Addr = r.control.open(t, server.Addr)
	}
	if r.onDesk == nil {
		r.onDesk, r.onBastion = here, here
	}
	if !r.bastion.IsValid() {
		r.bastion = server.Addr.Addr()
	}
	ftp := tun.target.Addr
	var (
		ssh   netip.AddrPort
		login = user
		key   peers.Key
	)
	if r.hasCulvertd() {
		r.onBastion(func() {
			tun.bastion = startCulvertd(t, r.bastion, append(r.culvertd, "PermitOpen ftp/"+ftp.String())...)
		})
		ssh, key = tun.bastion.addr, tun.bastion.key
	} else {
		key = peers.TestKey(t, "id_ed25519")
		sshd := peers.TestSSHD(t, peers.SSHDConfig{AuthorizedKeys: key.Authorized(), Addr: r.bastion, On: r.onBastion, Lines: r.sshd})
		ssh, login = sshd.Addr, sshd.User
	}
	if r.wire != nil {
		ssh = r.wire.open(t, ssh)
	}
	if r.line != nil {
		ssh = r.line.open(t, ssh)
	}
	r.culvert = append(slices.Clip(r.culvert), r.flags()...)
	r.onDesk(func() {
		if r.hasMaster() {
			tun.master = peers.TestSSH(t, peers.SSHConfig{Server: ssh, User: login, Identity: key.Path, Master: true})
			r.culvert = append(slices.Clip(r.culvert), "-S", tun.master.Control)
		}
		if r.dynamic {
			tun.client, tun.target.SOCKS = startDynamic(t, ssh, login, key, ftp, r.culvert...)
		} else if r.hasCulvert() {
			prefix := "ftp/"
			if r.implicit {
				prefix = "ftps/"
			}
			if r.bind == "" {
				r.bind = netip.AddrPortFrom(ftp.Addr(), 0).String()
			}
			tun.client, tun.target.Addr = startForward(t, ssh, login, key, prefix+r.bind+":"+ftp.String(), r.culvert...)
		} else {
			client := peers.TestSSH(t, peers.SSHConfig{Server: ssh, User: login, Identity: key.Path, Dynamic: true})
			tun.target.SOCKS = client.Dynamic
		}
	})
	return tun
}
