package server

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/audit"
	"github.com/culvert-ssh/culvert/auth"
	"github.com/culvert-ssh/culvert/policy"
)

func TestMain(m *testing.M) {
	if os.Getenv(clientsOf) == "" {
		goleak.VerifyTestMain(m)
	}
	if err := clients(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// bastion is a server on loopback with a folder for its users' keys.
type bastion struct {
	t      testing.TB
	dir    string
	host   ssh.Signer
	events *events
	all    Settings // for everybody

	auth    auth.Settings // for everybody
	authFor func(policy.Subject) auth.Settings
	offered auth.Offered
	policy  policy.Policy // who may come in
	cfg     Config

	*Server
	addr string
}

// newBastion returns a bastion that start starts; until then its fields may be changed.
func newBastion(t testing.TB) *bastion {
	t.Helper()
	b := &bastion{t: t, dir: t.TempDir(), events: newEvents(t)}
	_, b.host = newKey(t)
	b.auth = auth.Settings{
		PubkeyAuthentication: true, AuthorizedKeysFile: []string{filepath.Join(b.dir, "%u.keys")},
		PasswordAuthentication: true, PasswordFile: filepath.Join(b.dir, "passwords"),
	}
	if err := os.WriteFile(b.auth.PasswordFile, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b.offered = auth.Offered{PublicKey: true, Password: true}
	b.authFor = func(policy.Subject) auth.Settings { return b.auth }
	b.all = Settings{MaxAuthTries: 6, MaxSessions: 10, MaxChannels: 64, ConnectTimeout: time.Second}
	b.cfg = Config{
		Live:      Live{HostKeys: []ssh.Signer{b.host}, MaxStartups: Startups{100, 30, 200}, PerSourceBits4: 32, PerSourceBits6: 128},
		Version:   "test",
		Decide:    func(policy.Request) policy.Decision { return policy.Decision{} },
		Permitted: func(policy.Subject) []string { return nil },
		Settings:  func(policy.Subject) Settings { return b.all },
		Line:      func(keyword string, s policy.Subject) string { return "sshd_config:9 " + keyword + " of " + s.User },
		Audit:     audit.New(b.events, time.Now),
		Log:       slog.New(slog.NewTextHandler(testLog{t}, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Now:       time.Now,
	}
	return b
}

func (b *bastion) start() {
	b.t.Helper()
	who, err := auth.New(auth.Config{
		Settings: func(s policy.Subject) auth.Settings { return b.authFor(s) },
		Admit:    func(s policy.Subject) policy.Decision { return b.policy.Admit(s, time.Now()) },
		Offered:  func() auth.Offered { return b.offered }, Now: time.Now,
	})
	if err != nil {
		b.t.Fatal(err)
	}
	b.cfg.Auth = who
	if b.Server, err = New(b.cfg); err != nil {
		b.t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.t.Fatal(err)
	}
	b.addr = l.Addr().String()
	served := make(chan error, 1)
	go func() { served <- b.Serve(l) }()
	b.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := b.Shutdown(ctx); err != nil {
			b.t.Errorf("shutdown: %v", err)
		}
		if err := <-served; !errors.Is(err, ErrServerClosed) {
			b.t.Errorf("Serve: got %v, want ErrServerClosed", err)
		}
	})
}

// user makes a key that is authorized for a user, and returns it with the path of its private half.
func (b *bastion) user(name string) (ssh.Signer, string) {
	b.t.Helper()
	key, signer := newKey(b.t)
	if err := os.WriteFile(filepath.Join(b.dir, name+".keys"), ssh.MarshalAuthorizedKey(signer.PublicKey()), 0o600); err != nil {
		b.t.Fatal(err)
	}
	return signer, b.identity(key)
}

func (b *bastion) identity(key ed25519.PrivateKey) string {
	b.t.Helper()
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		b.t.Fatal(err)
	}
	f, err := os.CreateTemp(b.dir, "identity-*")
	if err != nil {
		b.t.Fatal(err)
	}
	defer f.Close()
	if err := pem.Encode(f, block); err != nil {
		b.t.Fatal(err)
	}
	return f.Name()
}

// dial logs in as x/crypto/ssh does.
func (b *bastion) dial(user string, methods ...ssh.AuthMethod) (*ssh.Client, error) {
	b.t.Helper()
	client, err := ssh.Dial("tcp", b.addr, b.clientConfig(user, methods...))
	if err == nil {
		b.t.Cleanup(func() { client.Close() })
	}
	return client, err
}

func (b *bastion) clientConfig(user string, methods ...ssh.AuthMethod) *ssh.ClientConfig {
	return &ssh.ClientConfig{
		User: user, Auth: methods, HostKeyCallback: ssh.FixedHostKey(b.host.PublicKey()), Timeout: patience,
	}
}

// mustDial logs in and fails the test if that fails.
func (b *bastion) mustDial(user string, methods ...ssh.AuthMethod) *ssh.Client {
	b.t.Helper()
	client, err := b.dial(user, methods...)
	if err != nil {
		b.t.Fatal(err)
	}
	return client
}

// openSSH returns the command ssh with what every test needs, and args.
func (b *bastion) openSSH(args ...string) *exec.Cmd {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	b.t.Cleanup(cancel)
	host, port, err := net.SplitHostPort(b.addr)
	if err != nil {
		b.t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, "ssh", append([]string{
		"-F", "none", "-p", port, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=INFO",
		"-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none",
	}, append(args, host)...)...)
	return cmd
}

func newKey(t testing.TB) (ed25519.PrivateKey, ssh.Signer) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return key, signer
}

func denyUsers(t testing.TB, name string) []policy.Line[[]policy.UserPattern] {
	t.Helper()
	user, err := policy.ParseUserPattern(name)
	if err != nil {
		t.Fatal(err)
	}
	return []policy.Line[[]policy.UserPattern]{{Source: "sshd_config:7", Value: []policy.UserPattern{user}}}
}

// event is one line of the audit log.
type event map[string]any

// events is an audit log that can be waited for.
type events struct {
	t    testing.TB
	fail func(event) error // if not nil, may refuse to write

	mu   sync.Mutex
	all  []event
	more chan struct{} // closed and renewed with each event
}

func newEvents(t testing.TB) *events { return &events{t: t, more: make(chan struct{})} }

// Write takes one line, or two: that events were lost comes with the next one.
func (e *events) Write(lines []byte) (int, error) {
	var added []event
	for line := range bytes.Lines(lines) {
		var ev event
		if err := json.Unmarshal(line, &ev); err != nil {
			e.t.Errorf("audit line %q: %v", line, err)
		}
		added = append(added, ev)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, ev := range added {
		if e.fail == nil {
			break
		}
		if err := e.fail(ev); err != nil {
			return 0, err
		}
	}
	e.all = append(e.all, added...)
	close(e.more)
	e.more = make(chan struct{})
	return len(lines), nil
}

// wait returns the first event of this name whose fields, given as name and part of the value, match.
func (e *events) wait(name string, fields ...string) event {
	e.t.Helper()
	timeout := time.After(patience)
	for {
		e.mu.Lock()
		all, more := e.all, e.more
		e.mu.Unlock()
		for _, ev := range all {
			if ev["event"] == name && ev.has(fields) {
				return ev
			}
		}
		select {
		case <-more:
		case <-timeout:
			e.t.Fatalf("no %s event with %q; there are %v", name, fields, all)
		}
	}
}

// waitFor waits until the server has noticed the connection.
func (e *events) waitFor(c net.Conn) {
	e.t.Helper()
	e.wait("connection.opened", "client", c.LocalAddr().String())
}

// each calls do for every event of this name.
func (e *events) each(name string, do func(event)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, ev := range e.all {
		if ev["event"] == name {
			do(ev)
		}
	}
}

func (ev event) has(fields []string) bool {
	for i := 0; i < len(fields); i += 2 {
		value, _ := ev[fields[i]].(string)
		if !strings.Contains(value, fields[i+1]) {
			return false
		}
	}
	return true
}

func (e *events) count(name string, fields ...string) (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, ev := range e.all {
		if ev["event"] == name && ev.has(fields) {
			n++
		}
	}
	return n
}

// testLog writes the server's log to the test's.
type testLog struct{ t testing.TB }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Log(string(bytes.TrimSpace(p)))
	return len(p), nil
}

// gone reads until the connection ends, and returns what came before.
func gone(t testing.TB, c net.Conn) string {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(c)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal("the connection doesn't end")
	}
	return string(text)
}
