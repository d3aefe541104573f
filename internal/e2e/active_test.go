package e2e

import (
	"context"
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
	"time"

	"github.com/culvert-ssh/culvert/internal/peers"
)

// TestActiveClients is each server and each client that knows active mode, which culvert turns into passive mode, by the bytes.
func TestActiveClients(t *testing.T) {
	t.Parallel()
	files := makeFilesOf(t, 2<<20, 20)
	for _, addr := range []string{"127.0.0.1", "::1"} {
		for _, p := range []path{culvertCulvertd, culvertSSHD} {
			for _, kind := range peers.FTPServers() {
				if addr == "::1" && kind != peers.VSFTPD {
					continue // the server's side is passive mode, which has its own matrix
				}
				t.Run(fmt.Sprintf("%s/%s/%s", addr, p, kind), func(t *testing.T) {
					t.Parallel()
					root := t.TempDir()
					files.linkInto(t, filepath.Join(root, "files"))
					server := peers.TestFTP(t, kind, peers.FTPConfig{Root: root, Addr: netip.MustParseAddr(addr)})
					target := p.open(t, server, nil, nil).target
					target.Active = true
					for _, client := range activeClients(server) {
						t.Run(string(client), func(t *testing.T) { files.session(t, client, target, root) })
					}
				})
			}
		}
	}
}

// TestServerThatConnectsForCulvert has the FTP server connect to the SSH server, for clients in active mode and in passive mode, as culvert is told
// to. An OpenSSH server knows nothing of it.
func TestServerThatConnectsForCulvert(t *testing.T) {
	t.Parallel()
	files := makeFilesOf(t, 2<<20, 10)
	for _, addr := range []string{"127.0.0.1", "::1"} {
		for _, p := range []path{culvertSSHD, culvertCulvertd, masterSSHD} {
			t.Run(addr+"/"+string(p), func(t *testing.T) {
				t.Parallel()
				root := t.TempDir()
				files.linkInto(t, filepath.Join(root, "files"))
				server := peers.TestFTP(t, peers.VSFTPD, peers.FTPConfig{Root: root, Addr: netip.MustParseAddr(addr), Lines: []string{noPassive}})
				target := forwarding(p).open(t, server).target
				for _, client := range []peers.FTPClient{peers.Curl, peers.TNFTP} {
					t.Run(string(client)+" in passive mode", func(t *testing.T) { files.session(t, client, target, root) })
				}
				target.Active = true
				for _, client := range activeClients(server) {
					t.Run(string(client), func(t *testing.T) { files.session(t, client, target, root) })
				}
			})
		}
	}
}

// forwarding is a path on which a server without passive mode connects to the SSH server, as culvert is told to.
func forwarding(p path) route {
	return route{path: p, culvert: []string{"-o", "FTPActive=forward"}, culvertd: []string{"FTPActive forward"}}
}

// activeClients are those that can use active mode with the server.
func activeClients(server *peers.FTP) (clients []peers.FTPClient) {
	for _, c := range peers.ActiveClients() {
		if server.Addr.Addr().Is4() || c.ActiveIPv6() {
			clients = append(clients, c)
		}
	}
	return clients
}

// session lists, and gets and puts the small files in a session each, and the large one. The server serves root, with the files in
// root/files.
func (f *files) session(t *testing.T, c peers.FTPClient, target peers.Target, root string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	local, up := t.TempDir(), filepath.Join(root, "up")
	if err := os.Mkdir(up, 0o755); err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(up)
	out, err := c.List(ctx, target, "files/small")
	if last := f.small[len(f.small)-1]; err != nil || !strings.Contains(out, last) {
		t.Fatalf("List: got %q, %v, want %s in it", out, err, last)
	}
	if out, err = c.DownloadAll(ctx, target, "files/small", f.small, local); err != nil {
		t.Fatalf("DownloadAll: %v", err)
	}
	f.wantAll(t, local, out)
	if out, err = c.UploadAll(ctx, target, filepath.Join(f.folder, "small"), f.small, "up"); err != nil {
		t.Fatalf("UploadAll: %v", err)
	}
	f.wantAll(t, up, out)
	if out, err = c.Download(ctx, target, "files/big", filepath.Join(local, "big")); err != nil {
		t.Fatalf("Download: %v", err)
	}
	f.want(t, filepath.Join(local, "big"), "big", out)
	if out, err = c.Upload(ctx, target, filepath.Join(f.folder, "big"), "up/big"); err != nil {
		t.Fatalf("Upload: %v", err)
	}
	f.want(t, filepath.Join(up, "big"), "big", out)
}

