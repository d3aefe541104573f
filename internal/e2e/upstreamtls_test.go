package e2e

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/culvert-ssh/culvert/internal/peers"
)

// TestPlainClientsOfServersThatRequireTLS is each client, none of which speaks TLS here, and each server, none of which speaks anything else, by
// both versions of TLS, through somebody else's SSH server. vsftpd and proftpd require each data connection to resume the session.
func TestPlainClientsOfServersThatRequireTLS(t *testing.T) {
	ca := peers.TestCA(t, "ca")
	id := ca.TestIdentity(t, peers.Certificate{Names: []string{"127.0.0.1"}})
	files := makeFilesOf(t, 4<<20, 12)
	for _, kind := range peers.FTPServers() {
		for _, version := range []string{"1.2", "1.3"} {
			for _, implicit := range []bool{false, true} {
				if implicit && kind == peers.PureFTPD {
					continue // it has none
				}
				t.Run(fmt.Sprintf("%s/%s/implicit %v", kind, version, implicit), func(t *testing.T) {
					t.Parallel()
					root := t.TempDir()
					files.linkInto(t, filepath.Join(root, "files"))
					server := peers.TestFTP(t, kind, peers.FTPConfig{Root: root, TLS: &peers.FTPTLS{Identity: id, Implicit: implicit}})
					r := route{path: culvertSSHD, implicit: implicit, culvert: []string{
						"-o", "FTPUpstreamTLSCAFile=" + ca.Path, "-o", "FTPUpstreamTLSMaxVersion=" + version,
					}}
					if !implicit {
						r.culvert = append(r.culvert, "-o", "FTPUpstreamTLS=require")
					}
					tun := r.open(t, server)
					clients := []peers.FTPClient{peers.Curl}
					if version == "1.3" && !implicit {
						clients = append(peers.FTPClients(), peers.Ftplib)
					}
					for _, client := range clients {
						t.Run(string(client), func(t *testing.T) { files.cell(t, client, tun.target, root) })
					}
				})
			}
		}
	}
}

// serverTLS is what a server of the test presents.
func serverTLS(t *testing.T, id peers.Identity) *tls.Config {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(id.Path, id.Path)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}}
}

// told is a connection of the server at whose end package tls tells close_notify from an end without.
type told struct{ *net.TCPConn }

func (c told) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
	if err == io.EOF {
		err = errors.New("an end without close_notify") // package tls takes io.ErrUnexpectedEOF for io.EOF
	}
	return n, err
}

// TestEndsInsideTLSAreToldApartBehindAForeignSSHServer: what sshd makes of an end is the same for all of them, but the FTP server's end
// of TLS and culvert's tell.
func TestEndsInsideTLSAreToldApartBehindAForeignSSHServer(t *testing.T) {
	t.Parallel()
	ca := peers.TestCA(t, "ca")
	conf := serverTLS(t, ca.TestIdentity(t, peers.Certificate{Names: []string{"127.0.0.1"}}))
	const part = "a part of the file, or all of it"
	for _, e := range []struct {
		name, verb string
		end        func(client *net.TCPConn, server *tls.Conn, tun *tunnel, wire *gate)
		complete   bool
	}{
		{"the server ends a download", "RETR", func(_ *net.TCPConn, s *tls.Conn, _ *tunnel, _ *gate) { s.Close() }, true},
		{"the server's connection ends in a download", "RETR", func(_ *net.TCPConn, s *tls.Conn, _ *tunnel, _ *gate) { s.NetConn().Close() }, false},
		{"the server breaks a download off", "RETR", func(_ *net.TCPConn, s *tls.Conn, _ *tunnel, _ *gate) {
			reset(s.NetConn().(told).TCPConn)
		}, false},
		{"the SSH connection is lost in a download", "RETR", func(_ *net.TCPConn, _ *tls.Conn, _ *tunnel, w *gate) { w.cut() }, false},
		{"the client ends an upload", "STOR", func(c *net.TCPConn, _ *tls.Conn, _ *tunnel, _ *gate) { _ = c.CloseWrite() }, true},
		{"the client breaks an upload off", "STOR", func(c *net.TCPConn, _ *tls.Conn, _ *tunnel, _ *gate) { reset(c) }, false},
		{"the SSH connection is lost in an upload", "STOR", func(_ *net.TCPConn, _ *tls.Conn, _ *tunnel, w *gate) { w.cut() }, false},
		{"culvert is killed in an upload", "STOR", func(_ *net.TCPConn, _ *tls.Conn, tun *tunnel, _ *gate) {
			tun.client.signal(syscall.SIGKILL)
		}, false},
	} {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			server, wire := newTLSPuppet(t, conf, "234 Go ahead"), newGate(math.MaxInt64, false)
			tun := route{path: culvertSSHD, wire: wire, culvert: []string{
				"-o", "FTPUpstreamTLS=require", "-o", "FTPUpstreamTLSCAFile=" + ca.Path,
			}}.open(t, server.FTP)
			d := login(t, tun.connect(t, 0), server.FTP)
			client := tun.connect(t, d.endpoint())
			if err := d.PrintfLine("%s file", e.verb); err != nil {
				t.Fatal(err)
			}
			x := server.next()
			defer close(x.over)
			x.say("150 Here it comes")
			d.reply(150)
			inside := tls.Server(told{x.data}, conf)
			var sender, receiver net.Conn = client, inside
			if e.verb == "RETR" {
				sender, receiver = inside, client
			}
			if _, err := io.WriteString(sender, part); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, len(part))
			if _, err := io.ReadFull(receiver, got); err != nil || string(got) != part {
				t.Fatalf("got %q, %v, want %q", got, err, part)
			}
			if !inside.ConnectionState().DidResume {
				t.Error("the data connection didn't resume the session of the control connection")
			}
			e.end(client, inside, tun, wire)
			if rest, err := io.ReadAll(receiver); len(rest) > 0 || (err == nil) != e.complete {
				t.Errorf("got %q and %v at the end, want nothing, and an end in order: %v", rest, err, e.complete)
			} else if e.verb == "RETR" && !e.complete && !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("got %v, want a reset", err)
			}
		})
	}
}

