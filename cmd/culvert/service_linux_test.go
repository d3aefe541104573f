package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestServiceManagerIsTold runs a user's tunnels as dist/culvert.service does.
func TestServiceManagerIsTold(t *testing.T) {
	const patience = 30 * time.Second
	dir := t.TempDir()
	config := filepath.Join(dir, ".config", "culvert", "config")
	if err := os.MkdirAll(filepath.Dir(config), 0o700); err != nil {
		t.Fatal(err)
	}
	text := "Tunnel a\n LocalForward 0:db.corp:1\nTunnel b\n LocalForward 0:db.corp:2\nTunnel *\n Bastion 127.0.0.1:1\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer notify.Close()
	cmd := exec.Command(program(t), "up", "--foreground", "--all")
	cmd.Env = []string{"HOME=" + dir, "PATH=/usr/bin:/bin", "NOTIFY_SOCKET=" + notify.LocalAddr().String()}
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer kill.Stop()
	told := func(want string) {
		t.Helper()
		message := make([]byte, 4096)
		_ = notify.SetReadDeadline(time.Now().Add(patience))
		if n, err := notify.Read(message); err != nil || !regexp.MustCompile(want).Match(message[:n]) {
			t.Errorf("the service manager is told %q, %v; want %q", message[:n], err, want)
		}
	}
	told(`^READY=1\nSTATUS=2 tunnels$`)
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	told(`^STOPPING=1`)
	if err := cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
	for _, want := range []string{"a: db.corp:1 is at 127.0.0.1:", "b: db.corp:2 is at 127.0.0.1:"} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("it said %q, want %q", said.String(), want)
		}
	}
}

// TestUserUnit asks systemd itself, where there is one, about the unit in dist.
func TestUserUnit(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not here")
	}
	dir := t.TempDir()
	text, err := os.ReadFile("../../dist/culvert.service")
	if err != nil {
		t.Fatal(err)
	}
	text = regexp.MustCompile(`(?m)^Documentation=.*\n`).ReplaceAll(text, nil) // man may not be here
	text = []byte(strings.ReplaceAll(string(text), "/usr/bin/culvert", program(t)))
	unit := filepath.Join(dir, "culvert.service")
	if err := os.WriteFile(unit, text, 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(analyze, "--user", "verify", unit)
	cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+dir)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}
