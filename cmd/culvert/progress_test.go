package main

import (
	"context"
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

	"github.com/culvert-ssh/culvert/internal/peers"
)

// evil is the name of a file that would like to write elsewhere on the screen, and is wider than it is long.
const evil = "\u009b2Jevil\u202e文書.bin"

// watched is a culvert that somebody looks at, with OpenSSH's sshd and vsftpd behind it.
type watched struct {
	*peers.Terminal
	t   *testing.T
	ftp *peers.FTP
}

// watch runs culvert in a terminal.
func watch(t *testing.T, variables []string, args ...string) *watched {
	t.Helper()
	home := t.TempDir()
	if err := os.Mkdir(filepath.Join(home, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	key, err := peers.NewKey(filepath.Join(home, ".ssh"), "id_ed25519")
	if err != nil {
		t.Fatal(err)
	}
	sshd := peers.TestSSHD(t, peers.SSHDConfig{AuthorizedKeys: key.Authorized()})
	known := xknownhosts.Line([]string{sshd.Addr.String()}, sshd.HostKey) + "\n"
	if err := os.WriteFile(filepath.Join(home, ".ssh/known_hosts"), []byte(known), 0o600); err != nil {
		t.Fatal(err)
	}
	w := &watched{t: t, ftp: peers.TestFTP(t, peers.VSFTPD, peers.FTPConfig{Root: t.TempDir()})}
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
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "culvert") // the name by which the test is the program
	if err := os.Symlink(self, program); err != nil {
		t.Fatal(err)
	}
	args = append(args, "-N", "-F", "none", "-p", fmt.Sprint(sshd.Addr.Port()), "-L", fmt.Sprintf("ftp/0:%s:%d", w.ftp.Addr.Addr(), w.ftp.Addr.Port()), "127.0.0.1")
	w.Terminal = peers.TestTerminal(t, 100, 12, append(variables, "HOME="+home), program, args...)
	return w
}

// port waits until culvert says where it listens.
func (w *watched) port() (port string) {
	w.t.Helper()
	w.Await("where culvert listens", w.Screen, func(lines []string) bool {
		m := regexp.MustCompile(` is at 127\.0\.0\.1:(\d+)`).FindStringSubmatch(strings.Join(lines, " "))
		if m != nil {
			port = m[1]
		}
		return m != nil
	})
	return port
}

// download begins a slow one, and returns what breaks it off.
func (w *watched) download(name string) (end func()) {
	w.t.Helper()
	curl, err := peers.Find("curl")
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	at := fmt.Sprintf("ftp://%s:%s@127.0.0.1:%s/%s", w.ftp.User, w.ftp.Password, w.port(), url.PathEscape(name))
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
	first := w.download("big.iso")
	w.download(evil)
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
	w.download(evil)
	w.shows(`^v +\d+% [ .:=+*#@-]{10} +[\d.]+ [kM]B/s +[\d.]+ MB of 100 MB +\d:\d\d left  \\u009b2Jevil\\u202e\\u6587\\u66f8\.bin$`)
	if got := strings.Join(w.Colored(), "\n"); strings.Contains(got, "\x1b[") {
		t.Errorf("there are colours in:\n%q", got)
	}
	w.Type("C-c")
	w.Await("the block gone", w.Screen, func(lines []string) bool {
		return !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "v") })
	})
}
