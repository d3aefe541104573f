package client

import (
	"bytes"
	"net"
	"net/netip"
	"os"
	"path/filepath"
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
	if len(s.Tunnels) != 1 || len(s.Tunnels[0].Connections) != 1 { // though it listens on two loopback addresses
		t.Fatalf("shown is %+v, want one tunnel with one connection", s.Tunnels)
	}
	tunnel := s.Tunnels[0]
	if tunnel.Listen != at || tunnel.Target != cfg.Forwards[0].Target() || tunnel.Up != 8 || tunnel.Down != 4 || tunnel.Connections[0].From != c.LocalAddr().String() {
		t.Errorf("the tunnel at %s for %s is %+v", at, c.LocalAddr(), tunnel)
	}
}