// TestServerThatIsNotTrustedIsNotSpokenTo: the FTP client is told what is wrong, and what to do, in place of the greeting.
func TestServerThatIsNotTrustedIsNotSpokenTo(t *testing.T) {
	t.Parallel()
	ca, other := peers.TestCA(t, "ca"), peers.TestCA(t, "other")
	good := ca.TestIdentity(t, peers.Certificate{Names: []string{"127.0.0.1"}})
	elsewhere := ca.TestIdentity(t, peers.Certificate{Names: []string{"ftp.corp", "10.1.60.99"}})
	expired := ca.TestIdentity(t, peers.Certificate{
		Names: []string{"127.0.0.1"}, NotBefore: time.Now().Add(-72 * time.Hour), NotAfter: time.Now().Add(-48 * time.Hour),
	})
	pin := func(id peers.Identity) string {
		sum := sha256.Sum256(id.Cert.RawSubjectPublicKeyInfo)
		return "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:])
	}
	const agrees = "234 Go ahead"
	for _, tc := range []struct {
		name    string
		id      *peers.Identity // nil: no TLS
		agrees  string
		path    path
		options []string
		want    []string // in the first line that the client hears
	}{
		{"by its CA", &good, agrees, culvertSSHD, []string{"FTPUpstreamTLS=require", "FTPUpstreamTLSCAFile=" + ca.Path}, []string{"220 pulled"}},
		{"by its key", &good, agrees, culvertSSHD, []string{"FTPUpstreamTLS=prefer", "FTPUpstreamTLSPin=" + pin(good)}, []string{"220 pulled"}},
		{"by its key, with nothing else right", &expired, agrees, culvertSSHD, []string{"FTPUpstreamTLS=require", "FTPUpstreamTLSPin=" + pin(expired)}, []string{"220 pulled"}},
		{"another key", &good, agrees, culvertSSHD, []string{"FTPUpstreamTLS=require", "FTPUpstreamTLSPin=" + pin(expired)}, []string{"421 ", pin(good), "FTPUpstreamTLSPin does not name"}},
		{"another CA", &good, agrees, culvertSSHD, []string{"FTPUpstreamTLS=prefer", "FTPUpstreamTLSCAFile=" + other.Path}, []string{"421 ", `"CN=ca"`, "not in FTPUpstreamTLSCAFile"}},
		{"the system's CAs", &good, agrees, culvertSSHD, []string{"FTPUpstreamTLS=require"}, []string{"421 ", `"CN=ca"`, "FTPUpstreamTLSCAFile", pin(good)}},
		{"wrong name", &elsewhere, agrees, culvertSSHD, []string{"FTPUpstreamTLS=require", "FTPUpstreamTLSCAFile=" + ca.Path}, []string{"421 ", `"ftp.corp", 10.1.60.99`, `not for "127.0.0.1"`}},
		{"expired", &expired, agrees, culvertSSHD, []string{"FTPUpstreamTLS=require", "FTPUpstreamTLSCAFile=" + ca.Path}, []string{"421 ", "not now", "needs a new one"}},
		{"no TLS, required", nil, "", culvertSSHD, []string{"FTPUpstreamTLS=require"}, []string{"421 ", "(502)", "FTPUpstreamTLS=prefer"}},
		{"no TLS, preferred", nil, "", culvertSSHD, []string{"FTPUpstreamTLS=prefer"}, []string{"220 pulled"}},
		{"no TLS, as culvertd reads FTP", &good, agrees, culvertCulvertd, []string{"FTPUpstreamTLS=require"}, []string{"421 ", "(502)", "ask its administrator for FTPUpstreamTLS there"}},
		{"a login behind 234", &good, agrees + "\r\n230 Come in", culvertSSHD, []string{"FTPUpstreamTLS=require", "FTPUpstreamTLSCAFile=" + ca.Path}, []string{"421 ", "spoke on in the clear"}},
		{"something else than 234", &good, "200 Go ahead", culvertSSHD, []string{"FTPUpstreamTLS=prefer", "FTPUpstreamTLSCAFile=" + ca.Path}, []string{"421 ", "something else than TLS"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var conf *tls.Config
			if tc.id != nil {
				conf = serverTLS(t, *tc.id)
			}
			server := newTLSPuppet(t, conf, tc.agrees)
			r := route{path: tc.path}
			for _, o := range tc.options {
				r.culvert = append(r.culvert, "-o", o)
			}
			conn := r.open(t, server.FTP).connect(t, 0)
			line, err := bufio.NewReader(conn).ReadString('\n')
			if err != nil {
				t.Fatalf("the client hears %q, %v", line, err)
			}
			for _, want := range tc.want {
				if !strings.Contains(line, want) {
					t.Errorf("the client hears %q, want %q in it", line, want)
				}
			}
		})
	}
}

