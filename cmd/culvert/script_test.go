package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"

	"github.com/culvert-ssh/culvert/internal/peers"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"culvert": main})
}

// TestScripts runs testdata/script with OpenSSH's sshd ($SSHD_PORT, whose key is in $HOME/.ssh/known_hosts under
// that port) and vsftpd behind it ($FTP_PORT, with one file, "hello").
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup:               setup,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status":  status,
			"begin":   begin,
			"end":     end,
			"expand":  expand,
			"tunnel":  tunnel,
			"ready":   ready,
			"gone":    gone,
			"crash":   func(ts *testscript.TestScript, _ bool, _ []string) { ts.Value(worldKey{}).(*world).sshd.Kill() },
			"newhost": func(ts *testscript.TestScript, _ bool, _ []string) { check(ts, replaceHostKey(ts)) },
		},
	})
}

// world is what a script runs in.
type world struct {
	sshd *peers.SSHD
	ftp  *peers.FTP

	culvert *exec.Cmd // started by begin
	stderr  *bufio.Scanner
}

// worldKey is where testscript keeps it.
type worldKey struct{}

func setup(env *testscript.Env) error {
	home := filepath.Join(env.WorkDir, "home")
	if err := os.MkdirAll(filepath.Join(home, ".ssh"), 0o700); err != nil {
		return err
	}
	key, err := peers.NewKey(filepath.Join(home, ".ssh"), "id_ed25519")
	if err != nil {
		return err
	}
	w := new(world)
	if w.sshd, err = peers.StartSSHD(peers.SSHDConfig{AuthorizedKeys: key.Authorized()}); err != nil {
		return err
	}
	env.Defer(func() { _ = w.sshd.Close() })
	known := xknownhosts.Line([]string{w.sshd.Addr.String()}, w.sshd.HostKey) + "\n"
	if err := os.WriteFile(filepath.Join(home, ".ssh", "known_hosts"), []byte(known), 0o600); err != nil {
		return err
	}
	root := filepath.Join(env.WorkDir, "root")
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(root, "hello"), []byte("hello from FTP\n"), 0o644); err != nil {
		return err
	}
	if w.ftp, err = peers.StartFTP(peers.VSFTPD, peers.FTPConfig{Root: root}); err != nil {
		return err
	}
	env.Defer(func() { _ = w.ftp.Close() })
	env.Values[worldKey{}] = w
	env.Setenv("HOME", home)
	env.Setenv("SSHD_PORT", strconv.Itoa(int(w.sshd.Addr.Port())))
	env.Setenv("FTP_PORT", strconv.Itoa(int(w.ftp.Addr.Port())))
	env.Setenv("FTP_LOGIN", w.ftp.User+":"+w.ftp.Password)
	return nil
}

func check(ts *testscript.TestScript, err error) {
	if err != nil {
		ts.Fatalf("%v", err)
	}
}

// status N program args... expects the program to exit with N.
func status(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	check(ts, err)
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		check(ts, err)
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

var readyLine = regexp.MustCompile(` is at \S+:(\d+)`)

// begin program args... starts the program, waits for its ready line, and puts the port into $PORT.
func begin(ts *testscript.TestScript, _ bool, args []string) {
	w := ts.Value(worldKey{}).(*world)
	path, err := exec.LookPath(args[0])
	if err != nil { // the scripts' own PATH
		path = filepath.Join(strings.Split(ts.Getenv("PATH"), string(os.PathListSeparator))[0], args[0])
	}
	w.culvert = exec.Command(path, args[1:]...)
	w.culvert.Dir = ts.MkAbs(".")
	w.culvert.Env = []string{"HOME=" + ts.Getenv("HOME"), "PATH=" + ts.Getenv("PATH")}
	for _, name := range []string{"XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"} {
		w.culvert.Env = append(w.culvert.Env, name+"="+ts.Getenv(name))
	}
	stderr, err := w.culvert.StderrPipe()
	check(ts, err)
	check(ts, w.culvert.Start())
	kill := time.AfterFunc(30*time.Second, func() { _ = w.culvert.Process.Kill() })
	ts.Defer(func() { kill.Stop(); _ = w.culvert.Process.Kill(); _ = w.culvert.Wait() })
	w.stderr = bufio.NewScanner(stderr)
	for w.stderr.Scan() {
		ts.Logf("[culvert] %s", w.stderr.Text())
		if m := readyLine.FindStringSubmatch(w.stderr.Text()); m != nil {
			ts.Setenv("PORT", m[1])
			return
		}
	}
	ts.Fatalf("no ready line")
}

// ready puts the port in the ready line of what was run last into $PORT, or that in a file.
func ready(ts *testscript.TestScript, _ bool, args []string) {
	name := "stderr"
	if len(args) > 0 {
		name = args[0]
	}
	m := readyLine.FindStringSubmatch(ts.ReadFile(name))
	if m == nil {
		ts.Fatalf("no ready line")
	}
	ts.Setenv("PORT", m[1])
}

// gone waits until nobody listens on $PORT any more.
func gone(ts *testscript.TestScript, _ bool, _ []string) {
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		c, err := net.DialTimeout("tcp", "127.0.0.1:"+ts.Getenv("PORT"), time.Second)
		if err != nil {
			return
		}
		_, _ = c.Read(make([]byte, 1)) // until it is closed
		_ = c.Close()
	}
	ts.Fatalf("somebody listens on port %s still", ts.Getenv("PORT"))
}

// end SIGNAL N waits, after the signal ("-" for none), for what begin started, and expects it to
// exit with N. What it wrote meanwhile must match the pattern that may follow, and must not match another one behind it.
func end(ts *testscript.TestScript, _ bool, args []string) {
	w := ts.Value(worldKey{}).(*world)
	switch args[0] {
	case "INT":
		check(ts, w.culvert.Process.Signal(syscall.SIGINT))
	case "TERM":
		check(ts, w.culvert.Process.Signal(syscall.SIGTERM))
	}
	var rest []string
	for w.stderr.Scan() {
		ts.Logf("[culvert] %s", w.stderr.Text())
		rest = append(rest, w.stderr.Text())
	}
	_ = w.culvert.Wait() // the state tells
	if got := w.culvert.ProcessState.ExitCode(); strconv.Itoa(got) != args[1] {
		ts.Fatalf("exit status %d, want %s", got, args[1])
	}
	said := strings.Join(rest, "\n")
	if len(args) > 2 && !regexp.MustCompile(args[2]).MatchString(said) {
		ts.Fatalf("%q doesn't match %q", rest, args[2])
	}
	if len(args) > 3 && regexp.MustCompile(args[3]).MatchString(said) {
		ts.Fatalf("%q matches %q", rest, args[3])
	}
}

// replaceHostKey makes known_hosts hold another key than the server's.
func replaceHostKey(ts *testscript.TestScript) error {
	w := ts.Value(worldKey{}).(*world)
	other, err := peers.NewKey(ts.Getenv("WORK"), "other")
	if err != nil {
		return err
	}
	line := xknownhosts.Line([]string{w.sshd.Addr.String()}, other.Signer.PublicKey())
	return os.WriteFile(filepath.Join(ts.Getenv("HOME"), ".ssh", "known_hosts"), fmt.Appendln(nil, line), 0o600)
}
