package server

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/auth"
	"github.com/culvert-ssh/culvert/policy"
)

func TestNewChecksItsConfig(t *testing.T) {
	b := newBastion(t)
	b.start()
	for name, tt := range map[string]struct {
		spoil func(*Config)
		want  string
	}{
		"no host key":  {func(c *Config) { c.HostKeys = nil }, "culvertd keygen"},
		"no auth":      {func(c *Config) { c.Auth = nil }, "required"},
		"no policy":    {func(c *Config) { c.Decide = nil }, "required"},
		"no lines":     {func(c *Config) { c.Line = nil }, "required"},
		"no log":       {func(c *Config) { c.Log = nil }, "required"},
		"no audit":     {func(c *Config) { c.Audit = nil }, "required"},
		"no version":   {func(c *Config) { c.Version = "" }, "SSH version"},
		"bad version":  {func(c *Config) { c.Version = "1-2" }, "SSH version"},
		"version text": {func(c *Config) { c.Version = "1\r\nx" }, "SSH version"},
		"startups":     {func(c *Config) { c.MaxStartups = Startups{10, 30, 5} }, "MaxStartups"},
		"no startups":  {func(c *Config) { c.MaxStartups = Startups{} }, "MaxStartups"},
	} {
		cfg := b.cfg
		tt.spoil(&cfg)
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got error %v, want %q", name, err, tt.want)
		}
	}
}

func TestNothingWeakIsNegotiated(t *testing.T) {
	kex, ciphers, macs := Algorithms()
	if len(kex) == 0 || len(ciphers) == 0 || len(macs) == 0 {
		t.Fatalf("got %q, %q, %q, want some of each", kex, ciphers, macs)
	}
	for _, name := range append(append(kex, ciphers...), macs...) {
		for _, weak := range []string{"sha1", "cbc", "arcfour", "md5", "dss", "group1-"} {
			if strings.Contains(name, weak) {
				t.Errorf("%s is offered", name)
			}
		}
	}
	b := newBastion(t)
	b.start()
	for _, weak := range []string{"MACs=hmac-sha1", "KexAlgorithms=diffie-hellman-group14-sha1", "Ciphers=aes128-cbc"} {
		option := []string{"-o", weak}
		if strings.HasPrefix(weak, "MACs") {
			option = append(option, "-o", "Ciphers=aes128-ctr")
		}
		out, err := b.openSSH(append(option, "-l", "alice")...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "Unable to negotiate") {
			t.Errorf("%s: got %v and %q, want no agreement", weak, err, out)
		}
	}
}

func TestVersionLine(t *testing.T) {
	b := newBastion(t)
	b.start()
	c := b.connect()
	line := make([]byte, len("SSH-2.0-culvert_test\r\n"))
	if _, err := c.Read(line); err != nil || string(line) != "SSH-2.0-culvert_test\r\n" {
		t.Errorf("got %q, %v", line, err)
	}
}

// connect opens a TCP connection and says nothing.
func (b *bastion) connect() net.Conn {
	b.t.Helper()
	c, err := net.Dial("tcp", b.addr)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { c.Close() })
	return c
}

func TestLoginGraceTime(t *testing.T) {
	b := newBastion(t)
	key, _ := b.user("alice")
	b.cfg.LoginGraceTime = time.Second
	b.start()
	client := b.mustDial("alice", ssh.PublicKeys(key))
	gone(t, b.connect())
	b.events.wait("connection.closed", "reason", "LoginGraceTime")
	// By now it would be over for the authenticated one as well, which is the older.
	if _, _, err := client.SendRequest("keepalive@openssh.com", true, nil); err != nil {
		t.Errorf("authenticated connection: %v, want it to live on", err)
	}
}

func TestPanicEndsItsConnectionAlone(t *testing.T) {
	b := newBastion(t)
	alice, _ := b.user("alice")
	mallory, _ := b.user("mallory")
	b.cfg.Permitted = func(s policy.Subject) []string {
		if s.User == "mallory" {
			panic("a bug that mallory found")
		}
		return nil
	}
	b.start()
	bystander := b.mustDial("alice", ssh.PublicKeys(alice))

	inHandler := b.mustDial("mallory", ssh.PublicKeys(mallory))
	if _, _, err := inHandler.OpenChannel("session", nil); err == nil {
		t.Error("the channel was opened")
	}
	_ = inHandler.Wait()
	b.events.wait("connection.closed", "user", "mallory", "reason", "internal error")

	inRequest := b.mustDial("mallory", ssh.PublicKeys(mallory))
	_, _, _ = inRequest.SendRequest("any", true, nil)
	_ = inRequest.Wait()

	if got := b.Panics(); got != 2 {
		t.Errorf("panics: got %d, want 2", got)
	}
	if _, _, err := bystander.SendRequest("any", true, nil); err != nil {
		t.Errorf("bystander: %v", err)
	}
}

func TestPanicDuringAuthenticationLetsNobodyIn(t *testing.T) {
	for _, where := range []string{"key", "password", "banner"} {
		t.Run(where, func(t *testing.T) {
			b := newBastion(t)
			key, _ := b.user("alice")
			if where == "banner" {
				b.cfg.Settings = func(s policy.Subject) Settings {
					if s.User != "" {
						panic("a bug")
					}
					return b.all
				}
			}
			if where != "banner" {
				b.authFor = func(policy.Subject) auth.Settings { panic("a bug") }
			}
			b.start()
			method := ssh.PublicKeys(key)
			if where == "password" {
				method = ssh.Password("x")
			}
			if _, err := b.dial("alice", method); err == nil {
				t.Error("a client got in")
			}
			b.events.wait("connection.closed", "reason", "internal error")
			if b.Panics() == 0 {
				t.Error("the panic isn't counted")
			}
		})
	}
}