// activeDialog is a control connection of a client in active mode.
type activeDialog struct {
	*dialog
	waits *net.TCPListener
}

func loginActive(t *testing.T, at netip.AddrPort, server *peers.FTP) *activeDialog {
	t.Helper()
	return &activeDialog{dialog: login(t, dial(t, at), server)}
}

// port waits for a data connection at a new port and tells the server where.
func (d *activeDialog) port() {
	d.t.Helper()
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = ln.Close() })
	_ = ln.SetDeadline(time.Now().Add(patience))
	d.waits = ln
	p := ln.Addr().(*net.TCPAddr).Port
	d.command(200, fmt.Sprintf("PORT 127,0,0,1,%d,%d", p>>8, p&0xff))
}

func (d *activeDialog) accept() *net.TCPConn {
	d.t.Helper()
	c, err := d.waits.AcceptTCP()
	if err != nil {
		d.t.Fatalf("no data connection came: %v", err)
	}
	d.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c
}

// wantNobody holds that no data connection is in the queue, and stops waiting.
func (d *activeDialog) wantNobody() {
	d.t.Helper()
	_ = d.waits.SetDeadline(time.Now())
	if c, err := d.waits.Accept(); err == nil {
		d.t.Errorf("a data connection came from %v, want none", c.RemoteAddr())
	}
	_ = d.waits.Close()
}

