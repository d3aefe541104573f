package client

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/culvert-ssh/culvert/activity"
	"github.com/culvert-ssh/culvert/internal/peers"
)

// endings are the transfers that have ended.
type endings chan activity.Ended

// of waits for the next one of a file, whatever its directory is called.
func (e endings) of(t *testing.T, name string) activity.Ended {
	t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case x := <-e:
			if x.File == name || strings.HasSuffix(x.File, "/"+name) {
				return x
			}
		case <-timeout:
			t.Fatalf("no transfer of %s was shown", name)
		}
	}
}

// Every FTP client has its own way to a file, and every server its own words for it.
func TestTransfersOfRealProgramsAreShown(t *testing.T) {
	for _, kind := range []peers.FTPServer{peers.VSFTPD, peers.PureFTPD, peers.ProFTPD} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			_, cfg := bastion(t)
			server := peers.TestFTP(t, kind, peers.FTPConfig{Root: t.TempDir()})
			data := bytes.Repeat([]byte("0123456789\n"), 30_000)
			size := int64(len(data))
			if err := os.WriteFile(filepath.Join(server.Root, "file.bin"), data, 0o644); err != nil {
				t.Fatal(err)
			}
			ended := make(endings, 100)
			cfg.Activity = &activity.Board{OnEnd: func(e activity.Ended) { ended <- e }}
			cfg.Forwards = []Forward{forwardTo(server.Addr)}
			cfg.Forwards[0].Kind = FTP
			target := server.Target()
			target.Addr = netip.MustParseAddrPort(start(t, cfg).ready())
			for _, program := range peers.FTPClients() {
				local := filepath.Join(t.TempDir(), "file.bin")
				if out, err := program.Download(t.Context(), target, "file.bin", local); err != nil {
					t.Fatalf("%s: %v\n%s", program, err, out)
				}
				if x := ended.of(t, "file.bin"); x.Direction != activity.Download || x.Outcome != activity.Done || x.Bytes != size || x.Size != size {
					t.Errorf("%s: shown was %s %s, %d bytes of %d; want download done, all %d of them", program, x.Direction, x.Outcome, x.Bytes, x.Size, size)
				}
				if !program.Uploads() {
					continue
				}
				if out, err := program.Upload(t.Context(), target, local, "up.bin"); err != nil {
					t.Fatalf("%s: %v\n%s", program, err, out)
				}
				if x := ended.of(t, "up.bin"); x.Direction != activity.Upload || x.Outcome != activity.Done || x.Bytes != size {
					t.Errorf("%s: shown was %s %s of %d bytes, want upload done of %d", program, x.Direction, x.Outcome, x.Bytes, size)
				}
			}
		})
	}
}

// However an FTP client gets to its server, what it transfers is shown, with where it goes.
func TestTransfersAreShownWhateverTheWay(t *testing.T) {
	for _, way := range []struct {
		name   string
		tunnel func(cfg *Config, server Forward) // gives cfg a way to server
		curl   func(at string, server *peers.FTP) []string
		kind   activity.Kind
	}{
		{"active mode", func(cfg *Config, server Forward) { cfg.Forwards = []Forward{server} }, func(at string, s *peers.FTP) []string {
			return []string{"--ftp-port", "127.0.0.1", "ftp://" + at + "/f"}
		}, activity.Local},
		{"remote", func(cfg *Config, server Forward) {
			server.Bind = "127.0.0.1"
			cfg.RemoteForwards = []Forward{server}
		}, func(at string, s *peers.FTP) []string { return []string{"ftp://" + at + "/f"} }, activity.Remote},
		{"remote, active mode", func(cfg *Config, server Forward) {
			server.Bind = "127.0.0.1"
			cfg.RemoteForwards = []Forward{server}
		}, func(at string, s *peers.FTP) []string {
			return []string{"--ftp-port", "127.0.0.1", "ftp://" + at + "/f"}
		}, activity.Remote},
		{"SOCKS", func(cfg *Config, server Forward) {
			cfg.Forwards = []Forward{{Kind: SOCKS}}
			cfg.FTPPorts = []uint16{server.HostPort}
		}, func(at string, s *peers.FTP) []string {
			return []string{"--socks5-hostname", at, "ftp://" + s.Addr.String() + "/f"}
		}, activity.Dynamic},
	} {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			_, cfg := bastion(t)
			server := peers.TestFTP(t, peers.VSFTPD, peers.FTPConfig{Root: t.TempDir()})
			size := int64(len(randomFile(t, filepath.Join(server.Root, "f"), 100_000)))
			f := forwardTo(server.Addr)
			f.Kind = FTP
			way.tunnel(cfg, f)
			ended := make(endings, 100)
			cfg.Activity = &activity.Board{OnEnd: func(e activity.Ended) { ended <- e }}
			cfg.LinkName = "office"
			at := start(t, cfg).ready()
			args := append([]string{"-sS", "--user", server.User + ":" + server.Password, "-o", os.DevNull}, way.curl(strings.Replace(at, "localhost", "127.0.0.1", 1), server)...)
			if out, err := peers.Run(t.Context(), "", "curl", args...); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if x := ended.of(t, "f"); x.Outcome != activity.Done || x.Bytes != size || x.Size != size || x.Target != f.Target() || x.Link != "office" {
				t.Errorf("shown was %s of %d bytes of %d from %s by %q, want it done, all %d, from %s by office", x.Outcome, x.Bytes, x.Size, x.Target, x.Link, size, f.Target())
			}
			if s := cfg.Activity.Snapshot(); len(s.Tunnels) != 1 || s.Tunnels[0].Kind != way.kind || s.Tunnels[0].Down < size {
				t.Errorf("the tunnels are %+v, want one of kind %s that has carried %d bytes", s.Tunnels, way.kind, size)
			}
		})
	}
}