// A client that has more than a thousand opens in hand at once may be disconnected; it must
// not be felt by anybody else.
func TestTenThousandChannelOpensAtOnce(t *testing.T) {
	b := newBastion(t)
	key, _ := b.user("alice")
	b.cfg.Log = slog.New(slog.DiscardHandler)
	b.start()
	flood := b.mustDial("alice", ssh.PublicKeys(key))
	bystander := b.mustDial("alice", ssh.PublicKeys(key))
	var asking sync.WaitGroup
	for range 10_000 {
		asking.Go(func() {
			if ch, _, err := flood.OpenChannel("no-such-type", nil); err == nil {
				t.Error("a channel of no type was opened")
				ch.Close()
			}
		})
	}
	asking.Wait()
	if _, _, err := bystander.SendRequest("any", true, nil); err != nil {
		t.Errorf("bystander: %v", err)
	}
}

func TestRefusedChannelOpensDoNotAddUp(t *testing.T) {
	b := newBastion(t)
	key, _ := b.user("alice")
	b.cfg.Log = slog.New(slog.DiscardHandler)
	b.start()
	client := b.mustDial("alice", ssh.PublicKeys(key))
	for range 1100 { // more than may be in hand at once
		var refused *ssh.OpenChannelError
		if _, _, err := client.OpenChannel("no-such-type", nil); !errors.As(err, &refused) {
			t.Fatalf("got %v, want a refusal on a connection that lives", err)
		}
	}
}

func TestClientMaySendLittleBeforeItIsKnown(t *testing.T) {
	b := newBastion(t)
	key, _ := b.user("alice")
	b.start()
	if _, err := b.dial(strings.Repeat("a", maxUnknown), ssh.PublicKeys(key)); err == nil {
		t.Error("a user name of that length was taken")
	}
	b.events.wait("connection.closed", "reason", "before authentication")

	// What is sent afterwards doesn't count.
	client := b.mustDial("alice", ssh.PublicKeys(key))
	for range 3 {
		if _, _, err := client.SendRequest("nonsense", true, make([]byte, maxUnknown)); err != nil {
			t.Error(err)
		}
	}
}

// stuck is an SSH connection that never says why it has ended.
type stuck struct {
	ssh.Conn
	release chan struct{}
}

func (s stuck) Wait() error { <-s.release; return nil }

func TestConnectionThatNeverSaysWhyItEndedEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := stuck{release: make(chan struct{})}
		defer close(conn.release)
		if err := ended(conn); !errors.Is(err, errBroken) {
			t.Errorf("got %v, want %v", err, errBroken)
		}
	})
}

func TestShutdownEndsOpenHandshakes(t *testing.T) {
	b := newBastion(t)
	b.start()
	silent := b.connect()
	b.events.wait("connection.opened")
	if err := b.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	gone(t, silent)
	b.events.wait("connection.closed", "reason", "the server shuts down")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Serve(l); !errors.Is(err, ErrServerClosed) {
		t.Errorf("Serve after Shutdown: got %v, want ErrServerClosed", err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener is still open: %v", err)
	}
}

// failing is a listener whose first calls of Accept fail.
type failing struct {
	net.Listener
	errs []error
}

func (f *failing) Accept() (net.Conn, error) {
	if len(f.errs) > 0 {
		err := f.errs[0]
		f.errs = f.errs[1:]
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", err)}
	}
	return f.Listener.Accept()
}

func TestAcceptGoesOnWhenDescriptorsRunOut(t *testing.T) {
	b := newBastion(t)
	b.start()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- b.Serve(&failing{l, []error{syscall.EMFILE, syscall.ENFILE}}) }()
	b.addr = l.Addr().String()
	b.connect()
	b.events.wait("connection.opened", "local", b.addr)
	if err := b.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-served; !errors.Is(err, ErrServerClosed) {
		t.Errorf("Serve: got %v, want ErrServerClosed", err)
	}
}

func TestAcceptEndsAtALastingError(t *testing.T) {
	b := newBastion(t)
	b.start()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Serve(&failing{l, []error{syscall.EBADF}}); !errors.Is(err, syscall.EBADF) {
		t.Errorf("got %v, want EBADF", err)
	}
}

func TestBannerIsBounded(t *testing.T) {
	dir := t.TempDir()
	long := filepath.Join(dir, "long")
	if err := os.WriteFile(long, make([]byte, maxBanner+1), 0o600); err != nil {
		t.Fatal(err)
	}
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	writer, err := os.OpenFile(fifo, os.O_RDWR, 0) // who never writes
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	for _, path := range []string{long, filepath.Join(dir, "missing"), dir, fifo} {
		if text, err := readBanner(path); text != "" || err == nil {
			t.Errorf("%s: got %d bytes, error %v, want an error", path, len(text), err)
		}
	}
}

func TestLateHandlerFindsTheGateShut(t *testing.T) {
	var g gate
	if !g.enter() {
		t.Fatal("the gate is shut")
	}
	g.shut()
	if g.enter() {
		t.Error("the gate is open")
	}
	g.leave()
	g.wait()
}

func TestDisconnectMessageIsBounded(t *testing.T) {
	c := &connection{s: &Server{}, failed: fmt.Errorf("%s", strings.Repeat("x", 100_000))}
	c.ctx = t.Context()
	if got := len(c.reason().Error()); got > 300 {
		t.Errorf("reason: got %d bytes, want few", got)
	}
}
