package client

import (
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// TestPrivateListenerIsForItsUser has a program of another user's connect.
func TestPrivateListenerIsForItsUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can start a program as somebody else")
	}
	_, cfg := bastion(t)
	f := destination(t, func(c *net.TCPConn) { _, _ = io.WriteString(c, "welcome") }) // the other side says what it misses
	f.Private = true
	cfg.Forwards = []Forward{f}
	at := make(chan string, 2) // one for each address family
	cfg.Listening = func(_ Forward, a net.Addr) { at <- a.String() }
	r := start(t, cfg)
	addr := <-at
	self, err := os.Open("/proc/self/exe") // lies where others can't reach it
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	cmd := exec.Command("/proc/self/fd/3")
	cmd.ExtraFiles, cmd.Dir, cmd.Env = []*os.File{self}, "/", []string{"CULVERT_TEST_CONNECT=" + addr}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if got, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(got), "connection reset") {
		t.Errorf("the other user got %q, %v; want a reset", got, err)
	}
	if got, err := io.ReadAll(dial(t, addr)); err != nil || string(got) != "welcome" {
		t.Errorf("the user got %q, %v; want what the destination says", got, err)
	}
	if said := len(r.notices); said != 0 {
		t.Errorf("%d lines were said about it, want none", said)
	}
}
