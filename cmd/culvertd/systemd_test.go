package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/culvert-ssh/culvert/hostkeys"
)

// unit is culvertd as systemd runs it: with a socket, a place to tell things, and a watchdog.
type unit struct {
	t      *testing.T
	cmd    *exec.Cmd
	addr   string
	notify *net.UnixConn
}

func startUnit(t *testing.T, config string) *unit {
	t.Helper()
	dir := t.TempDir()
	keys, err := hostkeys.Generate(dir, "test")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "sshd_config")
	if err := os.WriteFile(file, []byte("HostKey "+keys[0].Path+"\n"+config), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	given, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	defer given.Close()
	u := &unit{t: t, addr: l.Addr().String()}
	path := filepath.Join(dir, "notify")
	if u.notify, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.notify.Close() })
	// The shell becomes culvertd, and so knows its number beforehand, as systemd does.
	u.cmd = exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`, culvertd(t, dir), "-f", file)
	u.cmd.Env = append(os.Environ(), "LISTEN_FDS=1", "LISTEN_FDNAMES=culvertd.socket", "NOTIFY_SOCKET="+path, "WATCHDOG_USEC=200000")
	u.cmd.ExtraFiles = []*os.File{given}
	u.cmd.Stderr = testLog{t}
	u.cmd.WaitDelay = patience // for an heir that writes to the same pipe
	if err := u.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = u.cmd.Wait() })
	t.Cleanup(func() { _ = u.cmd.Process.Signal(syscall.SIGTERM) })
	return u
}

// culvertd returns the path of the program: of this one, under the name by which TestMain knows what to do.
func culvertd(t *testing.T, dir string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "culvertd")
	if err := os.Symlink(self, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// told waits until the unit has told what a pattern matches, and returns the submatches.
func (u *unit) told(pattern string) []string {
	u.t.Helper()
	want := regexp.MustCompile(pattern)
	if err := u.notify.SetReadDeadline(time.Now().Add(patience)); err != nil {
		u.t.Fatal(err)
	}
	message := make([]byte, 4096)
	var before []string
	for {
		n, err := u.notify.Read(message)
		if err != nil {
			u.t.Fatalf("wait for %q: %v; before came %q", pattern, err, before)
		}
		if m := want.FindStringSubmatch(string(message[:n])); m != nil {
			return m
		}
		before = append(before, string(message[:n]))
	}
}

// greets checks that the unit answers where systemd listens.
func (u *unit) greets() {
	u.t.Helper()
	c, err := net.Dial("tcp", u.addr)
	if err != nil {
		u.t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		u.t.Fatal(err)
	}
	if _, err := fmt.Fprint(c, "SSH-2.0-test\r\n"); err != nil {
		u.t.Fatal(err)
	}
	if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || !strings.HasPrefix(line, "SSH-2.0-culvert_") {
		u.t.Errorf("got %q, %v", line, err)
	}
}

// testLog writes a program's log to the test's.
type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

func TestSystemdGivesTheSocketAndIsToldEverything(t *testing.T) {
	u := startUnit(t, "ListenAddress 192.0.2.1:22\n") // nobody has it, and nobody tries to
	ready := fmt.Sprintf(`(?s)^READY=1\n.*listening on %s,.*MAINPID=%%s$`, regexp.QuoteMeta(u.addr))
	u.told(fmt.Sprintf(ready, fmt.Sprint(u.cmd.Process.Pid)))
	u.greets()
	u.told(`^WATCHDOG=1$`)
	if err := u.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	u.told(`^RELOADING=1\nMONOTONIC_USEC=\d{6,}$`)
	u.told(`^READY=1\n`)
	u.greets()
	if err := u.cmd.Process.Signal(syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	pid := u.told(`^MAINPID=(\d+)$`)[1]
	u.told(fmt.Sprintf(ready, pid))
	u.greets()
	u.told(`^WATCHDOG=1$`)
	heir, err := os.FindProcess(atoi(t, pid))
	if err != nil {
		t.Fatal(err)
	}
	if err := heir.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	u.told(`^STOPPING=1\n`)
}

func atoi(t *testing.T, s string) (n int) {
	t.Helper()
	if _, err := fmt.Sscan(s, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestUnits asks systemd itself, where there is one, about the units in dist.
func TestUnits(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not here")
	}
	dir := t.TempDir()
	program := culvertd(t, dir)
	for _, name := range []string{"culvertd.service", "culvertd.socket", "culvertd.service.d/keys-command.conf"} {
		text, err := os.ReadFile(filepath.Join("../../dist", name))
		if err != nil {
			t.Fatal(err)
		}
		text = regexp.MustCompile(`(?m)^Documentation=.*\n`).ReplaceAll(text, nil) // man may not be here
		text = []byte(strings.ReplaceAll(string(text), "/usr/sbin/culvertd", program))
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	run := func(args ...string) {
		cmd := exec.Command(analyze, args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil || args[0] == "verify" && len(out) > 0 {
			t.Errorf("systemd-analyze %q: %v\n%s", args, err, out)
		}
	}
	run("verify", "./culvertd.service", "./culvertd.socket")
	run("security", "--offline=yes", "--threshold=25", "./culvertd.service") // of 100
}
