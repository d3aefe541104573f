package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/culvert-ssh/culvert/internal/peers"
)

// runWithin starts culvert with a command around which the tunnels to b are.
func runWithin(t *testing.T, b *bastion, command ...string) *program {
	t.Helper()
	return start(t, "culvert", append([]string{
		"run", "-F", "none", "-i", b.key.Path,
		"-o", "UserKnownHostsFile=" + filepath.Join(t.TempDir(), "known_hosts"), "-o", "StrictHostKeyChecking=accept-new",
		"-p", strconv.Itoa(int(b.addr.Port())), user + "@" + b.addr.Addr().String(), "--",
	}, command...)...)
}

// TestCommandsGoThroughTheBastion runs each FTP client as somebody types it who sits beside the FTP server. The server can't be reached
// otherwise.
func TestCommandsGoThroughTheBastion(t *testing.T) {
	t.Parallel()
	if apart(t) {
		return
	}
	n := newNetwork(t)
	usual := n.serve(t, peers.VSFTPD, peers.FTPConfig{Port: 21})
	other := n.serve(t, peers.PureFTPD, peers.FTPConfig{})
	var b *bastion
	n.bastion.Do(func() {
		b = startCulvertd(t, netip.MustParseAddr(bastionAtDesk), "PermitOpen ftp/"+usual.Addr.String()+" ftp/"+other.Addr.String(), "FTPDataTimeout 10")
	})
	find := func(name string) string {
		path, err := peers.Find(name)
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	const url = "ftp://%[1]s:%[2]s@%[3]s:%[4]d/byte"
	for _, test := range []struct {
		name   string
		script string // of sh, with the user, password, host and port of the server, the client's path, and the file's
		port21 bool   // it can't say another one
	}{
		{"curl", "%[5]s -sS -o %[6]s " + url, false},
		{"wget", "%[5]s --no-verbose --tries=1 -O %[6]s " + url, true},
		{"lftp", `%[5]s -c "set cmd:fail-exit true; set net:max-retries 1; open ftp://%[1]s:%[2]s@%[3]s:%[4]d; get byte -o %[6]s"`, false},
		{"ncftpget", "cd $(dirname %[6]s) && %[5]s -u %[1]s -p %[2]s -P %[4]d -r 1 -V %[3]s . byte", false},
		{"python3", `%[5]s -c "import urllib.request as u; open('%[6]s','wb').write(u.urlopen('` + url + `', timeout=20).read())"`, false},
	} {
		for _, server := range []*peers.FTP{usual, other} {
			if test.port21 && server == other {
				continue
			}
			t.Run(fmt.Sprintf("%s to port %d", test.name, server.Addr.Port()), func(t *testing.T) {
				local := filepath.Join(t.TempDir(), "byte")
				script := fmt.Sprintf(test.script, server.User, server.Password, server.Addr.Addr(), server.Addr.Port(), find(test.name), local)
				var p *program
				n.desk.Do(func() { p = runWithin(t, b, "sh", "-c", script) })
				if status := p.ended(); status != 0 {
					t.Errorf("exit status %d, want 0:\n%s", status, p.Output())
				}
				if got, err := os.ReadFile(local); err != nil || string(got) != "\xff" {
					t.Errorf("got %q, %v", got, err)
				}
			})
		}
	}
}

// TestCommandGetsTheSignals that somebody sends to culvert, and says itself what becomes of it.
func TestCommandGetsTheSignals(t *testing.T) {
	t.Parallel()
	b := startCulvertd(t, netip.MustParseAddr("127.0.0.1"))
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1} {
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			p := runWithin(t, b, "sh", "-c", fmt.Sprintf("trap 'echo got it; exit 42' %d; echo begun; while :; do sleep 0.1; done", int(s)))
			p.await("begun")
			p.signal(s)
			if status := p.ended(); status != 42 {
				t.Errorf("exit status %d, want the command's: 42", status)
			}
			p.await("got it")
		})
	}
}

// TestCommandOutlivesTheConnection, and its exit status counts.
func TestCommandOutlivesTheConnection(t *testing.T) {
	t.Parallel()
	b := startCulvertd(t, netip.MustParseAddr("127.0.0.1"))
	p := runWithin(t, b, "sh", "-c", "trap 'exit 3' TERM; echo begun; while :; do sleep 0.1; done")
	p.await("begun")
	b.signal(syscall.SIGTERM)
	p.await("the SSH connection was lost")
	p.signal(syscall.SIGTERM)
	if status := p.ended(); status != 3 {
		t.Errorf("exit status %d, want the command's: 3", status)
	}
}

// apartScript reads a line, and leaves the process group that the terminal sends its signals to, but for a process that says when there is one.
const apartScript = `import os, signal as s
both = {s.SIGINT, s.SIGTERM}
s.pthread_sigmask(s.SIG_BLOCK, both)
print('heard', input(), 'below', os.getppid(), flush=True)
if os.fork() == 0:
    s.sigwait(both)
    print('interrupted', flush=True)
    os._exit(0)
os.setpgid(0, 0)
print('apart', flush=True)
print('caught', int(s.sigwait(both)), flush=True)
raise SystemExit(5)
`

// TestCommandHasTheTerminal: it reads what is typed. Ctrl-C it hears from the terminal, if that means it, and not from culvert.
func TestCommandHasTheTerminal(t *testing.T) {
	t.Parallel()
	b := startCulvertd(t, netip.MustParseAddr("127.0.0.1"))
	script := filepath.Join(t.TempDir(), "script.py")
	if err := os.WriteFile(script, []byte(apartScript), 0o600); err != nil {
		t.Fatal(err)
	}
	// With job control (-m), Ctrl-C is not for the shell.
	term := peers.TestTerminal(t, 80, 24, nil, "sh", "-mc", fmt.Sprintf(
		"%s run -F none -i %s -o UserKnownHostsFile=%s -o StrictHostKeyChecking=accept-new -p %d %s@%s -- python3 %s; echo status $?",
		filepath.Join(binaries, "culvert"), b.key.Path, filepath.Join(t.TempDir(), "known_hosts"), b.addr.Port(), user, b.addr.Addr(), script))
	shows := func(pattern string) []string {
		t.Helper()
		found := regexp.MustCompile("(?m)" + pattern + "$") // what was typed may stand before it
		lines := term.Await(pattern, term.Screen, func(lines []string) bool { return found.MatchString(strings.Join(lines, "\n")) })
		return found.FindStringSubmatch(strings.Join(lines, "\n"))
	}
	term.Type("something", "Enter")
	culvert, err := strconv.Atoi(shows(`heard something below (\d+)`)[1])
	if err != nil {
		t.Fatal(err)
	}
	shows("apart")
	term.Type("C-c")
	shows("interrupted")
	if err := syscall.Kill(culvert, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got, want := shows(`caught (\d+)`)[1], strconv.Itoa(int(syscall.SIGTERM)); got != want {
		t.Errorf("the command got signal %s first, want %s: the terminal's was not for it", got, want)
	}
	shows("status 5")
}
