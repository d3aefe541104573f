package client

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"

	"github.com/culvert-ssh/culvert/internal/peers"
)

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

func TestMain(m *testing.M) {
	if uidHelper() || listenHelper() {
		return
	}
	goleak.VerifyTestMain(m)
}

// bastion starts OpenSSH's sshd, and returns it with a Config that connects to it.
func bastion(t *testing.T, lines ...string) (*peers.SSHD, *Config) {
	t.Helper()
	key := peers.TestKey(t, "id")
	sshd := peers.TestSSHD(t, peers.SSHDConfig{AuthorizedKeys: key.Authorized(), Lines: lines})
	cfg := NewConfig("", sshd.User)
	cfg.Host, cfg.Port = sshd.Addr.Addr().String(), sshd.Addr.Port()
	cfg.Identities = []string{key.Path}
	cfg.BatchMode = true
	cfg.GlobalKnownHosts = nil
	cfg.UserKnownHosts = []string{filepath.Join(t.TempDir(), "known_hosts")}
	text := xknownhosts.Line([]string{sshd.Addr.String()}, sshd.HostKey) + "\n"
	if err := os.WriteFile(cfg.UserKnownHosts[0], []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return sshd, cfg
}

// running is a Run in progress.
type running struct {
	t       *testing.T
	log     *logBuffer
	stop    context.CancelFunc
	ended   chan error
	notices chan string
}

// start runs cfg until the test ends.
func start(t *testing.T, cfg *Config) *running {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	r := &running{t: t, log: new(logBuffer), stop: stop, ended: make(chan error, 1), notices: make(chan string, 100)}
	cfg.Notice = func(line string) { r.notices <- line }
	cfg.Log = slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	go func() { r.ended <- Run(ctx, cfg) }()
	t.Cleanup(func() {
		stop()
		select {
		case <-r.ended:
		case <-time.After(patience):
			t.Error("Run doesn't end")
		}
		if t.Failed() {
			t.Logf("log:\n%s", r.log)
		}
	})
	return r
}

var readyAddr = regexp.MustCompile(` is at (\S+:\d+)`)

// ready waits for a ready line and returns the address in it.
func (r *running) ready() string {
	r.t.Helper()
	for {
		select {
		case line := <-r.notices:
			if m := readyAddr.FindStringSubmatch(line); m != nil {
				return m[1]
			}
		case err := <-r.ended:
			r.ended <- err
			r.t.Fatalf("Run ended before it was ready: %v", err)
		case <-time.After(patience):
			r.t.Fatal("no ready line")
		}
	}
}

// end waits for the end of Run.
func (r *running) end() error {
	r.t.Helper()
	select {
	case err := <-r.ended:
		r.ended <- err
		return err
	case <-time.After(patience):
		r.t.Fatal("Run doesn't end")
		return nil
	}
}

// logBuffer is a log that may be read while it is written.
type logBuffer struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	more chan struct{} // closed when more is written; nil if nobody waits
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.more != nil {
		close(b.more)
		b.more = nil
	}
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// wait waits until the log has want in it.
func (b *logBuffer) wait(t *testing.T, want string) {
	t.Helper()
	timeout := time.After(patience)
	for {
		b.mu.Lock()
		found := strings.Contains(b.buf.String(), want)
		if b.more == nil {
			b.more = make(chan struct{})
		}
		more := b.more
		b.mu.Unlock()
		if found {
			return
		}
		select {
		case <-more:
		case <-timeout:
			t.Fatalf("the log has no %q", want)
		}
	}
}

func dial(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn)
}

// destination is a TCP server on loopback that serves each connection with serve and then closes it.
func destination(t *testing.T, serve func(c *net.TCPConn)) Forward {
	t.Helper()
	return forwardTo(peers.TestTCPServer(t, patience, serve))
}

// unused is an address where nothing listens.
func unused(t *testing.T) Forward {
	t.Helper()
	return Forward{Host: "127.0.0.1", HostPort: peers.TestPort(t)}
}

func forwardTo(at netip.AddrPort) Forward {
	return Forward{Host: at.Addr().String(), HostPort: at.Port()}
}

func wantReset(t *testing.T, c io.Reader) {
	t.Helper()
	if n, err := io.Copy(io.Discard, c); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %d bytes and %v, want a reset", n, err)
	}
}

// wire is a TCP relay in front of a bastion that can fail.
type wire struct {
	cut    func() // close both ends
	freeze func() // hand nothing on any more
}

// rename has the bastion known by a name, at whatever port.
func rename(t *testing.T, cfg *Config) {
	t.Helper()
	text, err := os.ReadFile(cfg.UserKnownHosts[0])
	if err != nil {
		t.Fatal(err)
	}
	_, key, _ := strings.Cut(string(text), " ")
	if err := os.WriteFile(cfg.UserKnownHosts[0], []byte("bastion "+key), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg.HostKeyAlias = "bastion"
}

// flaky puts a wire before the bastion of cfg.
func flaky(t *testing.T, cfg *Config) wire {
	t.Helper()
	to := netip.AddrPortFrom(netip.MustParseAddr(cfg.Host), cfg.Port)
	ctx, cut := context.WithCancel(context.Background())
	t.Cleanup(cut)
	frozen, freeze := context.WithCancel(context.Background())
	t.Cleanup(freeze)
	pump := func(dst, src net.Conn) {
		defer dst.Close()
		buf := make([]byte, 32<<10)
		for {
			n, err := src.Read(buf)
			if err != nil {
				return
			}
			if frozen.Err() != nil {
				<-ctx.Done()
				return
			}
			if _, err := dst.Write(buf[:n]); err != nil {
				return
			}
		}
	}
	f := destination(t, func(c *net.TCPConn) {
		up, err := net.Dial("tcp", to.String())
		if err != nil {
			t.Error(err)
			return
		}
		defer context.AfterFunc(ctx, func() { _ = c.Close(); _ = up.Close() })()
		var wg sync.WaitGroup
		wg.Go(func() { pump(up, c) })
		pump(c, up)
		wg.Wait()
	})
	rename(t, cfg)
	cfg.Port = f.HostPort
	t.Cleanup(cut) // runs before destination waits
	return wire{cut, freeze}
}