// TestUploadCutShortInsideTLSIsNotTakenForTheFile breaks uploads to real servers off, of which sshd makes an orderly end.
func TestUploadCutShortInsideTLSIsNotTakenForTheFile(t *testing.T) {
	t.Parallel()
	ca := peers.TestCA(t, "ca")
	id := ca.TestIdentity(t, peers.Certificate{Names: []string{"127.0.0.1"}})
	for _, kind := range peers.FTPServers() {
		for _, version := range []string{"1.2", "1.3"} {
			t.Run(string(kind)+"/"+version, func(t *testing.T) {
				t.Parallel()
				server := peers.TestFTP(t, kind, peers.FTPConfig{Root: t.TempDir(), TLS: &peers.FTPTLS{Identity: id}})
				tun := route{path: culvertSSHD, culvert: []string{
					"-o", "FTPUpstreamTLS=require", "-o", "FTPUpstreamTLSCAFile=" + ca.Path, "-o", "FTPUpstreamTLSMaxVersion=" + version,
				}}.open(t, server)
				d := login(t, tun.connect(t, 0), server)
				d.command(200, "TYPE I")

				up := tun.connect(t, d.endpoint())
				d.command(150, "STOR whole")
				if _, err := up.Write(make([]byte, 100<<10)); err != nil {
					t.Fatal(err)
				}
				if err := up.CloseWrite(); err != nil {
					t.Fatal(err)
				}
				d.reply(226)

				up = tun.connect(t, d.endpoint())
				d.command(150, "STOR half")
				if _, err := up.Write(make([]byte, 100<<10)); err != nil {
					t.Fatal(err)
				}
				reset(up)
				// proftpd ends the whole session.
				if code, text, err := d.ReadResponse(0); code != 0 && code < 400 || err != nil && kind != peers.ProFTPD {
					t.Errorf("the server says %d %q, %v; want a failure", code, text, err)
				}
				idle, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				d.Close()
				if err := server.Idle(idle); err != nil {
					t.Fatal(err)
				}
				if _, err := os.Stat(filepath.Join(server.Root, "half")); err == nil && kind != peers.PureFTPD { // which keeps it
					t.Errorf("%s keeps a part of the upload as if it were the file", kind)
				}
			})
		}
	}
}
