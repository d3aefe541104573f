package admin

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// strangerAt is set for a process of TestMain that plays somebody else, at the socket that it names.
const strangerAt = "CULVERT_TEST_STRANGER"

// stranger connects, and returns the exit code: 0 if it is sent away.
func stranger(path string) int {
	c, err := net.Dial("unix", path)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer c.Close()
	if n, err := c.Read(make([]byte, 1)); err == nil {
		fmt.Printf("read %d bytes, want that the connection is closed\n", n)
		return 1
	}
	return 0
}

// Whoever is neither root nor us is sent away, even if the mode of the socket lets them connect.
func TestStrangerIsSentAway(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("it takes root to be somebody else")
	}
	dir, err := os.MkdirTemp("/tmp", "ctl")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "ctl")
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	u, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o777); err != nil {
		t.Fatal(err)
	}
	l := &credentials{u, slog.New(slog.DiscardHandler)}
	accepted := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			_, err = c.Write([]byte("x"))
			_ = c.Close()
		}
		accepted <- err
	}()
	binary := filepath.Join(dir, "stranger") // where this one is, only root may look
	copyFile(t, os.Args[0], binary)
	cmd := exec.Command(binary)
	cmd.Env = append(os.Environ(), strangerAt+"="+path)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("the stranger: %v\n%s", err, out)
	}
	c, err := net.Dial("unix", path) // we are let through
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := <-accepted; err != nil {
		t.Errorf("accept: %v", err)
	}
	_ = l.Close()
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o755); err != nil {
		t.Fatal(err)
	}
}
