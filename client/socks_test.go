package client

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/control"
	"github.com/culvert-ssh/culvert/ftp"
	"github.com/culvert-ssh/culvert/internal/peers"
	"github.com/culvert-ssh/culvert/relay"
	"github.com/culvert-ssh/culvert/socks"
)

// dynamic is a Run with -D, and where it is.
func dynamic(t *testing.T, ftpPort uint16, lines ...string) (r *running, at string) {
	t.Helper()
	_, cfg := bastion(t, lines...)
	cfg.Forwards = []Forward{{Kind: SOCKS}}
	cfg.FTPPorts = []uint16{ftpPort}
	r = start(t, cfg)
	return r, r.ready()
}

// bySOCKS asks for f by version 5, and returns what is answered.
func bySOCKS(t *testing.T, at string, f Forward) (c *net.TCPConn, answer string) {
	t.Helper()
	c = dial(t, at)
	return c, askSOCKS(t, c, f)
}

func askSOCKS(t *testing.T, c net.Conn, f Forward) (answer string) {
	t.Helper()
	ask := append([]byte("\x05\x01\x00\x05\x01\x00\x03"), byte(len(f.Host)))
	ask = binary.BigEndian.AppendUint16(append(ask, f.Host...), f.HostPort)
	if _, err := c.Write(ask); err != nil {
		t.Fatal(err)
	}
	reply := make([]byte, 2+10)
	if _, err := io.ReadFull(c, reply); err != nil {
		t.Fatalf("read the answer: %v", err)
	}
	return string(reply[2:4])
}

func TestSOCKSKeepsHalfClose(t *testing.T) {
	to := destination(t, func(c *net.TCPConn) {
		got, err := io.ReadAll(c) // until the client's end
		fmt.Fprintf(c, "got %d bytes, %v", len(got), err)
	})
	_, at := dynamic(t, 21)
	to.Host = "localhost"
	c, answer := bySOCKS(t, at, to)
	if answer != "\x05\x00" {
		t.Fatalf("answered %q", answer)
	}
	if _, err := c.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); string(got) != "got 1048576 bytes, <nil>" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestSOCKSSaysWhoRefuses(t *testing.T) {
	closed := unused(t)
	for _, test := range []struct {
		name, answer, log string
		ftpPort           uint16
		lines             []string
	}{
		{name: "nobody listens", answer: "\x05\x04", log: "can't reach " + closed.Target()},
		{name: "the bastion doesn't want it", answer: "\x05\x02", log: "the bastion refused " + closed.Target(), lines: []string{"AllowTcpForwarding no"}},
		{name: "no FTP server listens", answer: "\x05\x04", log: "FTP is not available", ftpPort: closed.HostPort},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, at := dynamic(t, test.ftpPort, test.lines...)
			c, answer := bySOCKS(t, at, closed)
			if got, err := io.ReadAll(c); answer != test.answer || len(got) > 0 || err != nil {
				t.Errorf("answered %q and %q, %v; want %q and the end", answer, got, err, test.answer)
			}
			r.log.wait(t, test.log)
		})
	}
}

// A web page can have a browser connect to a port of this machine.
func TestWhoSpeaksNoSOCKSIsReset(t *testing.T) {
	r, at := dynamic(t, 21)
	c := dial(t, at)
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	wantReset(t, c)
	r.log.wait(t, "speaks something else")
}

func TestSOCKSFollowsFTP(t *testing.T) {
	for _, addr := range []string{"127.0.0.1", "::1"} {
		server := peers.TestFTP(t, peers.VSFTPD, peers.FTPConfig{Root: t.TempDir(), Addr: netip.MustParseAddr(addr)})
		r, at := dynamic(t, server.Addr.Port())
		for _, client := range peers.SOCKSClients() {
			for _, mode := range []string{"EPSV", "PASV", "active"} {
				if addr == "::1" && (mode == "PASV" || !client.IPv6()) || mode != "EPSV" && client != peers.CurlSOCKS {
					continue
				}
				t.Run(strings.Join([]string{addr, string(client), mode}, " "), func(t *testing.T) {
					ctx, cancel := context.WithTimeout(t.Context(), patience)
					defer cancel()
					target := server.Target()
					target.SOCKS = netip.MustParseAddrPort(at)
					target.PASV, target.Active = mode == "PASV", mode == "active"
					transfers(ctx, t, client, server, target)
				})
			}
		}
		r.log.wait(t, "FTP control connection ended")
	}
}

