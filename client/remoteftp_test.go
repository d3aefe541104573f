package client

import (
	"bufio"
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

	"github.com/culvert-ssh/culvert/control"
	"github.com/culvert-ssh/culvert/internal/peers"
	"github.com/culvert-ssh/culvert/relay"
)

// remoteFTP starts an FTP server near culvert, and a Run that has OpenSSH's sshd listen for its clients.
func remoteFTP(t *testing.T, kind peers.FTPServer, change func(*Config), lines ...string) (server *peers.FTP, r *running, target peers.Target) {
	t.Helper()
	server = peers.TestFTP(t, kind, peers.FTPConfig{Root: t.TempDir()})
	r, at := remoteFTPTo(t, server.Addr, change, lines...)
	target = server.Target()
	target.Addr = at
	return server, r, target
}

// remoteFTPTo is remoteFTP for any server. It returns where the clients connect to.
func remoteFTPTo(t *testing.T, server netip.AddrPort, change func(*Config), lines ...string) (r *running, at netip.AddrPort) {
	t.Helper()
	_, cfg := bastion(t, lines...)
	cfg.RemoteForwards = []Forward{{Kind: FTP, Bind: "127.0.0.1", Host: server.Addr().String(), HostPort: server.Port()}}
	if change != nil {
		change(cfg)
	}
	r = start(t, cfg)
	_, port, _ := strings.Cut(r.ready(), ":")
	return r, netip.MustParseAddrPort("127.0.0.1:" + port)
}

func TestFTPClientsNearOpenSSHTransfer(t *testing.T) {
	for client, kind := range map[peers.FTPClient]peers.FTPServer{
		peers.Curl: peers.PureFTPD, peers.LFTP: peers.VSFTPD, peers.NcFTP: peers.ProFTPD,
	} {
		t.Run(fmt.Sprintf("%s from %s", client, kind), func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			server, _, target := remoteFTP(t, kind, nil)
			transfers(ctx, t, client, server, target)
		})
	}
}

// transfers downloads, uploads and lists.
func transfers(ctx context.Context, t *testing.T, client peers.FTPClient, server *peers.FTP, target peers.Target) {
	t.Helper()
	folder := t.TempDir()
	for i, size := range []int{0, 1, 3 << 20} {
		name := fmt.Sprintf("down%d", i)
		want := randomFile(t, filepath.Join(server.Root, name), size)
		if out, err := client.Download(ctx, target, name, filepath.Join(folder, name)); err != nil {
			t.Fatalf("download of %d bytes: %v\n%s", size, err, out)
		}
		wantFile(t, filepath.Join(folder, name), want)

		name = fmt.Sprintf("up%d", i)
		want = randomFile(t, filepath.Join(folder, name), size)
		if out, err := client.Upload(ctx, target, filepath.Join(folder, name), name); err != nil {
			t.Fatalf("upload of %d bytes: %v\n%s", size, err, out)
		}
		wantFile(t, filepath.Join(server.Root, name), want)
	}
	if out, err := client.List(ctx, target, ""); err != nil || !strings.Contains(out, "down2") || !strings.Contains(out, "up2") {
		t.Errorf("list: got %q, %v; want the files in it", out, err)
	}
}

func TestDataOfARemoteForwardIsTheClientsAlone(t *testing.T) {
	server, r, target := remoteFTP(t, peers.VSFTPD, nil)
	want := randomFile(t, filepath.Join(server.Root, "f"), 1<<10)
	f := loggedIn(t, target)
	at := f.pasv()
	wantNothing(t, "127.0.0.2", at)
	r.log.wait(t, "somebody else's data connection was refused")

	down := dial(t, at)
	f.say("RETR f")
	f.want("150")
	if got, err := io.ReadAll(down); string(got) != string(want) || err != nil {
		t.Errorf("got %d bytes, %v; want the file", len(got), err)
	}
	f.want("226")
	wantGone(t, at)

	at = f.pasv()
	if next := f.pasv(); next == at {
		t.Errorf("both at %s", at)
	}
	wantGone(t, at)
	at = f.pasv()
	f.say("QUIT")
	f.want("221")
	wantGone(t, at)
}

// TestSuccessWaitsForTheClientsData: sshd makes an orderly end of what it has not handed on when the SSH connection is lost, so that a client which has
// heard of the success by then takes the part for the whole.
func TestSuccessWaitsForTheClientsData(t *testing.T) {
	const size = 3 << 20 // it fits into an SSH window and the buffers on the way, so that the server says 226 though nobody reads
	server, r, target := remoteFTP(t, peers.VSFTPD, nil)
	randomFile(t, filepath.Join(server.Root, "f"), size)
	f := loggedIn(t, target)
	down := dial(t, f.pasv())
	if err := down.SetReadBuffer(16 << 10); err != nil {
		t.Fatal(err)
	}
	f.say("RETR f")
	f.want("150")
	for deadline := time.Now().Add(patience); !strings.Contains(server.Log(), "226 Transfer complete"); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the server doesn't say 226, whose buffers should take the file")
		}
	}
	r.stop()
	if said, _ := io.ReadAll(f.in); strings.Contains(string(said), "226") {
		got, _ := io.Copy(io.Discard, down)
		t.Errorf("a client that has %d of %d bytes was told %q", got, size, said)
	}
}

