//go:build unix

package login

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/culvert-ssh/culvert/internal/peers"
)

// TestProxyCommandOfRealPrograms goes through ssh -W, as people's ssh_config has it from before there was ProxyJump.
func TestProxyCommandOfRealPrograms(t *testing.T) {
	c := newChain(t, "a", "b")
	f := peers.TestTCPServer(t, patience, func(c *net.TCPConn) { _, _ = c.Write([]byte("hello")) })
	a := c.sshd["a"]
	cfg := c.config(t, "b")
	cfg.ProxyCommand = fmt.Sprintf("ssh -F none -o BatchMode=yes -o UserKnownHostsFile=%s -i %s -p %d -W [%%h]:%%p %%r@%s", c.known, c.key.Path, a.Addr.Port(), a.Addr.Addr())
	conn, err := tryConn(t, cfg)
	if err != nil {
		t.Fatal(err)
	}
	serving(t, conn)
	reaches(t, conn, net.TCPAddrFromAddrPort(f))
	if c.logins("a") != 1 || c.logins("b") != 1 {
		t.Errorf("got %d logins to a and %d to b, want one each", c.logins("a"), c.logins("b"))
	}
}

func TestConnectionBesideRunsTheProxyCommandAgain(t *testing.T) {
	c := newChain(t, "a", "b")
	f := peers.TestTCPServer(t, patience, func(c *net.TCPConn) { _, _ = c.Write([]byte("hello")) })
	a := c.sshd["a"]
	cfg := c.config(t, "b")
	cfg.ProxyCommand = fmt.Sprintf("ssh -F none -o BatchMode=yes -o UserKnownHostsFile=%s -i %s -p %d -W [%%h]:%%p %%r@%s", c.known, c.key.Path, a.Addr.Port(), a.Addr.Addr())
	first, err := tryConn(t, cfg)
	if err != nil {
		t.Fatal(err)
	}
	serving(t, first)
	side, err := first.Beside(t.Context(), nil, "")
	if err != nil {
		t.Fatal(err)
	}
	serving(t, side)
	reaches(t, side, net.TCPAddrFromAddrPort(f))
	if c.logins("a") != 2 || c.logins("b") != 2 {
		t.Errorf("got %d logins to a and %d to b, want two each", c.logins("a"), c.logins("b"))
	}
}

// notices is what a person is told.
type notices struct {
	mu    sync.Mutex
	lines []string
}

func (n *notices) add(line string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lines = append(n.lines, line)
}

func (n *notices) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Join(n.lines, "\n")
}

func TestProxyCommandThatFailsIsHeard(t *testing.T) {
	for name, test := range map[string]struct{ command, user, want, told string }{
		"it says why":               {command: "sh -c 'echo the proxy is closed >&2; exit 3'", want: "SSH handshake with h: the ProxyCommand ended with status 3, and said: the proxy is closed", told: "the proxy is closed"},
		"it says nothing":           {command: "sh -c 'exit 4'", want: "the ProxyCommand ended with status 4: try the command by itself"},
		"there is no such":          {command: "/nonexistent/program", want: "the ProxyCommand ended with status 127, and said: "},
		"it ends in order":          {command: "true", want: "h closed the connection during the SSH handshake"},
		"it leaves another behind":  {command: "sh -c 'sleep 30 >&2 & echo bye >&2; exit 5'", want: "ended with status 5, and said: bye", told: "bye"},
		"it is no SSH":              {command: "echo 220 FTP server ready", want: `h is no SSH server, but one of FTP or mail: it said "220 FTP server ready"`},
		"it speaks to the terminal": {command: `sh -c "printf '\033[2Jx\n' >&2; exit 1"`, want: "said: ?[2Jx", told: "?[2Jx"},
		"its tokens are wrong":      {command: "nc %H %p", want: `ProxyCommand: "nc %H %p": there is no %H here`},
		"its end is missing":        {command: "nc %h %", want: "ends with a %"},
		"a name that a shell obeys": {command: "nc -l %r %h", user: "$(touch x)", want: `%r stands for "$(touch x)", which a shell would not take for a name`},
		"a name that is an option":  {command: "nc -l %r %h", user: "-oProxyCommand=x", want: "which a shell would not take"},
	} {
		t.Run(name, func(t *testing.T) {
			var told notices
			cfg := NewConfig("", "me")
			cfg.Host, cfg.ProxyCommand, cfg.GlobalKnownHosts, cfg.Notice = "h", test.command, nil, told.add
			if test.user != "" {
				cfg.User = test.user
			}
			err := tryConnect(t, cfg)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if test.told != "" && told.String() != test.told {
				t.Errorf("told %q, want %q", told.String(), test.told)
			}
		})
	}
}

// TestProxyCommandThatWontEndIsKilled has one that takes no notice of being hung up on.
func TestProxyCommandThatWontEndIsKilled(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "pid")
	cfg := NewConfig("", "me")
	cfg.Host, cfg.GlobalKnownHosts, cfg.ConnectTimeout = "h", nil, commandPatience/20
	cfg.ProxyCommand = fmt.Sprintf("sh -c 'trap \"\" HUP PIPE; echo $$ >%s; while :; do sleep 1; done'", mark)
	err := tryConnect(t, cfg)
	if want := "was silent for 100ms"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
	pid, err := os.ReadFile(mark)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat("/proc/" + strings.TrimSpace(string(pid))); err == nil {
		t.Error("the command lives on")
	}
}
