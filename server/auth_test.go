package server

import (
	"bufio"
	"crypto/ed25519"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/auth"
	"github.com/culvert-ssh/culvert/policy"
)

// gliderlabs/ssh switches the method none on for a server that has no handlers of its kind.
func TestNoneIsRefused(t *testing.T) {
	b := newBastion(t)
	b.user("alice")
	b.start()
	if _, err := b.dial("alice"); err == nil {
		t.Fatal("a client got in without proving anything")
	}
	out, err := b.openSSH("-l", "alice", "-o", "PreferredAuthentications=none").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "Permission denied") {
		t.Fatalf("ssh with none: got %v and %q, want permission denied", err, out)
	}
}

func TestOpenSSHLogsInWithItsKey(t *testing.T) {
	b := newBastion(t)
	_, identity := b.user("alice")
	b.all.Banner = filepath.Join(b.dir, "banner")
	if err := os.WriteFile(b.all.Banner, []byte("Authorized use only.\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.start()
	cmd := b.openSSH("-l", "alice", "-i", identity)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	b.events.wait("authentication", "user", "alice", "result", "accepted", "rule", "alice.keys:1")
	text := bufio.NewReader(stdout)
	if line, err := text.ReadString('\n'); err != nil || !strings.Contains(line, "You are alice") {
		t.Errorf("session: got %q, %v, want it to say who this is", line, err)
	}
	if err := b.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, text); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // the connection was lost, and ssh says so
	for _, want := range []string{"Authorized use only.", "the server shuts down"} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("stderr: got %q, want %q in it", stderr.String(), want)
		}
	}
	b.events.wait("connection.closed", "user", "alice", "reason", "the server shuts down")
}

func TestForeignKeyIsRefused(t *testing.T) {
	b := newBastion(t)
	b.user("alice")
	_, his := b.user("bob")
	b.start()
	out, err := b.openSSH("-l", "alice", "-i", his, "-o", "BatchMode=yes").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "Permission denied (password,publickey)") {
		t.Errorf("got %v and %q, want permission denied", err, out)
	}
	b.events.wait("authentication", "user", "alice", "result", "refused", "reason", "the key is not in")
	b.events.wait("connection.closed", "reason", "not authenticated")
}

// forger offers somebody's public key and signs with nonsense.
type forger struct{ ssh.Signer }

func (f forger) Sign(io.Reader, []byte) (*ssh.Signature, error) {
	return &ssh.Signature{Format: f.PublicKey().Type(), Blob: make([]byte, ed25519.SignatureSize)}, nil
}

func TestKeyThatIsNotProvenIsRefused(t *testing.T) {
	b := newBastion(t)
	key, _ := b.user("alice")
	b.start()
	if _, err := b.dial("alice", ssh.PublicKeys(forger{key})); err == nil {
		t.Fatal("a client got in with somebody else's public key")
	}
	b.events.wait("authentication", "user", "alice", "result", "refused", "reason", "not proven")
}

func TestOpenSSHLogsInWithItsPassword(t *testing.T) {
	b := newBastion(t)
	if err := auth.SetPassword(b.auth.PasswordFile, "alice", "open sesame"); err != nil {
		t.Fatal(err)
	}
	b.start()
	login := func(password string) (string, error) {
		askpass := filepath.Join(b.dir, "askpass")
		if err := os.WriteFile(askpass, []byte("#!/bin/sh\necho '"+password+"'\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		cmd := b.openSSH("-l", "alice", "-o", "NumberOfPasswordPrompts=1", "-W", "192.0.2.1:1")
		cmd.Env = append(os.Environ(), "SSH_ASKPASS="+askpass, "SSH_ASKPASS_REQUIRE=force")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	// Once in, -W is refused by the policy, and ssh ends.
	if out, err := login("open sesame"); err == nil || !strings.Contains(out, "administratively prohibited") {
		t.Errorf("right password: got %v and %q, want to get in and be refused the channel", err, out)
	}
	b.events.wait("authentication", "method", "password", "result", "accepted")
	if out, err := login("open barley"); err == nil || !strings.Contains(out, "Permission denied") {
		t.Errorf("wrong password: got %v and %q, want permission denied", err, out)
	}
	b.events.wait("authentication", "method", "password", "result", "refused", "reason", "wrong password")
}

func TestMaxAuthTries(t *testing.T) {
	b := newBastion(t)
	own, _ := b.user("alice")
	b.all.MaxAuthTries = 3
	b.all.Line = func(keyword string) string { return "sshd_config:" + keyword }
	b.start()
	var keys []ssh.Signer
	for range 3 {
		_, foreign := newKey(t)
		keys = append(keys, foreign)
	}
	if _, err := b.dial("alice", ssh.PublicKeys(append(keys, own)...)); err == nil {
		t.Error("the fourth key was still looked at")
	}
	b.events.wait("connection.closed", "reason", "too many authentication failures", "rule", "sshd_config:MaxAuthTries")
	if got := b.events.count("authentication", "result", "refused"); got != 3 {
		t.Errorf("refused attempts: got %d, want 3", got)
	}
	if _, err := b.dial("alice", ssh.PublicKeys(append(keys[:2:2], own)...)); err != nil {
		t.Errorf("the third key is the right one: %v", err)
	}
}

func TestMaxAuthTriesOfOneUser(t *testing.T) {
	b := newBastion(t)
	alices, _ := b.user("alice")
	bobs, _ := b.user("bob")
	b.all.MaxAuthTries = 3
	b.cfg.Live.MaxAuthTries = 5
	b.cfg.Penalties = sshdPenalties()
	b.cfg.Penalties.Min = time.Hour // so that they are counted and refuse nobody
	b.cfg.Settings = func(s policy.Subject) Settings {
		settings := b.all
		settings.Line = func(keyword string) string { return "sshd_config:" + keyword }
		settings.MaxAuthTries = map[string]int{"alice": 2, "bob": 5}[s.User]
		return settings
	}
	b.start()
	var keys []ssh.Signer
	for range 4 {
		_, foreign := newKey(t)
		keys = append(keys, foreign)
	}
	if _, err := b.dial("alice", ssh.PublicKeys(append(keys[:2:2], alices)...)); err == nil {
		t.Error("alice's third key was still looked at")
	}
	b.events.wait("connection.closed", "reason", "too many authentication failures", "rule", "sshd_config:MaxAuthTries")
	b.events.wait("penalty", "class", "authfail")
	if got := b.events.count("authentication", "result", "refused", "user", "alice"); got != 2 {
		t.Errorf("alice's refused attempts: got %d, want 2", got)
	}
	if _, err := b.dial("alice", ssh.PublicKeys(append(keys[:1:1], alices)...)); err != nil {
		t.Errorf("alice's second key is the right one: %v", err)
	}
	if _, err := b.dial("bob", ssh.PublicKeys(append(keys[:4:4], bobs)...)); err != nil {
		t.Errorf("bob's fifth key is the right one: %v", err)
	}
}

func TestAuthenticationThatCannotBeRecordedIsRefused(t *testing.T) {
	for _, name := range []string{"connection.opened", "authentication"} {
		t.Run(name, func(t *testing.T) {
			b := newBastion(t)
			key, _ := b.user("alice")
			b.events.fail = func(e event) error {
				if e["event"] == name {
					return os.ErrClosed
				}
				return nil
			}
			b.start()
			if _, err := b.dial("alice", ssh.PublicKeys(key)); err == nil {
				t.Error("a client got in and nothing says so")
			}
			b.events.wait("connection.closed", "reason", "an audit event can't be written")
		})
	}
}
