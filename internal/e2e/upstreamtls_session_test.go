package e2e

import (
	"bytes"
	"compress/zlib"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/culvert-ssh/culvert/internal/peers"
)

// insideTLS is a logged-in session with a real server that requires TLS, through somebody else's SSH server.
func insideTLS(t *testing.T, kind peers.FTPServer, version string, more ...string) (*dialog, *tunnel, *peers.FTP) {
	t.Helper()
	ca := peers.TestCA(t, "ca")
	id := ca.TestIdentity(t, peers.Certificate{Names: []string{"127.0.0.1"}})
	server := peers.TestFTP(t, kind, peers.FTPConfig{Root: t.TempDir(), TLS: &peers.FTPTLS{Identity: id}, Lines: more})
	tun := route{path: culvertSSHD, culvert: []string{
		"-o", "FTPUpstreamTLS=require", "-o", "FTPUpstreamTLSCAFile=" + ca.Path, "-o", "FTPUpstreamTLSMaxVersion=" + version,
	}}.open(t, server)
	d := login(t, tun.connect(t, 0), server)
	d.command(200, "TYPE I")
	return d, tun, server
}

// retrieve downloads, and returns what came.
func (d *dialog) retrieve(tun *tunnel, command string) []byte {
	d.t.Helper()
	conn := tun.connect(d.t, d.endpoint())
	defer conn.Close() // some clients wait for 226 first, and nobody else may wait for that
	d.command(150, command)
	got, err := io.ReadAll(conn)
	if err != nil {
		d.t.Fatalf("%s: read: %v", command, err)
	}
	d.reply(226)
	return got
}

// store uploads.
func (d *dialog) store(tun *tunnel, command string, data []byte) {
	d.t.Helper()
	conn := tun.connect(d.t, d.endpoint())
	defer conn.Close() // some clients wait for 226 first, and nobody else may wait for that
	d.command(150, command)
	if _, err := conn.Write(data); err != nil {
		d.t.Fatalf("%s: write: %v", command, err)
	}
	if err := conn.CloseWrite(); err != nil {
		d.t.Fatal(err)
	}
	d.reply(226)
}

// TestSessionInsideTLS: restarts, appending, transfers that are broken off, and many small ones, whose data connections all resume the session of
// the one control connection.
func TestSessionInsideTLS(t *testing.T) {
	t.Parallel()
	file := bytes.Repeat([]byte("0123456789abcdef"), 64<<10)
	for _, kind := range peers.FTPServers() {
		for _, version := range []string{"1.2", "1.3"} {
			t.Run(string(kind)+"/"+version, func(t *testing.T) {
				t.Parallel()
				d, tun, server := insideTLS(t, kind, version, map[peers.FTPServer][]string{peers.ProFTPD: {"HiddenStores off", "AllowStoreRestart on"}}[kind]...) // for APPE
				name := filepath.Join(server.Root, "file")
				if err := os.WriteFile(name, file, 0o644); err != nil {
					t.Fatal(err)
				}

				d.command(350, "REST 1000001")
				if got := d.retrieve(tun, "RETR file"); !bytes.Equal(got, file[1000001:]) {
					t.Errorf("from 1000001 on: got %d bytes, want %d", len(got), len(file)-1000001)
				}
				d.store(tun, "STOR up", file[:100000])
				d.store(tun, "APPE up", file[100000:])
				if got, err := os.ReadFile(filepath.Join(server.Root, "up")); err != nil || !bytes.Equal(got, file) {
					t.Errorf("stored and appended: got %d bytes, %v; want %d", len(got), err, len(file))
				}

				for range 30 {
					if got := d.retrieve(tun, "RETR up"); !bytes.Equal(got, file) {
						t.Fatalf("got %d bytes, want %d", len(got), len(file))
					}
				}

				if kind != peers.VSFTPD {
					return // after a data connection inside TLS that breaks off, pure-ftpd is silent and proftpd ends, with or without a tunnel
				}
				// A client that has seen enough: the session goes on.
				conn := tun.connect(t, d.endpoint())
				d.command(150, "RETR file")
				if _, err := io.ReadFull(conn, make([]byte, 1000)); err != nil {
					t.Fatal(err)
				}
				reset(conn)
				if code, text, err := d.ReadResponse(0); err != nil {
					t.Errorf("after a download that was broken off: %d %q, %v", code, text, err)
				}
				if got := d.retrieve(tun, "RETR file"); !bytes.Equal(got, file) {
					t.Errorf("afterwards: got %d bytes, want %d", len(got), len(file))
				}
			})
		}
	}
}