// TestSuccessComesWhereTheClientWaitsForIt with the end of its data connection.
func TestSuccessComesWhereTheClientWaitsForIt(t *testing.T) {
	server, _, target := remoteFTP(t, peers.VSFTPD, nil)
	want := randomFile(t, filepath.Join(server.Root, "f"), 3<<20)
	f := loggedIn(t, target)
	down := dial(t, f.pasv())
	f.say("RETR f")
	f.want("150")
	if got, err := io.ReadAll(down); string(got) != string(want) || err != nil {
		t.Errorf("got %d bytes, %v; want the file", len(got), err)
	}
	f.want("226")
}

// wantNothing connects from a given loopback address and expects no byte.
func wantNothing(t *testing.T, from, to string) {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: patience}
	c, err := dialer.Dial("tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	if n, err := io.Copy(io.Discard, c); n > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%s to %s: got %d bytes, %v; want it ended", from, to, n, err)
	}
}

// wantGone waits until nobody listens, as nobody waits for the answer to a cancel.
func wantGone(t *testing.T, at string) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		c, err := net.DialTimeout("tcp", at, patience)
		if errors.Is(err, syscall.ECONNREFUSED) {
			return
		}
		if err == nil {
			_ = c.Close()
		}
	}
	t.Errorf("%s is still listened on", at)
}

func TestTenStrangersCloseADataEndpoint(t *testing.T) {
	_, _, target := remoteFTP(t, peers.VSFTPD, nil)
	f := loggedIn(t, target)
	at := f.pasv()
	for range control.MaxRejects {
		wantNothing(t, "127.0.0.2", at)
	}
	wantGone(t, at)
	f.say("NOOP")
	f.want("200")
}

func TestGatewayPortsOfOpenSSH(t *testing.T) {
	for gateway, binds := range map[string]map[string]string{ // where the client connects to by what is asked for
		"no":              {"": "127.0.0.1", "*": "127.0.0.1"},
		"yes":             {"": "127.0.0.1", "*": "127.0.0.2", "127.0.0.3": "127.0.0.3"},
		"clientspecified": {"": "127.0.0.1", "*": "127.0.0.1", "127.0.0.3": "127.0.0.3"},
	} {
		for bind, to := range binds {
			t.Run(gateway+" "+bind, func(t *testing.T) {
				t.Parallel()
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				defer cancel()
				server, _, target := remoteFTP(t, peers.PureFTPD, func(cfg *Config) {
					cfg.RemoteForwards[0].Bind, cfg.RemoteForwards[0].Port = bind, peers.TestPort(t)
				}, "GatewayPorts "+gateway)
				target.Addr = netip.AddrPortFrom(netip.MustParseAddr(to), target.Addr.Port())
				want := randomFile(t, filepath.Join(server.Root, "f"), 1<<20)
				for _, client := range []peers.FTPClient{peers.Curl, peers.Wget} { // wget believes what is announced
					if to == "127.0.0.2" && client == peers.Wget {
						continue // where it listens is no matter of ours, and can't be known
					}
					local := filepath.Join(t.TempDir(), "f")
					if out, err := client.Download(ctx, target, "f", local); err != nil {
						t.Fatalf("%s: %v\n%s", client, err, out)
					}
					wantFile(t, local, want)
				}
			})
		}
	}
}

func TestAddressOfTheBastionForItsFTPClients(t *testing.T) {
	for _, test := range []struct{ bind, option, client, want string }{
		{"", "", "127.0.0.1", "127.0.0.1"},
		{"*", "", "127.0.0.1", "127.0.0.1"},
		{"127.0.0.2", "", "127.0.0.1", "127.0.0.2"},
		{"10.0.0.1", "", "10.0.0.9", "10.0.0.1"},
		{"10.0.0.1", "", "127.0.0.1", "127.0.0.1"}, // GatewayPorts is no
		{"10.0.0.1", "10.0.0.2", "10.0.0.9", "10.0.0.2"},
		{"*", "", "10.0.0.9", "0.0.0.0"},
		{"bastion.corp", "", "10.0.0.9", "0.0.0.0"},
		{"0.0.0.0", "10.0.0.2", "10.0.0.9", "10.0.0.2"},
		{"::1", "", "::1", "::1"},
		{"10.0.0.1", "10.0.0.2", "2001:db8::9", "::"},
		{"2001:db8::1", "", "2001:db8::9", "2001:db8::1"},
	} {
		cfg := NewConfig("", "alice")
		if test.option != "" {
			if err := cfg.Set("FTPRemoteAddress", test.option); err != nil {
				t.Fatal(err)
			}
		}
		r := &remote{Forward: Forward{Kind: FTP, Bind: test.bind}, cfg: cfg, bastion: &connection{}}
		if got := r.hop(netip.MustParseAddr(test.client)); got.String() != test.want {
			t.Errorf("%+v: got %s", test, got)
		}
	}
}

