package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/textproto"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
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
	culvertd *bastion // set by open; nil without it
	client   *program // set by open: culvert
}

// open puts the way into operation, and returns what an FTP client near the bastion is told.
func (r *remote) open(t *testing.T, server *peers.FTP) peers.Target {
	t.Helper()
	target := server.Target()
	target.Addr = r.openTo(t, server.Addr)[0]
	return target
}

// openTo is open for several servers, and returns where their clients connect to.
func (r *remote) openTo(t *testing.T, servers ...netip.AddrPort) (at []netip.AddrPort) {
	t.Helper()
	var ssh netip.AddrPort
	login, key := user, peers.Key{}
	if r.hasCulvertd() {
		r.culvertd = startCulvertd(t, netip.MustParseAddr("127.0.0.1"), append(r.bastion, "PermitListen ftp/*")...)
		ssh, key = r.culvertd.addr, r.culvertd.key
	} else {
		key = peers.TestKey(t, "id_ed25519")
		sshd := peers.TestSSHD(t, peers.SSHDConfig{AuthorizedKeys: key.Authorized(), Lines: r.bastion})
		ssh, login = sshd.Addr, sshd.User
	}
	if r.wire != nil {
		ssh = r.wire.open(t, ssh)
	}
	r.culvert = append(slices.Clip(r.culvert), r.flags()...)
	if r.forward == "" {
		r.forward = "127.0.0.1:0"
	}
	if r.hasMaster() {
		master := peers.TestSSH(t, peers.SSHConfig{Server: ssh, User: login, Identity: key.Path, Master: true})
		r.culvert = append(slices.Clip(r.culvert), "-S", master.Control)
	}
	args := []string{
		"-N", "-v", "-i", key.Path,
		"-o", "UserKnownHostsFile=" + filepath.Join(t.TempDir(), "known_hosts"), "-o", "StrictHostKeyChecking=accept-new",
		"-p", strconv.Itoa(int(ssh.Port())), login + "@" + ssh.Addr().String(),
	}
	for _, server := range servers {
		args = append(args, "-R", "ftp/"+r.forward+":"+server.String())
	}
	r.client = start(t, "culvert", append(args, r.culvert...)...)
	for _, server := range servers {
		at = append(at, netip.MustParseAddrPort(r.client.await(`FTP to ` + regexp.QuoteMeta(server.String()) + ` is at (\S+) of `)[1]))
	}
	return at
}

