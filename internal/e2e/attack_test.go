package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/cpu"

	"github.com/culvert-ssh/culvert/internal/peers"
)

const (
	floodSize    = 10_000
	floodWorkers = 300 // more than MaxStartups has places
)

// flood is connections from another loopback address that say who they are and nothing more. Each is held until the
// bastion closes it, and another takes its place.
type flood struct {
	from   net.Dialer
	to     string
	made   atomic.Int64
	ctx    context.Context
	stop   context.CancelFunc
	makers sync.WaitGroup
	enough chan struct{} // closed at floodSize
	well   chan struct{} // closed at a tenth of it
}

func startFlood(t *testing.T, to netip.AddrPort) *flood {
	f := &flood{
		from: net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}, to: to.String(),
		enough: make(chan struct{}), well: make(chan struct{}),
	}
	f.ctx, f.stop = context.WithCancel(t.Context())
	for range floodWorkers {
		f.makers.Go(f.attack)
	}
	t.Cleanup(f.end)
	return f
}

func (f *flood) end() {
	f.stop()
	f.makers.Wait()
}

func (f *flood) attack() {
	for f.ctx.Err() == nil {
		c, err := f.from.DialContext(f.ctx, "tcp", f.to)
		if err != nil {
			continue
		}
		switch f.made.Add(1) {
		case floodSize / 10:
			close(f.well)
		case floodSize:
			close(f.enough)
		}
		unhold := context.AfterFunc(f.ctx, func() { c.Close() })
		_, _ = io.WriteString(c, "SSH-2.0-attack\r\n") // it may be refused already
		_, _ = io.Copy(io.Discard, c)
		unhold()
		c.Close()
	}
}

// wait waits until something is closed that may take long on a busy machine.
func wait(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(4 * patience):
		t.Fatalf("no %s within %v", what, 4*patience)
	}
}

// sshGetsIn wants the real ssh authenticated, with nothing but the usual patience. It returns what ssh -v wrote.
func (b *bastion) sshGetsIn(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	args = append(args, "-v", "-F", "none", "-p", strconv.Itoa(int(b.addr.Port())), "-l", user, "-i", b.key.Path,
		"-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
		"-W", "192.0.2.1:1", b.addr.Addr().String()) // where it may not go, so that it ends
	out, _ := exec.CommandContext(ctx, "ssh", args...).CombinedOutput()
	if !strings.Contains(string(out), "Authenticated to") {
		t.Errorf("the honest client did not get in: %s", out)
	}
	return string(out)
}

// TestOpenSSHUsesAFastCipher needs a processor with instructions for AES, as nearly all have.
func TestOpenSSHUsesAFastCipher(t *testing.T) {
	t.Parallel()
	if !cpu.X86.HasAES && !cpu.ARM64.HasAES {
		t.Skip("this processor has no AES")
	}
	const want = "cipher: aes128-gcm@openssh.com"
	if got := startCulvertd(t, netip.MustParseAddr("127.0.0.1")).sshGetsIn(t); !strings.Contains(got, want) {
		t.Errorf("no line of ssh -v has %q: %s", want, got)
	}
	const slow = "chacha20-poly1305@openssh.com"
	if got := startCulvertd(t, netip.MustParseAddr("127.0.0.1"), "Ciphers "+slow+",aes128-gcm@openssh.com").sshGetsIn(t); !strings.Contains(got, "cipher: "+slow) {
		t.Errorf("a Ciphers line is not offered as it stands: %s", got)
	}
}

// usage is what a process takes.
type usage struct{ rss, threads, sockets int }

func (p *program) usage(t *testing.T) (u usage) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		t.Fatal(err)
	}
	number := func(name string) int {
		found := regexp.MustCompile(`(?m)^` + name + `:\s+(\d+)`).FindSubmatch(status)
		if found == nil {
			t.Fatalf("no %s in %s", name, status)
		}
		n, err := strconv.Atoi(string(found[1]))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	u.rss, u.threads = number("VmRSS")<<10, number("Threads")
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", p.PID()))
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		if to, err := os.Readlink(l); err == nil && strings.HasPrefix(to, "socket:") {
			u.sockets++
		}
	}
	return u
}