func TestDataThatTheBastionWillNotListenForIsRefused(t *testing.T) {
	port := peers.TestPort(t)
	_, r, target := remoteFTP(t, peers.VSFTPD, func(cfg *Config) { cfg.RemoteForwards[0].Port = port },
		fmt.Sprintf("PermitListen 127.0.0.1:%d", port))
	f := loggedIn(t, target)
	f.say("PASV")
	f.want("425")
	f.say("EPSV")
	f.want("500")
	r.log.wait(t, "ask its administrator for PermitListen 127.0.0.1:*")
}

func TestDataIsListenedForByTheHostThatIsPermitted(t *testing.T) {
	server, _, target := remoteFTP(t, peers.VSFTPD, func(cfg *Config) {
		cfg.RemoteForwards[0].Bind, cfg.RemoteForwards[0].Port = "localhost", peers.TestPort(t)
	}, "PermitListen localhost:*")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	want := randomFile(t, filepath.Join(server.Root, "f"), 1<<10)
	local := filepath.Join(t.TempDir(), "f")
	if out, err := peers.LFTP.Download(ctx, target, "f", local); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	wantFile(t, local, want)
}

func TestActiveClientNearOpenSSH(t *testing.T) {
	server, _, target := remoteFTP(t, peers.VSFTPD, nil)
	want := randomFile(t, filepath.Join(server.Root, "f"), 3<<20)
	f := loggedIn(t, target)
	f.say("TYPE I")
	f.want("200")
	for _, name := range []string{"f", "f"} {
		ln := f.port()
		f.say("RETR " + name)
		f.want("150")
		wantConn(t, ln, want)
		f.want("226")
	}
	ln := f.port()
	f.say("RETR missing")
	f.want("550")
	f.say("NOOP")
	f.want("200")
	_ = ln.Close()
}

// port has the client wait for a data connection.
func (f *ftpTalk) port() *net.TCPListener {
	f.t.Helper()
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = ln.Close() })
	_ = ln.SetDeadline(time.Now().Add(patience))
	port := relay.AddrPort(ln.Addr()).Port()
	f.say(fmt.Sprintf("PORT 127,0,0,1,%d,%d", port>>8, port&0xff))
	f.want("200")
	return ln
}

func wantConn(t *testing.T, ln *net.TCPListener, want []byte) {
	t.Helper()
	c, err := ln.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	if got, err := io.ReadAll(c); string(got) != string(want) || err != nil {
		t.Errorf("got %d bytes, %v; want the %d of the file", len(got), err, len(want))
	}
}

// unnoticing is an FTP server that takes a file for sent as soon as it is asked for: what becomes of the data connection then is
// no news to it, as to a server whose whole file is in the buffers of its kernel.
func unnoticing(t *testing.T) netip.AddrPort {
	t.Helper()
	data := peers.TestTCPServer(t, patience, func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) })
	return peers.TestTCPServer(t, patience, func(c *net.TCPConn) {
		say := func(reply string) { _, _ = io.WriteString(c, reply+"\r\n") }
		say("220 hello")
		for lines := bufio.NewScanner(c); lines.Scan(); {
			switch verb, _, _ := strings.Cut(lines.Text(), " "); verb {
			case "USER":
				say("331 whose?")
			case "PASS":
				say("230 welcome")
			case "PASV":
				say(fmt.Sprintf("227 here (127,0,0,1,%d,%d)", data.Port()>>8, data.Port()&0xff))
			case "RETR":
				say("150 go")
				say("226 done")
			default:
				say("200 ok")
			}
		}
	})
}

func TestActiveClientNearOpenSSHThatIsNotThere(t *testing.T) {
	_, at := remoteFTPTo(t, unnoticing(t), nil)
	f := loggedIn(t, peers.Target{Addr: at, User: "u", Password: "p"})
	port := peers.TestPort(t)
	f.say(fmt.Sprintf("PORT 127,0,0,1,%d,%d", port>>8, port&0xff))
	f.want("200")
	f.say("RETR small")
	f.want("150")
	f.want("426")
	f.say("NOOP")
	f.want("200")
}