// TestCompressionInsideTLS is MODE Z, which is carried as it comes.
func TestCompressionInsideTLS(t *testing.T) {
	t.Parallel()
	file := bytes.Repeat([]byte("0123456789abcdef"), 512) // proftpd's mod_deflate damages larger uploads, without a tunnel as well
	d, tun, server := insideTLS(t, peers.ProFTPD, "1.3", "LoadModule mod_deflate.c", "DeflateEngine on")
	if err := os.WriteFile(filepath.Join(server.Root, "file"), file, 0o644); err != nil {
		t.Fatal(err)
	}
	d.command(200, "MODE Z")
	got := d.retrieve(tun, "RETR file")
	z, err := zlib.NewReader(bytes.NewReader(got))
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := io.ReadAll(z); err != nil || !bytes.Equal(plain, file) || len(got) > len(file)/2 {
		t.Errorf("%d bytes came that are %d, %v; want %d", len(got), len(plain), err, len(file))
	}

	var packed bytes.Buffer
	w := zlib.NewWriter(&packed)
	if _, err := w.Write(file); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	d.store(tun, "STOR up", packed.Bytes())
	if got, err := os.ReadFile(filepath.Join(server.Root, "up")); err != nil || !bytes.Equal(got, file) {
		t.Errorf("stored: got %d bytes, %v; want %d", len(got), err, len(file))
	}
}

// TestRemoteTunnelToAServerThatRequiresTLS: the FTP server is near culvert, and its clients, in the clear, near the SSH server.
func TestRemoteTunnelToAServerThatRequiresTLS(t *testing.T) {
	t.Parallel()
	ca := peers.TestCA(t, "ca")
	id := ca.TestIdentity(t, peers.Certificate{Names: []string{"127.0.0.1"}})
	files := makeFilesOf(t, 1<<20, 5)
	key := peers.TestKey(t, "id_ed25519")
	sshd := peers.TestSSHD(t, peers.SSHDConfig{AuthorizedKeys: key.Authorized(), Addr: netip.MustParseAddr("127.0.0.1")})
	for _, prefix := range []string{"ftp/", "ftps/"} {
		t.Run(prefix, func(t *testing.T) {
			root := t.TempDir()
			files.linkInto(t, filepath.Join(root, "files"))
			server := peers.TestFTP(t, peers.VSFTPD, peers.FTPConfig{Root: root, TLS: &peers.FTPTLS{Identity: id, Implicit: prefix == "ftps/"}})
			p := start(t, "culvert", "-N", "-v", "-i", key.Path,
				"-o", "UserKnownHostsFile="+filepath.Join(t.TempDir(), "known_hosts"), "-o", "StrictHostKeyChecking=accept-new",
				"-o", "FTPUpstreamTLS=require", "-o", "FTPUpstreamTLSCAFile="+ca.Path,
				"-p", strconv.Itoa(int(sshd.Addr.Port())), "-R", prefix+"127.0.0.1:0:"+server.Addr.String(), sshd.User+"@127.0.0.1")
			target := server.Target()
			target.Addr = netip.MustParseAddrPort(p.await(`FTP to .* is at ([0-9.]+:\d+) of`)[1])
			for _, client := range []peers.FTPClient{peers.Curl, peers.LFTP} {
				t.Run(string(client), func(t *testing.T) { files.cell(t, client, target, root) })
			}
		})
	}
}