// A client that goes by the host of its control connection, a name, and one that goes by the address that it is told.
func TestSOCKSDataByNameAndByAddress(t *testing.T) {
	server := peers.TestFTP(t, peers.VSFTPD, peers.FTPConfig{Root: t.TempDir()})
	want := randomFile(t, server.Root+"/f", 1<<10)
	_, at := dynamic(t, server.Addr.Port())
	for _, name := range []string{"localhost", "LOCALHOST", "127.0.0.1"} {
		conn, answer := bySOCKS(t, at, Forward{Host: "localhost", HostPort: server.Addr.Port()})
		if answer != "\x05\x00" {
			t.Fatalf("answered %q", answer)
		}
		f := loggedInBy(t, conn, server.Target())
		told := netip.MustParseAddrPort(f.pasv())
		if told.Addr() != loopback4 {
			t.Fatalf("told %v, want the proxy's address, as the server is on the bastion's loopback", told)
		}
		f.say("RETR f")
		data, answer := bySOCKS(t, at, Forward{Host: name, HostPort: told.Port()})
		if got, err := io.ReadAll(data); answer != "\x05\x00" || string(got) != string(want) || err != nil {
			t.Errorf("by %s: answered %q, %d bytes, %v; want the file", name, answer, len(got), err)
		}
		f.want("150")
		f.want("226")
		if _, answer := bySOCKS(t, at, Forward{Host: name, HostPort: told.Port()}); answer == "\x05\x00" {
			t.Errorf("by %s: asked for it again, and got it", name)
		}
	}
}

