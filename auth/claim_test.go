package auth

import (
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/policy"
)

func TestWhoIsDeniedDoesNotGetIn(t *testing.T) {
	key := newKey(t)
	for name, deny := range map[string]func(*bastion){
		"DenyUsers":  func(b *bastion) { b.policy.Global.DenyUsers = denied(t, "alice") },
		"AllowUsers": func(b *bastion) { b.policy.Global.AllowUsers = denied(t, "bob") },
		"locked":     func(b *bastion) { must(t, SetLocked(b.settings.PasswordFile, "alice", true)) },
		"AllowGroups": func(b *bastion) {
			must(t, SetGroups(b.settings.PasswordFile, "alice", []string{"guests"}))
			g, err := policy.ParseGroupPattern("staff")
			must(t, err)
			b.policy.Global.AllowGroups = []policy.Line[[]policy.GroupPattern]{{Source: "sshd_config:7", Value: []policy.GroupPattern{g}}}
		},
	} {
		for _, method := range []ssh.AuthMethod{ssh.PublicKeys(key), ssh.Password("alice"), answering(nil, "alice", "")} {
			b := newBastion(t)
			b.accounts()
			b.authorize("alice", line(key))
			deny(b)
			if _, err := b.login("alice", method); err == nil {
				t.Errorf("%s: alice got in", name)
			}
			got := b.recorded()
			if len(got) != 1 || got[0].Accepted || got[0].Class != classAuthFail || name != "locked" && got[0].Rule != "sshd_config:7" {
				t.Errorf("%s: attempts: got %+v, want one refusal that names the line", name, got)
			}
		}
	}
}

var loopbackPort = netip.MustParseAddrPort("127.0.0.1:50000")

func TestGroupsAndClass(t *testing.T) {
	b := newBastion(t)
	b.accounts()
	must(t, SetGroups(b.settings.PasswordFile, "alice", []string{"staff", "ops"}))
	b.authorize("carol", line(newKey(t)))
	a, err := New(b.cfg)
	must(t, err)
	var got []Attempt
	c := a.Client(t.Context(), loopbackPort, loopbackPort, func(at Attempt) error {
		got = append(got, at)
		return nil
	})
	if c.Class() != classNoAuth {
		t.Errorf("class: got %q, want noauth", c.Class())
	}
	if s := c.Claimed("alice"); s.Invalid || !slices.Equal(s.Groups, []string{"staff", "ops"}) || s.Key != "" {
		t.Errorf("alice: got %+v, want her groups", s)
	}
	if s := c.Claimed("carol"); s.Invalid || len(s.Groups) != 0 {
		t.Errorf("carol, who has a keys file: got %+v, want a known user", s)
	}
	for _, name := range []string{"nobody-at-all", "../x", ""} {
		if s := c.Claimed(name); !s.Invalid {
			t.Errorf("%q: got %+v, want an invalid one", name, s)
		}
	}
	cfg := &ssh.ServerConfig{}
	c.Install(cfg)
	for _, tt := range []struct{ user, class, all string }{
		{"alice", classAuthFail, classAuthFail}, {"nobody-at-all", classInvalidUser, classInvalidUser}, {"alice", classAuthFail, classInvalidUser},
	} {
		_, err := cfg.PublicKeyCallback(meta{tt.user}, newKey(t).PublicKey())
		cfg.AuthLogCallback(meta{tt.user}, methodKey, err)
		if at := got[len(got)-1]; at.Class != tt.class || c.Class() != tt.all {
			t.Errorf("%s: got class %q, of all %q, want %q, %q", tt.user, at.Class, c.Class(), tt.class, tt.all)
		}
	}
}

func TestAccountsAreRememberedForAConnection(t *testing.T) {
	b := newBastion(t)
	b.accounts()
	a, err := New(b.cfg)
	must(t, err)
	c := a.Client(t.Context(), loopbackPort, loopbackPort, nil)
	if c.Claimed("alice").Invalid {
		t.Fatal("alice is not known")
	}
	must(t, os.Remove(b.settings.PasswordFile))
	if c.Claimed("alice").Invalid {
		t.Error("alice was looked up again")
	}
	for i := range 10 * maxAccounts {
		c.Claimed(strings.Repeat("x", i+1))
	}
	if len(c.accounts.accounts) > maxAccounts || len(c.accounts.names) > maxAccounts {
		t.Errorf("%d accounts are remembered, want %d at most", len(c.accounts.accounts), maxAccounts)
	}
	if !c.Claimed("alice").Invalid {
		t.Error("alice is still remembered")
	}
}