// With nothing configured, ten thousand connections that never finish their handshake neither keep an honest client out nor take
// much of the machine.
func TestHonestClientGetsInDuringAFlood(t *testing.T) {
	auditLog := filepath.Join(t.TempDir(), "audit.jsonl")
	b := startCulvertd(t, netip.MustParseAddr("127.0.0.1"), "AuditLog "+auditLog)
	b.sshGetsIn(t)
	before := b.usage(t)
	f := startFlood(t, b.addr)
	wait(t, "flood", f.well)
	var most usage
	for range 5 {
		b.sshGetsIn(t)
		now := b.usage(t)
		most.rss, most.threads, most.sockets = max(most.rss, now.rss), max(most.threads, now.threads), max(most.sockets, now.sockets)
	}
	wait(t, "end of the flood", f.enough)
	b.sshGetsIn(t)
	f.end()
	t.Logf("before: %+v; in a flood of %d connections: %+v", before, f.made.Load(), most)
	if bound := 150 << 20 * memoryFactor; most.rss > bound {
		t.Errorf("memory: got %d MiB, want %d at most", most.rss>>20, bound>>20)
	}
	if most.sockets > before.sockets+110 {
		t.Errorf("sockets: got %d, want those of MaxStartups and few more", most.sockets)
	}
	if most.threads > 100 {
		t.Errorf("threads: got %d, want few", most.threads)
	}
	// Afterwards nothing is left of it ...
	for deadline := time.Now().Add(patience); ; {
		after := b.usage(t)
		if after.sockets <= before.sockets {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("sockets: got %d, want %d as before", after.sockets, before.sockets)
		}
		<-time.After(50 * time.Millisecond)
	}
	b.stop()
	// ... but in the audit log, which has few words for it.
	text, err := os.ReadFile(auditLog)
	if err != nil {
		t.Fatal(err)
	}
	count := func(event string) int { return bytes.Count(text, []byte(`"event":"`+event+`"`)) }
	opened, closed, refused := count("connection.opened"), count("connection.closed"), count("connection.refused")
	if opened != closed {
		t.Errorf("audit log: %d connections opened, %d closed", opened, closed)
	}
	if refused == 0 || refused > 20 {
		t.Errorf("audit log: got %d events of refused connections, want few", refused)
	}
	if lines := bytes.Count(text, []byte("\n")); lines > 2000 {
		t.Errorf("audit log: got %d lines for %d connections, want few", lines, f.made.Load())
	}
}

func TestPenaltiesOfTheDefaultKeepASourceOutAndNobodyElse(t *testing.T) {
	t.Parallel()
	b := startCulvertd(t, netip.MustParseAddr("127.0.0.1"))
	foreign := peers.TestKey(t, "foreign")
	guess := func() string {
		out, err := exec.CommandContext(t.Context(), "ssh", "-F", "none", "-p", strconv.Itoa(int(b.addr.Port())), "-l", user, "-i", foreign.Path,
			"-b", "127.0.0.3", "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no",
			"-o", "UserKnownHostsFile=/dev/null", b.addr.Addr().String(), "true").CombinedOutput()
		if err == nil {
			t.Error("a foreign key got in")
		}
		return string(out)
	}
	for n := range 4 {
		if out := guess(); !strings.Contains(out, "Permission denied") {
			t.Errorf("guess %d: got %q, want the usual answer", n+1, out)
		}
	}
	b.await(`"event":"penalty","source":"127\.0\.0\.3/32".*"active":true`)
	if out := guess(); strings.Contains(out, "Permission denied") {
		t.Errorf("then: got %q, want no answer", out)
	}
	b.await(`"event":"connection\.refused".*authfail`)
	b.sshGetsIn(t)
}

func TestClientsBehindHAProxyAreKnownByTheirOwnAddresses(t *testing.T) {
	t.Parallel()
	for _, send := range []string{"send-proxy", "send-proxy-v2"} {
		b := startCulvertd(t, netip.MustParseAddr("127.0.0.1"), "ProxyProtocolFrom 127.0.0.9")
		h := peers.TestHAProxy(t, peers.HAProxyConfig{To: b.addr, From: netip.MustParseAddr("127.0.0.9"), Send: send})
		direct := *b
		b.addr = h.Addr
		b.sshGetsIn(t, "-b", "127.0.0.7")
		b.await(`"event":"connection\.opened","conn":"\d+","client":"127\.0\.0\.7:\d+","local":"[^"]+","proxy":"127\.0\.0\.9:`)
		b.await(`"event":"authentication","conn":"\d+","client":"127\.0\.0\.7:.*"result":"accepted"`)
		direct.sshGetsIn(t, "-b", "127.0.0.8") // which is no proxy, and sends no header
		b.await(`"event":"connection\.opened","conn":"\d+","client":"127\.0\.0\.8:\d+","local":"[^"]+"}`)
	}
}