// TestFTPServersNearCulvert is each server and each client, in passive and in active mode, with culvertd and with sshd, over IPv4 and over IPv6, and
// servers that require TLS or have no passive mode, by the bytes; but not each with each, as the two ends are those of the matrix.
func TestFTPServersNearCulvert(t *testing.T) {
	t.Parallel()
	files := makeFilesOf(t, 16<<20, 50)
	ca := peers.TestCA(t, "the authority")
	id := ca.TestIdentity(t, peers.Certificate{Names: []string{"127.0.0.1"}})
	for _, cell := range []struct {
		path
		name    string
		server  peers.FTPServer
		config  peers.FTPConfig
		forward string
		active  bool
		culvert []string
		clients []peers.FTPClient
	}{
		{path: culvertCulvertd, server: peers.VSFTPD, clients: []peers.FTPClient{peers.LFTP}},
		{path: culvertCulvertd, server: peers.PureFTPD, clients: []peers.FTPClient{peers.Curl, peers.TNFTP}},
		{path: culvertCulvertd, server: peers.ProFTPD, clients: []peers.FTPClient{peers.NcFTP}},
		{path: culvertSSHD, server: peers.VSFTPD, clients: []peers.FTPClient{peers.Curl}},
		{path: culvertSSHD, server: peers.PureFTPD, clients: []peers.FTPClient{peers.NcFTP}},
		{path: culvertSSHD, server: peers.ProFTPD, clients: []peers.FTPClient{peers.LFTP}},
		{path: masterSSHD, server: peers.VSFTPD, clients: []peers.FTPClient{peers.LFTP, peers.Curl}},
		{path: masterSSHD, name: "active", server: peers.ProFTPD, active: true, clients: []peers.FTPClient{peers.NetFTP}},
		{path: masterSSHD, name: "IPv6", server: peers.VSFTPD, forward: "[::1]:0", clients: []peers.FTPClient{peers.Curl}},
		{path: culvertCulvertd, name: "active", server: peers.VSFTPD, active: true, clients: []peers.FTPClient{peers.NetFTP}},
		{path: culvertSSHD, name: "active", server: peers.PureFTPD, active: true, clients: []peers.FTPClient{peers.NcFTP}},
		{path: culvertCulvertd, name: "IPv6", server: peers.ProFTPD, forward: "[::1]:0", clients: []peers.FTPClient{peers.LFTP}},
		{path: culvertSSHD, name: "IPv6", server: peers.VSFTPD, forward: "[::1]:0", clients: []peers.FTPClient{peers.Curl}},
		{
			path: culvertCulvertd, name: "no passive mode", server: peers.VSFTPD, config: peers.FTPConfig{Lines: []string{noPassive}},
			culvert: []string{"-o", "FTPActive=forward"}, clients: []peers.FTPClient{peers.Curl},
		},
		{
			path: culvertCulvertd, name: "TLS", server: peers.ProFTPD, config: peers.FTPConfig{TLS: &peers.FTPTLS{Identity: id}},
			culvert: []string{"-o", "FTPUpstreamTLS=require", "-o", `FTPUpstreamTLSCAFile="` + ca.Path + `"`}, clients: []peers.FTPClient{peers.LFTP}, // its name has a blank
		},
	} {
		t.Run(strings.TrimRight(fmt.Sprintf("%s/%s/%s", cell.path, cell.server, cell.name), "/"), func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			files.linkInto(t, filepath.Join(root, "files"))
			cell.config.Root = root
			server := peers.TestFTP(t, cell.server, cell.config)
			r := &remote{path: cell.path, forward: cell.forward, culvert: cell.culvert}
			if r.hasCulvertd() {
				r.bastion = []string{"FTPActive yes"}
			}
			target := r.open(t, server)
			target.Active = cell.active
			for _, client := range cell.clients {
				t.Run(string(client), func(t *testing.T) { files.session(t, client, target, root) })
			}
		})
	}
}

// TestRemoteFaultIsNeverTakenForTheEndOfFile strikes in the middle of a download from a server near culvert and of an upload to it.
func TestRemoteFaultIsNeverTakenForTheEndOfFile(t *testing.T) {
	for name, strike := range map[string]func(*remote){
		"culvert is killed":         func(r *remote) { r.client.signal(syscall.SIGKILL) },
		"culvertd is killed":        func(r *remote) { r.culvertd.signal(syscall.SIGKILL) },
		"the SSH connection is cut": func(r *remote) { r.wire.cut() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			if err := os.WriteFile(filepath.Join(root, "big"), make([]byte, 64<<20), 0o644); err != nil {
				t.Fatal(err)
			}
			server := peers.TestFTP(t, peers.VSFTPD, peers.FTPConfig{Root: root})
			r := &remote{path: culvertCulvertd, wire: newTap()}
			target := r.open(t, server)

			down := login(t, dial(t, target.Addr), server)
			download := dial(t, netip.AddrPortFrom(target.Addr.Addr(), down.endpoint()))
			down.command(150, "RETR big")
			up := login(t, dial(t, target.Addr), server)
			upload := dial(t, netip.AddrPortFrom(target.Addr.Addr(), up.endpoint()))
			up.command(150, "STOR part")
			if _, err := io.CopyN(io.Discard, download, 1<<20); err != nil {
				t.Fatal(err)
			}
			if _, err := upload.Write(make([]byte, 1<<20)); err != nil {
				t.Fatal(err)
			}
			strike(r)
			if n, err := io.Copy(io.Discard, download); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the download ended after %d bytes with %v, want a reset", n, err)
			}
			if _, err := io.Copy(io.Discard, upload); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the upload ended with %v, want a reset", err)
			}
			for _, d := range []*dialog{down, up} {
				if code, _, err := d.ReadResponse(2); err == nil {
					t.Errorf("got a reply %d, want no success", code)
				}
			}
			idle, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if err := server.Idle(idle); err != nil {
				t.Fatal(err)
			}
			if log := server.Log(); !strings.Contains(log, `"426 Failure reading`) || strings.Contains(log, `"226 `) {
				t.Errorf("the server took half a file for a whole one:\n%s", log)
			}
		})
	}
}

