package login

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	xknownhosts "golang.org/x/crypto/ssh/knownhosts"

	"github.com/culvert-ssh/culvert/internal/peers"
)

// chain is some SSH servers with names, and the ssh_config that a person has for them.
type chain struct {
	names []string
	sshd  map[string]*peers.SSHD
	key   peers.Key
	known string // file of host keys

	more map[string]string // lines of a name in ssh_config
}

// newChain starts OpenSSH's sshd once for each name.
func newChain(t *testing.T, names ...string) *chain {
	t.Helper()
	c := &chain{
		sshd: make(map[string]*peers.SSHD), more: make(map[string]string),
		key: peers.TestKey(t, "id"), known: filepath.Join(t.TempDir(), "known_hosts"),
	}
	for _, name := range names {
		c.add(t, name)
	}
	return c
}

func (c *chain) add(t *testing.T, name string, lines ...string) {
	t.Helper()
	s := peers.TestSSHD(t, peers.SSHDConfig{AuthorizedKeys: c.key.Authorized(), Lines: lines})
	known, err := os.OpenFile(c.known, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(known, xknownhosts.Line([]string{s.Addr.String()}, s.HostKey))
	if err := known.Close(); err != nil {
		t.Fatal(err)
	}
	c.names, c.sshd[name] = append(c.names, name), s
}

// config is the one of a name, after what the command line says.
func (c *chain) config(t *testing.T, host string, said ...[2]string) *Config {
	t.Helper()
	var text strings.Builder
	for _, name := range c.names {
		s := c.sshd[name]
		fmt.Fprintf(&text, "Host %s\nHostName %s\nPort %d\nUser %s\n%s\n", name, s.Addr.Addr(), s.Addr.Port(), s.User, c.more[name])
	}
	fmt.Fprintf(&text, "Host *\nUserKnownHostsFile %s\nGlobalKnownHostsFile none\nStrictHostKeyChecking yes\nIdentityFile %s\nIdentityAgent none\n", c.known, c.key.Path)
	cfg := NewConfig("", "me")
	cfg.Host, cfg.ConfigFile = host, filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(cfg.ConfigFile, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, s := range said {
		if err := cfg.Set(s[0], s[1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := cfg.ReadFiles(t.Context()); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// logins is how often somebody got in. sshd says so before it tells them.
func (c *chain) logins(name string) int {
	return strings.Count(c.sshd[name].Log(), "Accepted publickey")
}

func (c *chain) connect(t *testing.T, to, jump string) (*Conn, error) {
	t.Helper()
	if jump == "" {
		return tryConn(t, c.config(t, to))
	}
	return tryConn(t, c.config(t, to, [2]string{"ProxyJump", jump}))
}

// serving serves c for as long as the test needs it.
func serving(t *testing.T, c *Conn) {
	done := make(chan struct{})
	go func() { discard(c); close(done) }()
	t.Cleanup(func() {
		_ = c.Close()
		<-done
	})
}

// reaches has a connection's server connect to an address that greets.
func reaches(t *testing.T, c *Conn, at net.Addr) {
	t.Helper()
	host, port, _ := net.SplitHostPort(at.String())
	n, _ := strconv.Atoi(port)
	w := &channelWay{hop: c, host: address(at.String())}
	_, err := w.open(context.Background(), &Config{Host: host, Port: uint16(n), ConnectTimeout: patience}, &Config{Host: "here"})
	if err != nil {
		t.Fatal(err)
	}
	word := make([]byte, 5)
	if _, err := w.Read(word); err != nil || string(word) != "hello" {
		t.Errorf("got %q, %v from beyond; want hello", word, err)
	}
	_ = w.Channel.Close()
}

func TestThreeJumpsAndADestination(t *testing.T) {
	c := newChain(t, "a", "b", "c", "d")
	f := peers.TestTCPServer(t, patience, func(c *net.TCPConn) { _, _ = c.Write([]byte("hello")) })
	for name, test := range map[string]struct {
		jumps  map[string]string // in the configuration
		jump   string            // on the command line
		passes []string
	}{
		"none":                         {passes: nil},
		"on the command line":          {jump: "a,b,c", passes: []string{"a", "b", "c"}},
		"in the configuration of each": {jumps: map[string]string{"d": "c", "c": "b", "b": "a"}, passes: []string{"a", "b", "c"}},
		"both: the nearest may have its own, the others have what is asked for": {
			jumps: map[string]string{"d": "a", "c": "a", "b": "a"}, jump: "b,c", passes: []string{"a", "b", "c"},
		},
		"with tokens":                        {jump: "%r@a", passes: []string{"a"}},
		"none in spite of the configuration": {jumps: map[string]string{"d": "a"}, jump: "none"},
	} {
		t.Run(name, func(t *testing.T) {
			before := make(map[string]int)
			for _, name := range c.names {
				before[name] = c.logins(name)
			}
			c.more = make(map[string]string)
			for name, jump := range test.jumps {
				c.more[name] = "ProxyJump " + jump
			}
			conn, err := c.connect(t, "d", test.jump)
			if err != nil {
				t.Fatal(err)
			}
			serving(t, conn)
			reaches(t, conn, net.TCPAddrFromAddrPort(f))
			for _, name := range c.names {
				want := 0
				if name == "d" || slices.Contains(test.passes, name) {
					want = 1
				}
				if got := c.logins(name) - before[name]; got != want {
					t.Errorf("%s: got %d logins, want %d", name, got, want)
				}
			}
		})
	}
}

// TestEveryHostKeyOnTheWayIsChecked takes the key of one after the other away.
func TestEveryHostKeyOnTheWayIsChecked(t *testing.T) {
	c := newChain(t, "a", "b", "c", "d")
	all, err := os.ReadFile(c.known)
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range c.names {
		lines := strings.SplitAfter(string(all), "\n")
		lines[i] = ""
		if err := os.WriteFile(c.known, []byte(strings.Join(lines, "")), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := c.connect(t, "d", "a,b,c")
		want := fmt.Sprintf("the host key of [127.0.0.1]:%d is not known", c.sshd[name].Addr.Port())
		if err == nil || !strings.Contains(err.Error(), want) || errors.Is(err, ErrUnreachable) {
			t.Errorf("without the key of %s: got %v, want %q, and that it won't pass", name, err, want)
		}
		if hop := "jump host " + name; name != "d" && !strings.HasPrefix(err.Error(), hop) {
			t.Errorf("without the key of %s: got %v, want it to begin with %q", name, err, hop)
		}
	}
}

func TestJumpsThatFailSayWhere(t *testing.T) {
	c := newChain(t, "a", "b")
	c.add(t, "closed", "AllowTcpForwarding no")
	nobody := peers.TestPort(t)
	for name, test := range map[string]struct {
		jump, want string
		change     func(*Config)
		passing    bool // it may pass by itself
	}{
		"no such host":       {passing: true, jump: "x", want: `jump host x: find host "x": `},
		"not let in":         {jump: "nobody@a", want: "jump host a: permission denied for nobody@a"},
		"not let in, behind": {jump: "a,nobody@b", want: "jump host b: permission denied for nobody@b"},
		"not let in, before": {jump: "nobody@a,closed", want: "jump host a: permission denied for nobody@a"},
		"not permitted": {jump: "closed", want: fmt.Sprintf(
			"jump host closed (127.0.0.1) port %d does not permit 127.0.0.1:%d: open failed: ask its administrator to permit it", c.sshd["closed"].Addr.Port(), c.sshd["b"].Addr.Port())},
		"not there": {
			passing: true, jump: "a", change: func(cfg *Config) { cfg.Port = nobody },
			want: fmt.Sprintf("jump host a (127.0.0.1) port %d can't reach 127.0.0.1:%d: Connection refused", c.sshd["a"].Addr.Port(), nobody),
		},
		"itself":      {jump: "b", want: "b (127.0.0.1) port " + strconv.Itoa(int(c.sshd["b"].Addr.Port())) + " is a jump host on the way to itself"},
		"in a circle": {jump: "b,a", want: "is a jump host on the way to itself"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := c.config(t, "b", [2]string{"ProxyJump", test.jump})
			if test.change != nil {
				test.change(cfg)
			}
			if err := tryConnect(t, cfg); err == nil || !strings.Contains(err.Error(), test.want) || errors.Is(err, ErrUnreachable) != test.passing {
				t.Errorf("got %v (it may pass: %v), want %q (%v)", err, errors.Is(err, ErrUnreachable), test.want, test.passing)
			}
		})
	}
}

// TestJumpHostThatGoesAwayTakesTheConnectionAlong: what ran is lost then, not complete.
func TestJumpHostThatGoesAwayTakesTheConnectionAlong(t *testing.T) {
	c := newChain(t, "a", "b")
	conn, err := c.connect(t, "b", "a")
	if err != nil {
		t.Fatal(err)
	}
	serving(t, conn)
	c.sshd["a"].Kill()
	ended := make(chan error, 1)
	go func() { ended <- conn.Wait() }()
	select {
	case <-ended:
	case <-time.After(patience):
		t.Fatal("the connection lives on")
	}
	if !conn.Wire.Lost() {
		t.Error("the wire is not lost")
	}
}

func TestJumpIsGivenUpWhenTheContextEnds(t *testing.T) {
	c := newChain(t, "a")
	interrupted := errors.New("interrupted")
	ctx, cancel := context.WithCancelCause(context.Background())
	silent := peers.TestTCPServer(t, patience, func(c *net.TCPConn) {
		_, _ = c.Read(make([]byte, 1)) // of culvert's version: it has arrived here
		cancel(interrupted)
		_, _ = io.Copy(io.Discard, c)
	})
	cfg := c.config(t, "silent", [2]string{"ProxyJump", "a"})
	cfg.HostName, cfg.Port = silent.Addr().String(), silent.Port()
	if _, err := Connect(ctx, cfg); !errors.Is(err, interrupted) {
		t.Errorf("got %v, want %v", err, interrupted)
	}
}

func TestPlacesOfJumpHosts(t *testing.T) {
	for in, want := range map[string]place{
		"a":                {"", "a", ""},
		"me@a:2222":        {"me", "a", "2222"},
		"ssh://me@a:2222/": {"me", "a", "2222"},
		"[::1]:22":         {"", "::1", "22"},
		"me@[2001:db8::1]": {"me", "2001:db8::1", ""},
		"me@corp@a":        {"me@corp", "a", ""},
	} {
		if got, err := parsePlace(in, true); got != want || err != nil {
			t.Errorf("%q: got %+v, %v; want %+v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "a,", ",a", "a:0", "a:70000", "a:1:2", "@a", "-x", "a b", "$(x)", "a,ssh://b:c", strings.Repeat("a,", maxHops) + "a"} {
		if err := NewConfig("", "me").Set("ProxyJump", in); err == nil {
			t.Errorf("%q was accepted", in)
		}
	}
}

func TestFirstOfProxyJumpAndProxyCommandCounts(t *testing.T) {
	for _, test := range []struct {
		words   [][2]string
		jumps   int
		command string
	}{
		{[][2]string{{"ProxyJump", "a"}, {"ProxyCommand", "x"}}, 1, ""},
		{[][2]string{{"ProxyCommand", "x"}, {"ProxyJump", "a"}}, 0, "x"},
		{[][2]string{{"ProxyCommand", "none"}, {"ProxyJump", "a"}}, 0, ""},
		{[][2]string{{"ProxyJump", "none"}, {"ProxyCommand", "x"}}, 0, ""},
		{[][2]string{{"ProxyJump", "a"}, {"ProxyJump", "b,c"}}, 1, ""},
	} {
		c := NewConfig("", "me")
		for _, w := range test.words {
			if err := c.Set(w[0], w[1]); err != nil {
				t.Fatal(err)
			}
		}
		if len(c.ProxyJump) != test.jumps || c.ProxyCommand != test.command {
			t.Errorf("%q: got jumps %v and command %q, want %d and %q", test.words, c.ProxyJump, c.ProxyCommand, test.jumps, test.command)
		}
	}
}