// TestActiveTransfersThatFail holds that nobody is connected to for a transfer that never begins, that one which nobody waits for is refused by
// the server itself, and that the session goes on after both and after ABOR.
func TestActiveTransfersThatFail(t *testing.T) {
	t.Parallel()
	for _, p := range []path{culvertCulvertd, culvertSSHD} {
		for _, kind := range peers.FTPServers() {
			t.Run(fmt.Sprintf("%s/%s", p, kind), func(t *testing.T) {
				t.Parallel()
				root := t.TempDir()
				for name, size := range map[string]int{"small": 7, "large": 32 << 20} {
					if err := os.WriteFile(filepath.Join(root, name), make([]byte, size), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				server := peers.TestFTP(t, kind, peers.FTPConfig{Root: root})
				tun := p.open(t, server, nil, nil)
				d := loginActive(t, tun.target.Addr, server)

				d.port()
				d.command(550, "RETR absent")
				d.wantNobody()
				d.command(425, "RETR small")

				d.port()
				_ = d.waits.Close() // and nobody waits
				d.wantFailure("STOR nothing")

				d.port()
				d.send("RETR large")
				d.reply(150)
				down := d.accept()
				if _, err := io.ReadFull(down, make([]byte, 1<<20)); err != nil {
					t.Fatal(err)
				}
				d.send("ABOR")
				_, _ = io.Copy(io.Discard, down)
				d.send("NOOP")
				d.untilReply(200)

				d.port()
				d.send("RETR small")
				d.reply(150)
				if got, err := io.ReadAll(d.accept()); err != nil || len(got) != 7 {
					t.Errorf("after all that: got %d bytes, %v, want 7", len(got), err)
				}
				d.reply(226)
			})
		}
	}
}

func (d *dialog) send(line string) {
	d.t.Helper()
	if err := d.PrintfLine("%s", line); err != nil {
		d.t.Fatalf("%s: %v", line, err)
	}
}

// wantFailure sends a transfer command that fails, before or after it has begun.
func (d *dialog) wantFailure(line string) {
	d.t.Helper()
	d.send(line)
	for {
		code, text, err := d.ReadResponse(0)
		switch {
		case err != nil:
			d.t.Fatalf("%s: %v", line, err)
		case code == 425 || code == 426 || code == 451 || code == 450:
			return
		case code >= 200:
			d.t.Fatalf("%s: got %d %s, want that it fails", line, code, text)
		}
	}
}

// untilReply reads replies until one has the code.
func (d *dialog) untilReply(want int) {
	d.t.Helper()
	for {
		code, _, err := d.ReadResponse(0)
		if err != nil {
			d.t.Fatalf("want reply %d: %v", want, err)
		}
		if code == want {
			return
		}
	}
}

// TestActiveUploadCutShort has the client's data connection reset in the middle: the server must hear of it as a reset.
func TestActiveUploadCutShort(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	server := peers.TestFTP(t, peers.VSFTPD, peers.FTPConfig{Root: root})
	tun := culvertCulvertd.open(t, server, nil, nil)
	d := loginActive(t, tun.target.Addr, server)
	d.port()
	d.send("STOR half")
	d.reply(150)
	up := d.accept()
	if _, err := up.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	_ = up.SetLinger(0)
	_ = up.Close()
	d.reply(426)
	d.send("NOOP") // vsftpd removes the file after it has said so
	d.reply(200)
	if _, err := os.Stat(filepath.Join(root, "half")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("half a file was kept under its name: %v", err)
	}
}

// TestActiveDownloadOverALostConnection must not look complete.
func TestActiveDownloadOverALostConnection(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "large"), make([]byte, 32<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	server := peers.TestFTP(t, peers.VSFTPD, peers.FTPConfig{Root: root})
	wire := newGate(middle, false)
	tun := culvertCulvertd.open(t, server, nil, wire)
	d := loginActive(t, tun.target.Addr, server)
	d.port()
	d.send("RETR large")
	d.reply(150)
	down := d.accept()
	if _, err := io.ReadFull(down, make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	wire.cut()
	if n, err := io.Copy(io.Discard, down); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("after %d more bytes: %v, want a reset", n, err)
	}
}

// TestBounceByPortIsRefused has a client name what isn't its own.
func TestBounceByPortIsRefused(t *testing.T) {
	t.Parallel()
	server := peers.TestFTP(t, peers.VSFTPD, peers.FTPConfig{Root: t.TempDir()})
	tun := culvertSSHD.open(t, server, nil, nil)
	d := login(t, dial(t, tun.target.Addr), server)
	for line, code := range map[string]int{
		"PORT 127,0,0,2,200,10":     501, // another address
		"PORT 127,0,0,1,0,22":       504, // a service
		"EPRT |1|127.0.0.2|51210|":  501,
		"EPRT |2|::1|51210|":        522,
		"PORT 127,0,0,1,200,10,0,1": 501,
	} {
		d.command(code, line)
	}
	if log := server.Log(); strings.Contains(log, "PORT") || strings.Contains(log, "EPRT") || strings.Contains(log, "PASV") {
		t.Errorf("the server heard of it:\n%s", log)
	}
}

// TestActiveClientOfAServerWithoutPassiveModeHearsWhatHelps has one that culvert was told nothing about.
func TestActiveClientOfAServerWithoutPassiveModeHearsWhatHelps(t *testing.T) {
	t.Parallel()
	server := peers.TestFTP(t, peers.VSFTPD, peers.FTPConfig{Root: t.TempDir(), Lines: []string{noPassive}})
	tun := culvertSSHD.open(t, server, nil, nil)
	d := login(t, dial(t, tun.target.Addr), server)
	if text := d.command(502, "PORT 127,0,0,1,200,10"); !strings.Contains(text, "FTPActive forward") {
		t.Errorf("got %q, want FTPActive forward in it", text)
	}
	d.command(550, "PASV")
}
