//go:build unix

package mux

import (
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/culvert-ssh/culvert/internal/peers"
	"github.com/culvert-ssh/culvert/relay"
)

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// startMaster starts a ControlMaster, and the sshd behind it.
func startMaster(t *testing.T, lines ...string) *peers.SSH {
	t.Helper()
	key := peers.TestKey(t, "id")
	sshd := peers.TestSSHD(t, peers.SSHDConfig{AuthorizedKeys: key.Authorized(), Lines: lines})
	return peers.TestSSH(t, peers.SSHConfig{Server: sshd.Addr, User: sshd.User, Identity: key.Path, Master: true})
}

func attach(t *testing.T, s *peers.SSH) *Master {
	t.Helper()
	m, err := Dial(t.Context(), s.Control)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

func open(t *testing.T, m *Master, at netip.AddrPort) relay.Stream {
	t.Helper()
	s, err := m.Open(t.Context(), at.Addr().String(), at.Port())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Abort)
	return s
}

// destination is a TCP server on loopback that serves each connection with serve and then closes it.
func destination(t *testing.T, serve func(c *net.TCPConn)) netip.AddrPort {
	t.Helper()
	return peers.TestTCPServer(t, patience, serve)
}

func echo(c *net.TCPConn) { _, _ = io.Copy(c, c) } // the other side says what it misses

func wantEcho(t *testing.T, s io.ReadWriter, text string) {
	t.Helper()
	if _, err := io.WriteString(s, text); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(s, got); err != nil || string(got) != text {
		t.Fatalf("got %q, %v, want %q", got, err, text)
	}
}

func wait(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatalf("%s: not within %v", what, patience)
	}
}

// wantMasterAlive fails the test if the master that others may use is gone.
func wantMasterAlive(t *testing.T, s *peers.SSH) {
	t.Helper()
	m, err := Dial(t.Context(), s.Control)
	if err == nil {
		err = m.Alive()
		m.Close()
	}
	if err != nil {
		t.Errorf("the master is gone: %v\n%s", err, s.Log())
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func wantMode(t *testing.T, path string, want os.FileMode) {
	t.Helper()
	st, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := st.Mode().Perm(); got != want {
		t.Errorf("%s has mode %#o, want %#o", path, got, want)
	}
}