func TestSOCKSDataIsTheOwnersAlone(t *testing.T) {
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client := dial(t, ln.Addr().String())
	conn, err := ln.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	owner, err := control.NewOwner(relay.AddrPort(conn.RemoteAddr()), relay.AddrPort(conn.LocalAddr()))
	if err != nil {
		t.Fatal(err)
	}
	other := owner
	other.UID++
	names := new(dataNames)
	session := names.session("ftp.corp", loopback4)
	expect := func(o control.Owner) (*namedData, netip.AddrPort) {
		t.Helper()
		d, at, err := session.expect(ftp.Endpoint{Mode: ftp.PASV, Announced: netip.MustParseAddr("10.1.60.99")}, serverSide{}, o, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		return d, at
	}
	mine, at := expect(owner)
	theirs, _ := expect(other)
	if at.Addr() != netip.MustParseAddr("10.1.60.99") {
		t.Errorf("told %v, want the address that the server says", at)
	}
	for _, test := range []struct {
		name string
		req  socks.Request
		want *namedData
	}{
		{"another host", socks.Request{Host: "db.corp", Port: mine.port}, nil},
		{"another user's", socks.Request{Host: "ftp.corp", Port: theirs.port}, nil},
		{"the owner's", socks.Request{Host: "10.1.60.99", Port: mine.port}, mine},
		{"the owner's again", socks.Request{Host: "10.1.60.99", Port: mine.port}, nil},
	} {
		if got := names.take(test.req, conn); got != test.want {
			t.Errorf("%s: got %v, want %v", test.name, got, test.want)
		}
	}
	theirs.withdraw()
	if len(names.waiting) > 0 {
		t.Errorf("%d are waited for still", len(names.waiting))
	}
	_ = client.Close()
}

// The server's word about addresses of this machine is not passed on: a client might take them for its own.
func TestWhatASOCKSClientIsTold(t *testing.T) {
	for _, test := range []struct{ host, announced, hop, want, seen string }{
		{"ftp.corp", "10.1.60.99", "127.0.0.1", "10.1.60.99", "127.0.0.1"},
		{"ftp.corp", "10.1.60.99", "::1", "10.1.60.99", "127.0.0.1"},
		{"ftp.corp", "127.0.0.1", "127.0.0.1", "127.0.0.1", "127.0.0.1"},
		{"ftp.corp", "0.0.0.0", "10.0.0.7", "10.0.0.7", "10.0.0.7"},
		{"ftp.corp", "", "::1", "127.0.0.1", "127.0.0.1"},
		{"192.0.2.1", "10.1.60.99", "127.0.0.1", "192.0.2.1", "192.0.2.1"},
		{"2001:db8::1", "", "127.0.0.1", "2001:db8::1", "2001:db8::1"},
	} {
		announced, _ := netip.ParseAddr(test.announced)
		s := new(dataNames).session(test.host, netip.MustParseAddr(test.hop))
		if got := s.address(ftp.Endpoint{Announced: announced}); got.String() != test.want || s.seen.String() != test.seen {
			t.Errorf("%s at %s, announced %s: told %v, seen %v; want %s, %s", test.host, test.hop, test.announced, got, s.seen, test.want, test.seen)
		}
	}
}

func TestRemoteSOCKSOpensWhatIsPermitted(t *testing.T) {
	to := destination(t, func(c *net.TCPConn) { _, _ = io.WriteString(c, "hello") })
	closed := unused(t)
	_, cfg := bastion(t)
	cfg.RemoteForwards = []Forward{{Kind: SOCKS, Bind: "127.0.0.1"}}
	if err := cfg.Set("PermitRemoteOpen", to.Target()+" "+closed.Target()); err != nil {
		t.Fatal(err)
	}
	r := start(t, cfg)
	at := r.ready()
	c, answer := bySOCKS(t, at, to)
	if got, err := io.ReadAll(c); answer != "\x05\x00" || string(got) != "hello" || err != nil {
		t.Errorf("permitted: answered %q, %q, %v", answer, got, err)
	}
	if _, answer := bySOCKS(t, at, closed); answer != "\x05\x05" {
		t.Errorf("permitted, and nobody listens: answered %q, want that it is refused", answer)
	}
	to.Host = "localhost"
	if _, answer := bySOCKS(t, at, to); answer != "\x05\x02" {
		t.Errorf("not permitted: answered %q, want that it is not allowed", answer)
	}
	r.log.wait(t, "PermitRemoteOpen doesn't permit it")
}

func TestPermitRemoteOpen(t *testing.T) {
	for _, test := range []struct {
		value, host string
		port        uint16
		want        bool
	}{
		{"any", "h", 1, true},
		{"none", "h", 1, false},
		{"h:1", "H", 1, true},
		{"h:1", "h", 2, false},
		{"h:*", "h", 2, true},
		{"*:2 h:1", "x", 2, true},
		{"*:2 h:1", "x", 1, false},
		{"[::ffff:10.0.0.1]:1", "10.0.0.1", 1, true},
	} {
		cfg := NewConfig("", "")
		if err := cfg.Set("PermitRemoteOpen", test.value); err != nil {
			t.Fatal(err)
		}
		got := false
		for _, o := range cfg.PermitRemoteOpen {
			got = got || o.permits(test.host, test.port)
		}
		if got != test.want {
			t.Errorf("%q, %s:%d: got %t", test.value, test.host, test.port, got)
		}
	}
}

func TestOutcomes(t *testing.T) {
	for _, test := range []struct {
		reason ssh.RejectionReason
		want   socks.Outcome
	}{
		{ssh.Prohibited, socks.NotAllowed},
		{ssh.ConnectionFailed, socks.Unreachable},
		{ssh.ResourceShortage, socks.Failed},
	} {
		if got := outcome(openError("h:1", &ssh.OpenChannelError{Reason: test.reason})); got != test.want {
			t.Errorf("%v: got %d, want %d", test.reason, got, test.want)
		}
	}
	if got := outcome(os.ErrDeadlineExceeded); got != socks.Failed {
		t.Errorf("something else: got %d, want %d", got, socks.Failed)
	}
}

// What a client that speaks TLS with the server itself asks for is carried as it is: nobody can read what was announced.
func TestSOCKSWithTLSThatNobodyReads(t *testing.T) {
	ca := peers.TestCA(t, "ca")
	id := ca.TestIdentity(t, peers.Certificate{Names: []string{"127.0.0.1"}})
	server := peers.TestFTP(t, peers.VSFTPD, peers.FTPConfig{Root: t.TempDir(), TLS: &peers.FTPTLS{Identity: id}})
	_, cfg := bastion(t)
	cfg.Forwards, cfg.FTPPorts = []Forward{{Kind: SOCKS}}, []uint16{server.Addr.Port()}
	cfg.OpaquePorts = []uint16{50000} // which nobody listens at
	r := start(t, cfg)
	target := server.Target()
	target.SOCKS, target.CA = netip.MustParseAddrPort(r.ready()), ca.Path
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	transfers(ctx, t, peers.CurlSOCKS, server, target)
	r.log.wait(t, "the FTP client speaks TLS with the server itself")
}
