package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	xknownhosts "golang.org/x/crypto/ssh/knownhosts"

	"github.com/culvert-ssh/culvert/activity"
	"github.com/culvert-ssh/culvert/internal/peers"
)

// evil is the name of a file that would like to write elsewhere on the screen, and is wider than it is long.
const evil = "\u009b2Jevil\u202e文書.bin"

// watched is a culvert that somebody looks at, with OpenSSH's sshd and vsftpd behind it.
type watched struct {
	*peers.Terminal // nil if nobody looks yet

	t       *testing.T
	sshd    *peers.SSHD
	ftp     *peers.FTP
	program string
	env     []string
}

func newWatched(t *testing.T) *watched {
	t.Helper()
	home := t.TempDir()
	if err := os.Mkdir(filepath.Join(home, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	key, err := peers.NewKey(filepath.Join(home, ".ssh"), "id_ed25519")
	if err != nil {
		t.Fatal(err)
	}
	w := &watched{t: t, sshd: peers.TestSSHD(t, peers.SSHDConfig{AuthorizedKeys: key.Authorized()})}
	known := xknownhosts.Line([]string{w.sshd.Addr.String()}, w.sshd.HostKey) + "\n"
	if err := os.WriteFile(filepath.Join(home, ".ssh/known_hosts"), []byte(known), 0o600); err != nil {
		t.Fatal(err)
	}
	w.ftp = peers.TestFTP(t, peers.VSFTPD, peers.FTPConfig{Root: t.TempDir()})
	for _, name := range []string{"big.iso", evil} {
		f, err := os.Create(filepath.Join(w.ftp.Root, name))
		if err == nil {
			err = f.Truncate(100_000_000) // of nothing
		}
		if err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
	}
	w.program = program(t)
	w.env = []string{"HOME=" + home, "XDG_RUNTIME_DIR=", "XDG_STATE_HOME=", "XDG_CONFIG_HOME="}
	return w
}

// program is this test by the name by which it is culvert. A link would not do where culvert starts itself.
func program(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "culvert")
	if os.Link(self, path) == nil {
		return path
	}
	text, err := os.ReadFile(self)
	if err == nil {
		err = os.WriteFile(path, text, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// watch runs culvert in a terminal, with a forward to vsftpd.
func watch(t *testing.T, variables []string, args ...string) *watched {
	t.Helper()
	w := newWatched(t)
	args = append(args, "-N", "-F", "none", "-p", fmt.Sprint(w.sshd.Addr.Port()), "-L", "ftp/0:"+w.ftp.Addr.String(), "127.0.0.1")
	w.Terminal = peers.TestTerminal(t, 100, 12, append(variables, w.env...), w.program, args...)
	return w
}

// run runs culvert to its end, and returns what it says.
func (w *watched) run(args ...string) string {
	w.t.Helper()
	cmd := exec.Command(w.program, args...)
	cmd.Env = append(os.Environ(), w.env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.t.Fatalf("culvert %q: %v\n%s", args, err, out)
	}
	return string(out)
}

var readyPort = regexp.MustCompile(` is at 127\.0\.0\.1:(\d+)`)

// port waits until culvert says where it listens.
func (w *watched) port() (port string) {
	w.t.Helper()
	w.Await("where culvert listens", w.Screen, func(lines []string) bool {
		m := readyPort.FindStringSubmatch(strings.Join(lines, " "))
		if m != nil {
			port = m[1]
		}
		return m != nil
	})
	return port
}

// download begins a slow one through a port, and returns what breaks it off.
func (w *watched) download(port, name string) (end func()) {
	w.t.Helper()
	curl, err := peers.Find("curl")
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	at := fmt.Sprintf("ftp://%s:%s@127.0.0.1:%s/%s", w.ftp.User, w.ftp.Password, port, url.PathEscape(name))
	cmd := exec.CommandContext(ctx, curl, "-sS", "--limit-rate", "3M", "-o", os.DevNull, at)
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	end = func() {
		cancel()
		_ = cmd.Wait() // it was killed
	}
	w.t.Cleanup(end)
	return end
}

// shows waits for a line that pattern matches.
func (w *watched) shows(pattern string) string {
	w.t.Helper()
	want := regexp.MustCompile(pattern)
	var line string
	w.Await(pattern, w.Screen, func(lines []string) bool {
		i := slices.IndexFunc(lines, want.MatchString)
		if i >= 0 {
			line = lines[i]
		}
		return i >= 0
	})
	return line
}

func TestProgressOnATerminal(t *testing.T) {
	t.Parallel()
	w := watch(t, nil, "--progress")
	first := w.download(w.port(), "big.iso")
	w.download(w.port(), evil)
	w.shows(`^↓ +\d+% [ ▁▂▃▄▅▆▇█]{10} +[\d.]+ [kM]B/s +[\d.]+ MB of 100 MB +\d:\d\d left  big\.iso$`)
	w.shows(`^↓ +\d+% [ ▁▂▃▄▅▆▇█]{10} +[\d.]+ [kM]B/s +[\d.]+ MB of 100 MB +\d:\d\d left  …?\S*evil\\u202e文書\.bin$`)
	if got := strings.Join(w.Colored(), "\n"); !strings.Contains(got, "\x1b[32m") {
		t.Errorf("nothing is green in:\n%q", got)
	}
	w.Resize(44, 12)
	w.shows(`^↓ +\d+% +[\d.]+ [kM]B/s  big\.iso$`)
	w.shows(`^↓ +\d+% +[\d.]+ [kM]B/s  …\S*文書\.bin$`)
	w.Resize(100, 12)
	first()
	w.shows(`^culvert: big\.iso: download (failed|aborted), [\d.]+ MB, \d+% of 100 MB`)
}

func TestProgressWithoutUnicodeOrColours(t *testing.T) {
	t.Parallel()
	w := watch(t, []string{"LC_ALL=C", "NO_COLOR=1"}, "--progress")
	w.download(w.port(), evil)
	w.shows(`^v +\d+% [ .:=+*#@-]{10} +[\d.]+ [kM]B/s +[\d.]+ MB of 100 MB +\d:\d\d left  \\u009b2Jevil\\u202e\\u6587\\u66f8\.bin$`)
	if got := strings.Join(w.Colored(), "\n"); strings.Contains(got, "\x1b[") {
		t.Errorf("there are colours in:\n%q", got)
	}
	w.Type("C-c")
	w.Await("the block gone", w.Screen, func(lines []string) bool {
		return !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "v") })
	})
}

func TestStatusIsWatched(t *testing.T) {
	t.Parallel()
	w := newWatched(t)
	config := filepath.Join(t.TempDir(), "tunnels")
	text := fmt.Sprintf("Tunnel corp\n  Bastion 127.0.0.1:%d\n  LocalForward ftp/0:%s\nTunnel quiet\n  Bastion nowhere\n  LocalForward 0:db.corp:5432\n", w.sshd.Addr.Port(), w.ftp.Addr)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	said := w.run("up", "-F", config, "corp", "quiet")
	defer w.run("down", "--all")
	port := readyPort.FindStringSubmatch(said)
	if port == nil {
		t.Fatalf("culvert up says %q", said)
	}
	w.Terminal = peers.TestTerminal(t, 100, 12, w.env, w.program, "status", "--watch")
	w.shows(`^corp +\S+@127\.0\.0\.1\S* +idle for \d:\d\d$`)
	end := w.download(port[1], "big.iso")
	w.shows(`^corp .* connected for \d:\d\d$`)
	w.shows(`^  FTP to 127\.0\.0\.1:\d+ at 127\.0\.0\.1:` + port[1] + `, 1 connection now, 1 so far, ↓ \S+ MB ↑ 0 B$`)
	w.shows(`^    ftp from 127\.0\.0\.1:\d+, \d:\d\d, ↓ \S+ MB ↑ 0 B$`)
	w.shows(`^      ↓ +\d+% [ ▁▂▃▄▅▆▇█]{10} +[\d.]+ [kM]B/s +[\d.]+ MB of 100 MB +\d:\d\d left  big\.iso$`)
	w.shows(`^quiet +\S+@nowhere +idle for`)
	var status struct{ Activity activity.Snapshot }
	if err := json.Unmarshal([]byte(w.run("status", "--json", "corp")), &status); err != nil {
		t.Fatal(err)
	}
	transfers := slices.Collect(status.Activity.Transfers())
	if len(transfers) != 1 || transfers[0].File != "big.iso" || transfers[0].Size != 100_000_000 || len(status.Activity.Tunnels) != 1 {
		t.Errorf("by JSON it is %+v, want the one transfer of the one tunnel", status.Activity)
	}
	end()
	w.shows(`^  FTP to \S+ at \S+, 0 connections now, 1 so far,`)
	w.Type("C-c")
	w.shows(`^  FTP to \S+ at \S+, 0 connections now, 1 so far,`) // what was seen last stays
}