// fixed is an FTP server that announces always the same port.
func fixed(t *testing.T, addr string, port uint16, content string) netip.AddrPort {
	t.Helper()
	listen := func(port uint16) *net.TCPListener {
		l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(addr), port)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		return l
	}
	data, control := listen(port), listen(0)
	go func() {
		for {
			c, err := control.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				d := textproto.NewConn(c)
				_ = d.PrintfLine("220 hello")
				for {
					line, err := d.ReadLine()
					if err != nil {
						return
					}
					switch verb, _, _ := strings.Cut(line, " "); verb {
					case "USER":
						_ = d.PrintfLine("331 password")
					case "PASS":
						_ = d.PrintfLine("230 welcome")
					case "EPSV":
						_ = d.PrintfLine("229 here (|||%d|)", port)
					case "RETR":
						_ = d.PrintfLine("150 it comes")
						if c, err := data.Accept(); err == nil {
							_, _ = io.WriteString(c, content)
							_ = c.Close()
						}
						_ = d.PrintfLine("226 done")
					}
				}
			}()
		}
	}()
	return control.Addr().(*net.TCPAddr).AddrPort()
}

func TestServersNearCulvertThatAnnounceTheSamePort(t *testing.T) {
	port := peers.TestPort(t)
	servers := []netip.AddrPort{fixed(t, "127.0.0.1", port, "one"), fixed(t, "127.0.0.2", port, "two"), fixed(t, "127.0.0.3", port, "three")}
	r := &remote{path: culvertCulvertd}
	var sessions []*dialog
	var data []*net.TCPConn
	for _, at := range r.openTo(t, servers...) {
		d := login(t, dial(t, at), new(peers.FTP))
		sessions = append(sessions, d)
		data = append(data, dial(t, netip.AddrPortFrom(at.Addr(), d.endpoint()))) // all are announced before any is used
	}
	for i, want := range []string{"one", "two", "three"} {
		sessions[i].command(150, "RETR f")
		if got, err := io.ReadAll(data[i]); string(got) != want || err != nil {
			t.Errorf("server %d: got %q, %v; want %q", i, got, err, want)
		}
		sessions[i].reply(226)
	}
}

func TestRemoteFTPWithoutAWordForItSaysWhatToAskFor(t *testing.T) {
	b := startCulvertd(t, netip.MustParseAddr("127.0.0.1"), "PermitListen 8080 ftp/1025", "GatewayPorts no")
	p := start(t, "culvert", "-N", "-i", b.key.Path,
		"-o", "UserKnownHostsFile="+filepath.Join(t.TempDir(), "known_hosts"), "-o", "StrictHostKeyChecking=accept-new",
		"-o", "ExitOnForwardFailure=yes", "-p", strconv.Itoa(int(b.addr.Port())), "-R", "ftp/8080:127.0.0.1:21", user+"@127.0.0.1")
	if status := p.ended(); status != 255 || !strings.Contains(p.Output(), "ask its administrator for PermitListen ftp/8080") {
		t.Errorf("status %d, and it said %q; want what to ask for", status, p.Output())
	}
	b.await(`"event":"listen.refused".*"target":"ftp/localhost:8080".*not in PermitListen`)
}
