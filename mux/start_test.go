//go:build unix

package mux

import (
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/culvert-ssh/culvert/internal/peers"
)

// startSSH has an ssh started that logs in to sshd with these options more, and returns what it says as well. Gone is closed when the ssh's
// connection has ended.
func startSSH(t *testing.T, options ...string) (m *Master, said *lines, gone <-chan struct{}, err error) {
	t.Helper()
	key := peers.TestKey(t, "id")
	sshd := peers.TestSSHD(t, peers.SSHDConfig{AuthorizedKeys: key.Authorized()})
	ended := make(chan struct{})
	once := sync.OnceFunc(func() { close(ended) })
	at := destination(t, func(c *net.TCPConn) {
		up, err := net.Dial("tcp", sshd.Addr.String())
		if err != nil {
			t.Error(err)
			return
		}
		defer up.Close()
		go func() { _, _ = io.Copy(c, up) }() // until either has gone
		_, _ = io.Copy(up, c)
		once()
	})
	said = new(lines)
	m, err = Start(t.Context(), SSH{Program: "ssh", Say: said.add, Args: append(options,
		"-F", "none", "-i", key.Path, "-p", strconv.Itoa(int(at.Port())), "-o", "BatchMode=yes", "-o", "IdentityAgent=none",
		"-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "--", sshd.User+"@127.0.0.1",
	)})
	if err == nil {
		t.Cleanup(m.Close)
	}
	return m, said, ended, err
}

type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.WriteString(line + "\n")
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func TestStartedSSHServesAndEnds(t *testing.T) {
	m, said, gone, err := startSSH(t)
	if err != nil {
		t.Fatal(err)
	}
	wantEcho(t, open(t, m, destination(t, echo)), "hello")
	if !strings.Contains(said.String(), "Permanently added") {
		t.Errorf("ssh said %q, want its warning", said)
	}
	if _, err := m.Open(t.Context(), "127.0.0.1", peers.TestPort(t)); err == nil {
		t.Error("something was opened where nobody listens")
	}
	m.Close()
	wait(t, "end of the ssh", gone)
	if want := "open failed: connect failed"; !strings.Contains(said.String(), want) {
		t.Errorf("ssh said %q, want why a connection was refused: %q", said, want)
	}
}

// TestStartedSSHOutlivesNobody: what is left of a process that was killed is closed files.
func TestStartedSSHOutlivesNobody(t *testing.T) {
	t.Parallel()
	m, _, gone, err := startSSH(t)
	if err != nil {
		t.Fatal(err)
	}
	open(t, m, destination(t, echo)).Abort()
	_ = m.watch.Close() // the kernel would do it
	_ = m.orders.Close()
	wait(t, "end of the ssh", gone)
}

func TestSSHThatDoesNotLogIn(t *testing.T) {
	for _, test := range []struct {
		options []string
		want    string
	}{
		{[]string{"-o", "PubkeyAuthentication=no"}, "Permission denied"},
		{[]string{"-o", "NoSuchKeyword=yes"}, "command-line"},
		{[]string{"-o", "ProxyCommand=false"}, "onnection closed"},
	} {
		t.Run(test.options[1], func(t *testing.T) {
			m, _, _, err := startSSH(t, test.options...)
			if err == nil {
				m.Close()
				t.Fatal("it has logged in")
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q in it", err, test.want)
			}
		})
	}
	t.Run("no such program", func(t *testing.T) {
		if _, err := Start(t.Context(), SSH{Program: "no-such-ssh", Say: func(string) {}}); err == nil {
			t.Error("it was started")
		}
	})
}
