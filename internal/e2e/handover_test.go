package e2e

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// heir waits for the nth process that takes over, and returns its number. If the test fails, it is ended.
func (b *bastion) heir(n int) int {
	b.t.Helper()
	found, err := b.Await(regexp.MustCompile(`starting the process that takes over" pid=(\d+)`), n)
	if err != nil {
		b.t.Fatal(err)
	}
	pid, err := strconv.Atoi(found[n-1][1])
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		if b.t.Failed() {
			_ = syscall.Kill(pid, syscall.SIGTERM) // it would live on
		}
	})
	return pid
}

// visitors connect and log in, one after another and as fast as they can, until stop is closed.
func visitors(b *bastion, stop <-chan struct{}) (count int, err error) {
	config := &ssh.ClientConfig{
		User: user, Auth: []ssh.AuthMethod{ssh.PublicKeys(b.key.Signer)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(), Timeout: patience,
	}
	for {
		select {
		case <-stop:
			return count, nil
		default:
		}
		c, err := ssh.Dial("tcp", b.addr.String(), config)
		if err != nil {
			return count, fmt.Errorf("visitor %d: %w", count, err)
		}
		if _, _, err := c.SendRequest("any", true, nil); err != nil {
			return count, fmt.Errorf("visitor %d, logged in: %w", count, err)
		}
		if err := c.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			return count, err
		}
		count++
	}
}

func TestHandoverLosesNoByteAndRefusesNobody(t *testing.T) {
	target := echo(t)
	log := filepath.Join(t.TempDir(), "audit.jsonl")
	lines := []string{"MaxChannels 200", "MaxStartups 1000", "PermitOpen " + target.String(), "AuditLog " + log}
	b := startCulvertd(t, netip.MustParseAddr("127.0.0.1"), lines...)
	t.Cleanup(func() { // with the last tunnel, the processes that drain end
		select {
		case <-b.Done(): // of all three, as they write to the same pipe
		case <-time.After(patience):
			t.Error("a process that drains doesn't end")
		}
		if out, err := exec.Command(filepath.Join(binaries, "culvertd"), "audit", "verify", log).CombinedOutput(); err != nil {
			t.Errorf("the audit log of three processes: %v: %s", err, out)
		}
	})
	pumps := tunnels(t, b, tunnelCount, target)[0]

	stop := make(chan struct{})
	var running sync.WaitGroup
	var results []error
	running.Go(func() { results = each(pumps, func(p *pump) error { return p.run(stop) }) })
	var visits atomic.Int64
	for range 2 {
		running.Go(func() {
			n, err := visitors(b, stop)
			if err != nil {
				t.Error(err)
			}
			visits.Add(int64(n))
		})
	}
	// Two that follow each other: then there are three processes.
	b.signal(syscall.SIGUSR2)
	second := b.heir(1)
	b.await(`another process has taken over; draining" pid=` + strconv.Itoa(second))
	if _, err := b.Await(regexp.MustCompile(`msg=listening `), 2); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(second, syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	third := b.heir(2)
	b.await(`another process has taken over; draining" pid=` + strconv.Itoa(third))
	if _, err := b.Await(regexp.MustCompile(`msg=listening `), 3); err != nil {
		t.Fatal(err)
	}
	close(stop)
	running.Wait()
	if failed := failures(results); failed != nil {
		t.Errorf("cut: %q", failed)
	}
	if visits.Load() == 0 {
		t.Error("nobody came meanwhile")
	}
	if failed := failures(append(each(pumps, (*pump).round), each(pumps, (*pump).end)...)); failed != nil {
		t.Errorf("afterwards: %q", failed)
	}
	if c, err := net.DialTimeout("tcp", b.addr.String(), time.Second); err != nil {
		t.Error(err)
	} else {
		c.Close()
	}
	if err := syscall.Kill(third, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	b.await(`msg=stopping signal=terminated`)
}