// What is cut short is not shown as done, whoever cuts it.
func TestTransfersThatBreakOffAreShownAsSuch(t *testing.T) {
	for name, cut := range map[string]func(data *net.TCPConn, w wire){
		"by the client": func(data *net.TCPConn, _ wire) {
			_ = data.SetLinger(0)
			_ = data.Close()
		},
		"by the SSH connection": func(_ *net.TCPConn, w wire) { w.cut() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, cfg := bastion(t)
			w := flaky(t, cfg)
			server := peers.TestFTP(t, peers.VSFTPD, peers.FTPConfig{Root: t.TempDir()})
			if err := os.WriteFile(filepath.Join(server.Root, "f"), make([]byte, 50_000_000), 0o644); err != nil {
				t.Fatal(err)
			}
			ended := make(endings, 100)
			cfg.Activity = &activity.Board{OnEnd: func(e activity.Ended) { ended <- e }}
			cfg.Forwards = []Forward{forwardTo(server.Addr)}
			cfg.Forwards[0].Kind = FTP
			target := server.Target()
			target.Addr = netip.MustParseAddrPort(start(t, cfg).ready())
			f := loggedIn(t, target)
			data := dial(t, f.pasv())
			f.say("RETR f")
			f.want("150")
			if _, err := io.ReadFull(data, make([]byte, 1000)); err != nil {
				t.Fatal(err)
			}
			cut(data, w)
			if x := ended.of(t, "f"); x.Outcome != activity.Failed || x.Bytes < 1000 || x.Bytes >= x.Size {
				t.Errorf("shown was %s, %d bytes of %d, want a part of it, and failed", x.Outcome, x.Bytes, x.Size)
			}
		})
	}
}

func TestForwardsAreShownByWhatTheyAre(t *testing.T) {
	for _, tt := range []struct {
		forward string
		want    activity.Tunnel
	}{
		{"1:h:2", activity.Tunnel{Kind: activity.Local, Target: "h:2"}},
		{"1:/run/s", activity.Tunnel{Kind: activity.Local, Target: "/run/s"}},
		{"ftp/1:h:2", activity.Tunnel{Kind: activity.Local, FTP: true, Target: "h:2"}},
		{"ftps/1:h:2", activity.Tunnel{Kind: activity.Local, FTP: true, Target: "h:2"}},
		{"ftp-proxy/1", activity.Tunnel{Kind: activity.Proxy, FTP: true}},
		{"ftp-redirect/1", activity.Tunnel{Kind: activity.Redirect, FTP: true}},
	} {
		f, err := ParseForward(tt.forward)
		if err != nil {
			t.Fatal(err)
		}
		tt.want.Link, tt.want.Listen = "office", "127.0.0.1:1"
		if got := (&listener{Forward: f, named: "127.0.0.1:1"}).shown("office"); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s is shown as %+v, want %+v", tt.forward, got, tt.want)
		}
	}
}

func TestPlainConnectionsAreShown(t *testing.T) {
	_, cfg := bastion(t)
	cfg.Activity = new(activity.Board)
	asked, answered := make(chan bool), make(chan bool)
	cfg.Forwards = []Forward{destination(t, func(c *net.TCPConn) {
		_, _ = c.Read(make([]byte, 100))
		_, _ = c.Write([]byte("four"))
		<-asked
	})}
	defer close(asked)
	at := start(t, cfg).ready()
	c := dial(t, at)
	go func() {
		_, _ = c.Write([]byte("question"))
		_, _ = c.Read(make([]byte, 100))
		close(answered)
	}()
	<-answered
	s := cfg.Activity.Snapshot()
	for late := time.Now().Add(patience); len(s.Tunnels) == 1 && s.Tunnels[0].Up+s.Tunnels[0].Down < 12 && time.Now().Before(late); s = cfg.Activity.Snapshot() {
		time.Sleep(time.Millisecond) // bytes are counted once they are written, and the client may be faster
	}
	if len(s.Tunnels) != 1 || len(s.Tunnels[0].Connections) != 1 { // though it listens on two loopback addresses
		t.Fatalf("shown is %+v, want one tunnel with one connection", s.Tunnels)
	}
	tunnel := s.Tunnels[0]
	if tunnel.Listen != at || tunnel.Target != cfg.Forwards[0].Target() || tunnel.Up != 8 || tunnel.Down != 4 || tunnel.Connections[0].From != c.LocalAddr().String() {
		t.Errorf("the tunnel at %s for %s is %+v", at, c.LocalAddr(), tunnel)
	}
}
