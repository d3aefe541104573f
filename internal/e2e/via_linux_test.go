package e2e

import (
	"io"
	"net"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// TestSSHThatLogsInEndsWithCulvert kills culvert while its ssh waits for a server that says nothing, as it would for a password: nobody else
// would end it.
func TestSSHThatLogsInEndsWithCulvert(t *testing.T) {
	t.Parallel()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	culvert := start(t, "culvert", "-N", "--via", "ssh", "-F", "none", "-o", "BatchMode=yes",
		"-p", strconv.Itoa(l.Addr().(*net.TCPAddr).Port), "-L", "0:127.0.0.1:1", "127.0.0.1")
	if err := l.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	ssh, err := l.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	defer ssh.Close()
	culvert.signal(syscall.SIGKILL)
	culvert.ended()
	if err := ssh.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, ssh); err != nil {
		t.Errorf("the ssh goes on: %v", err)
	}
}
