package client

import (
	"bufio"
	"context"
	"crypto/rand"
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

// ftpForward starts vsftpd behind a bastion and a Run with an FTP forward to it.
func ftpForward(t *testing.T, addr netip.Addr) (server *peers.FTP, r *running, target peers.Target, wire wire) {
	t.Helper()
	server = peers.TestFTP(t, peers.VSFTPD, peers.FTPConfig{Root: t.TempDir(), Addr: addr})
	_, cfg := bastion(t)
	wire = flaky(t, cfg)
	cfg.Forwards = []Forward{{Kind: FTP, Host: server.Addr.Addr().String(), HostPort: server.Addr.Port()}}
	if server.Addr.Addr().Is6() {
		cfg.Forwards[0].Bind = "::1"
	}
	r = start(t, cfg)
	target = server.Target()
	target.Addr = netip.MustParseAddrPort(r.ready())
	return server, r, target, wire
}

func randomFile(t *testing.T, path string, size int) []byte {
	t.Helper()
	data := make([]byte, size)
	_, _ = rand.Read(data) // never fails
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return data
}

func wantFile(t *testing.T, path string, want []byte) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || string(got) != string(want) {
		t.Errorf("%s: got %d bytes, %v; want the same %d bytes", filepath.Base(path), len(got), err, len(want))
	}
}

func TestFTPClientsTransferThroughOpenSSH(t *testing.T) {
	for _, addr := range []string{"127.0.0.1", "::1"} {
		for _, client := range []peers.FTPClient{peers.Curl, peers.LFTP} {
			t.Run(fmt.Sprintf("%s to %s", client, addr), func(t *testing.T) {
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				defer cancel()
				server, _, target, _ := ftpForward(t, netip.MustParseAddr(addr))
				transfers(ctx, t, client, server, target)
			})
		}
	}
}

// ftpTalk is an FTP client that sees everything.
type ftpTalk struct {
	t *testing.T
	*net.TCPConn
	in *bufio.Reader
}

func loggedIn(t *testing.T, target peers.Target) *ftpTalk {
	t.Helper()
	return loggedInBy(t, dial(t, target.Addr.String()), target)
}

func newTalk(t *testing.T, c *net.TCPConn) *ftpTalk { return &ftpTalk{t, c, bufio.NewReader(c)} }

// loggedInBy is loggedIn over a connection that is there.
func loggedInBy(t *testing.T, c *net.TCPConn, target peers.Target) *ftpTalk {
	t.Helper()
	f := newTalk(t, c)
	f.want("220")
	f.say("USER " + target.User)
	f.want("331")
	f.say("PASS " + target.Password)
	f.want("230")
	return f
}

func (f *ftpTalk) say(line string) {
	f.t.Helper()
	if _, err := io.WriteString(f, line+"\r\n"); err != nil {
		f.t.Fatal(err)
	}
}

// want returns the last line of the next reply, which must have this code.
func (f *ftpTalk) want(code string) string {
	f.t.Helper()
	for {
		line, err := f.in.ReadString('\n')
		if err != nil {
			f.t.Fatalf("want a %s reply: %v", code, err)
		}
		if len(line) > 3 && line[3] == ' ' {
			if !strings.HasPrefix(line, code) {
				f.t.Fatalf("got %q, want a %s reply", line, code)
			}
			return strings.TrimSpace(line)
		}
	}
}

// pasv returns where the data connection goes.
func (f *ftpTalk) pasv() string {
	f.t.Helper()
	f.say("PASV")
	reply := f.want("227")
	var a [6]byte
	if _, err := fmt.Sscanf(reply, "227 Entering Passive Mode (%d,%d,%d,%d,%d,%d)", &a[0], &a[1], &a[2], &a[3], &a[4], &a[5]); err != nil {
		f.t.Fatalf("%q: %v", reply, err)
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(a[:4])), uint16(a[4])<<8|uint16(a[5])).String()
}

// beginDownload begins to download a file and returns the data connection after its first MiB.
func (f *ftpTalk) beginDownload(name string) *net.TCPConn {
	f.t.Helper()
	down := dial(f.t, f.pasv())
	f.say("RETR " + name)
	f.want("150")
	if _, err := io.ReadFull(down, make([]byte, 1<<20)); err != nil {
		f.t.Fatal(err)
	}
	return down
}

func TestLostConnectionResetsTransfers(t *testing.T) {
	server, r, target, wire := ftpForward(t, netip.Addr{})
	randomFile(t, filepath.Join(server.Root, "big"), 16<<20)
	f := loggedIn(t, target)
	down := f.beginDownload("big")
	wire.cut()
	wantReset(t, down)
	f.want("421")
	if rest, err := io.ReadAll(f.in); len(rest) > 0 || err != nil {
		t.Errorf("after the 421: got %q, %v, want the end", rest, err)
	}
	if err := r.end(); !errors.Is(err, ErrConnectionLost) {
		t.Errorf("Run: got %v, want that the connection was lost", err)
	}
}

func TestServerThatDiesDoesNotEndADownload(t *testing.T) {
	server, _, target, _ := ftpForward(t, netip.Addr{})
	randomFile(t, filepath.Join(server.Root, "big"), 16<<20)
	f := loggedIn(t, target)
	down := f.beginDownload("big")
	server.Kill()
	// What OpenSSH tells of a reset is no more than an end; the control connection's end without a 226 must
	// reach the client all the same.
	_, _ = io.Copy(io.Discard, down)
	if line, err := f.in.ReadString('\n'); err == nil && strings.HasPrefix(line, "226") {
		t.Errorf("got %q, want no word that the transfer is complete", line)
	}
}

func TestAbortAsUrgentData(t *testing.T) {
	server, _, target, _ := ftpForward(t, netip.Addr{})
	randomFile(t, filepath.Join(server.Root, "big"), 16<<20)
	f := loggedIn(t, target)
	down := f.beginDownload("big")
	raw, err := f.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var sendErr error
	if err := raw.Control(func(fd uintptr) {
		sendErr = syscall.Sendto(int(fd), []byte("\xff\xf4\xff"), syscall.MSG_OOB, nil)
	}); err != nil || sendErr != nil {
		t.Fatal(err, sendErr)
	}
	f.say("\xf2ABOR")
	_, _ = io.Copy(io.Discard, down)
	f.want("226") // vsftpd looks for commands only when the transfer is over
	f.want("225")
	f.say("NOOP")
	f.want("200")
	if want := `"ABOR"`; !strings.Contains(server.Log(), want) {
		t.Errorf("the server's log has no %s", want)
	}
}

func TestDataListenerIsForThisSessionAlone(t *testing.T) {
	_, _, target, _ := ftpForward(t, netip.Addr{})
	f := loggedIn(t, target)
	at := f.pasv()
	if host, _, _ := net.SplitHostPort(at); host != "127.0.0.1" {
		t.Errorf("got data at %s, want the control connection's own address", at)
	}
	wantResetFrom(t, "127.0.0.2", at)
	data := dial(t, at)
	f.say("NLST")
	f.want("150")
	if _, err := io.Copy(io.Discard, data); err != nil {
		t.Error(err)
	}
	f.want("226")
	wantRefused(t, at)
	f.say("QUIT")
	f.want("221")
}