func TestAccountFileThatCannotBeReadLetsNobodyIn(t *testing.T) {
	b := newBastion(t)
	key := newKey(t)
	b.authorize("alice", line(key))
	b.write("passwords", "broken")
	if _, err := b.login("alice", ssh.PublicKeys(key)); err == nil || !strings.Contains(b.lastReason(), "passwords:1") {
		t.Errorf("got error %v, reason %q, want the line that is broken", err, b.lastReason())
	}
}

func TestPermitRootLogin(t *testing.T) {
	key := newKey(t)
	for _, tt := range []struct {
		permit   RootLogin
		options  string
		byKey    bool
		password bool
	}{
		{RootNo, "", false, false},
		{RootNo, `command="x" `, false, false},
		{RootForcedCommands, "", false, false},
		{RootForcedCommands, `command="x" `, true, false},
		{RootKeys, "", true, false},
		{RootYes, "", true, true},
	} {
		b := newBastion(t)
		b.accounts()
		text, err := os.ReadFile(b.settings.PasswordFile)
		must(t, err)
		b.write("passwords", strings.Replace(string(text), "alice:", "root:", 1))
		b.settings.PermitRootLogin = tt.permit
		b.authorize("root", tt.options+line(key))
		if _, err := b.login("root", ssh.PublicKeys(key)); (err == nil) != tt.byKey {
			t.Errorf("PermitRootLogin %d, key with %q: got error %v, reason %q, want in %t", tt.permit, tt.options, err, b.lastReason(), tt.byKey)
		}
		if _, err := b.login("root", ssh.Password("alice")); (err == nil) != tt.password {
			t.Errorf("PermitRootLogin %d, password: got error %v, reason %q, want in %t", tt.permit, err, b.lastReason(), tt.password)
		}
	}
}

// What a refusal takes must not depend on whether there is such a user.
func TestRefusalsDoTheSameWork(t *testing.T) {
	b := newBastion(t)
	b.accounts()
	b.authorize("alice", line(newKey(t)))
	b.policy.Global.DenyUsers = denied(t, "denied")
	a, err := New(b.cfg)
	must(t, err)
	hashed, coded := 0, 0
	a.passwords.running = make(chan struct{})
	go func() { // who hashes comes in, and goes out again
		for range a.passwords.running {
			hashed++
			a.passwords.running <- struct{}{}
		}
	}()
	defer close(a.passwords.running)
	a.codes.now = func() time.Time { coded++; return time.Now() }
	c := a.Client(t.Context(), loopbackPort, loopbackPort, func(Attempt) error { return nil })
	cfg := &ssh.ServerConfig{}
	c.Install(cfg)
	for _, user := range []string{"alice", "bob", "denied", "root", "nobody-at-all", "../x"} {
		hashed, coded = 0, 0
		if _, err := cfg.PasswordCallback(meta{user}, []byte("wrong")); err == nil {
			t.Errorf("%s: got in", user)
		}
		if hashed != 1 || coded != 1 {
			t.Errorf("%s: password: %d hashes and %d codes were computed, want 1 each", user, hashed, coded)
		}
		hashed, coded = 0, 0
		wrong := func(_, _ string, questions []string, _ []bool) ([]string, error) {
			return make([]string, len(questions)), nil
		}
		if _, err := cfg.KeyboardInteractiveCallback(meta{user}, wrong); err == nil {
			t.Errorf("%s: got in", user)
		}
		if hashed != 1 || coded != 1 {
			t.Errorf("%s: keyboard-interactive: %d hashes and %d codes were computed, want 1 each", user, hashed, coded)
		}
	}
}

func TestWhomTheReportRefusesIsToBlameForNothing(t *testing.T) {
	b := newBastion(t)
	a, err := New(b.cfg)
	must(t, err)
	key := newKey(t)
	b.authorize("alice", line(key))
	var got []Attempt
	c := a.Client(t.Context(), loopbackPort, loopbackPort, func(at Attempt) error {
		got = append(got, at)
		return &Refused{Rule: "sshd_config:7", Reason: "there is no room"}
	})
	cfg := &ssh.ServerConfig{}
	c.Install(cfg)
	perms, err := cfg.VerifiedPublicKeyCallback(meta{"alice"}, key.PublicKey(), nil, ssh.KeyAlgoED25519)
	if err == nil {
		t.Fatalf("got in with %+v", perms)
	}
	cfg.AuthLogCallback(meta{"alice"}, methodKey, err)
	if len(got) != 2 || !got[0].Accepted {
		t.Fatalf("attempts: got %+v, want one that is accepted and then refused", got)
	}
	want := Attempt{
		User: "alice", Method: methodKey, Key: ssh.FingerprintSHA256(key.PublicKey()), Rule: "sshd_config:7", Reason: "there is no room",
	}
	if got[1] != want || c.Class() != classNoAuth {
		t.Errorf("got class %q and %+v, want none and %+v", c.Class(), got[1], want)
	}
}
