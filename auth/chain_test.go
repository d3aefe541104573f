package auth

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/policy"
)

// A secret of one-time codes, and the code that is right now.
const bobsSecret = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"

// bobsCode is bob's code at one time, and the clock that stands still there: hashes take long on a busy machine.
func bobsCode(t *testing.T) (code string, now func() time.Time) {
	t.Helper()
	at := time.Now()
	code, err := codeAt(bobsSecret, at)
	if err != nil {
		t.Fatal(err)
	}
	return code, func() time.Time { return at }
}

// accountFile has alice with a password, and bob with a one-time code as well. The passwords are their names.
var accountFile = sync.OnceValues(func() (string, error) {
	var text string
	for _, user := range []string{"alice", "bob"} {
		hash, err := hashPassword(user)
		if err != nil {
			return "", err
		}
		text += user + ":" + hash + "\n"
	}
	return strings.TrimSpace(text) + ":totp=" + bobsSecret + "\n", nil
})

// accounts writes it.
func (b *bastion) accounts() {
	b.t.Helper()
	text, err := accountFile()
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(b.dir, "passwords"), []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// answering answers the questions of keyboard-interactive in one round, and notes them.
func answering(asked *[]string, answers ...string) ssh.AuthMethod {
	return ssh.KeyboardInteractive(func(_, _ string, questions []string, _ []bool) ([]string, error) {
		if asked != nil {
			*asked = questions
		}
		return answers[:min(len(questions), len(answers))], nil
	})
}

func TestMethodsOfALogin(t *testing.T) {
	key, other := newKey(t), newKey(t)
	code, now := bobsCode(t)
	for name, tt := range map[string]struct {
		lists   string // AuthenticationMethods
		user    string
		methods []ssh.AuthMethod
		reason  string // empty if let in
	}{
		"key":                                    {"", "alice", []ssh.AuthMethod{ssh.PublicKeys(key)}, ""},
		"password":                               {"", "alice", []ssh.AuthMethod{ssh.Password("alice")}, ""},
		"keyboard":                               {"", "alice", []ssh.AuthMethod{answering(nil, "alice", "")}, ""},
		"keyboard, wrong":                        {"", "alice", []ssh.AuthMethod{answering(nil, "bob", "")}, "wrong password"},
		"keyboard and code":                      {"", "bob", []ssh.AuthMethod{answering(nil, "bob", code)}, ""},
		"keyboard without its code":              {"", "bob", []ssh.AuthMethod{answering(nil, "bob", "")}, "wrong one-time code"},
		"keyboard, code and a wrong password":    {"", "bob", []ssh.AuthMethod{answering(nil, "alice", code)}, "wrong password"},
		"password of who has a code":             {"", "bob", []ssh.AuthMethod{ssh.Password("bob")}, "the password alone doesn't serve"},
		"key of who has a code":                  {"", "bob", []ssh.AuthMethod{ssh.PublicKeys(key)}, ""},
		"key and password":                       {"publickey,password", "alice", []ssh.AuthMethod{ssh.PublicKeys(key), ssh.Password("alice")}, ""},
		"password first":                         {"publickey,password", "alice", []ssh.AuthMethod{ssh.Password("alice")}, "something else than password now"},
		"key and a wrong password":               {"publickey,password", "alice", []ssh.AuthMethod{ssh.PublicKeys(key), ssh.Password("bob")}, "wrong password"},
		"key and keyboard":                       {"publickey,keyboard-interactive", "bob", []ssh.AuthMethod{ssh.PublicKeys(key), answering(nil, "bob", code)}, ""},
		"key and code":                           {"publickey,keyboard-interactive:totp", "bob", []ssh.AuthMethod{ssh.PublicKeys(key), answering(nil, code)}, ""},
		"key and code of who has none":           {"publickey,keyboard-interactive:totp", "alice", []ssh.AuthMethod{ssh.PublicKeys(key), answering(nil, code)}, "no one-time code"},
		"password and code":                      {"password,keyboard-interactive:totp", "bob", []ssh.AuthMethod{ssh.Password("bob"), answering(nil, code)}, ""},
		"key and password of who has a code":     {"publickey,password", "bob", []ssh.AuthMethod{ssh.PublicKeys(key), ssh.Password("bob")}, "the password alone doesn't serve"},
		"the same by keyboard":                   {"publickey,keyboard-interactive:password", "bob", []ssh.AuthMethod{ssh.PublicKeys(key), answering(nil, "bob")}, "the password alone doesn't serve"},
		"password by keyboard":                   {"publickey,keyboard-interactive:password", "alice", []ssh.AuthMethod{ssh.PublicKeys(key), answering(nil, "alice")}, ""},
		"two keys":                               {"publickey,publickey", "alice", []ssh.AuthMethod{ssh.PublicKeys(key), ssh.PublicKeys(other)}, ""},
		"one key twice":                          {"publickey,publickey", "alice", []ssh.AuthMethod{ssh.PublicKeys(key), ssh.PublicKeys(key)}, "proven already"},
		"the second list":                        {"publickey,publickey password", "alice", []ssh.AuthMethod{ssh.Password("alice")}, ""},
		"between two lists":                      {"publickey,password password,publickey", "alice", []ssh.AuthMethod{ssh.Password("alice"), ssh.PublicKeys(key)}, ""},
		"a list that is off":                     {"hostbased,publickey", "alice", []ssh.AuthMethod{ssh.PublicKeys(key)}, "something else"},
		"method that isn't in any list, at last": {"publickey,password", "alice", []ssh.AuthMethod{ssh.PublicKeys(key), answering(nil, "alice", "")}, "not configured"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBastion(t)
			b.cfg.Now = now
			b.accounts()
			for _, user := range []string{"alice", "bob"} {
				b.authorize(user, line(key), line(other))
			}
			for list := range strings.FieldsSeq(tt.lists) {
				b.settings.AuthenticationMethods = append(b.settings.AuthenticationMethods, strings.Split(list, ","))
			}
			s, err := b.login(tt.user, tt.methods...)
			if tt.reason != "" {
				if got := b.lastReason(); err == nil || !strings.Contains(got, tt.reason) {
					t.Errorf("got error %v, reason %q, want %q", err, got, tt.reason)
				}
				return
			}
			if err != nil {
				t.Fatalf("%v: %+v", err, b.recorded())
			}
			if s.User != tt.user || s.Invalid {
				t.Errorf("got %+v, want %s", s, tt.user)
			}
			attempts := b.recorded()
			if got := attempts[len(attempts)-1]; len(attempts) != len(tt.methods) || !got.Accepted || got.Partial {
				t.Errorf("attempts: got %+v, want %d of which the last is accepted", attempts, len(tt.methods))
			}
		})
	}
}

func TestPartOfALoginIsNone(t *testing.T) {
	b := newBastion(t)
	key := newKey(t)
	b.authorize("alice", line(key))
	b.settings.AuthenticationMethods = [][]string{{methodKey, methodPassword}}
	if s, err := b.login("alice", ssh.PublicKeys(key)); err == nil {
		t.Fatalf("%+v got in", s)
	}
	if got := b.recorded(); len(got) != 1 || got[0].Accepted || !got[0].Partial || got[0].Class != "" {
		t.Errorf("attempts: got %+v, want one that is right in part", got)
	}
}

func TestEverybodyIsAskedTheSame(t *testing.T) {
	b := newBastion(t)
	ask := func(user string) (asked []string) {
		_, _ = b.login(user, answering(&asked, "wrong", "wrong"))
		return asked
	}
	if err := SetPassword(b.settings.PasswordFile, "alice", "alice"); err != nil {
		t.Fatal(err)
	}
	for _, user := range []string{"alice", "nobody-at-all", "../x"} {
		if got := ask(user); !slices.Equal(got, []string{askPassword}) {
			t.Errorf("%s: asked %q, want the password alone: nobody has a code", user, got)
		}
	}
	b.accounts()
	for _, user := range []string{"alice", "bob", "nobody-at-all"} {
		if got := ask(user); !slices.Equal(got, []string{askPassword, askAnyCode}) {
			t.Errorf("%s: asked %q, want the password and a code", user, got)
		}
	}
}

func TestCodeServesOnce(t *testing.T) {
	b := newBastion(t)
	code, now := bobsCode(t)
	b.cfg.Now = now
	b.accounts()
	a, err := New(b.cfg)
	if err != nil {
		t.Fatal(err)
	}
	b.made = a
	if _, err := b.login("bob", answering(nil, "wrong", code)); err == nil {
		t.Fatal("got in with a wrong password")
	}
	if _, err := b.login("bob", answering(nil, "bob", code)); err != nil {
		t.Fatalf("a code that came with a wrong password was used up: %v", err)
	}
	if _, err := b.login("bob", answering(nil, "bob", code)); err == nil || !strings.Contains(b.lastReason(), "used already") {
		t.Errorf("second use: got error %v, reason %q, want that it was used already", err, b.lastReason())
	}
}

func TestKeysOfALoginNarrowTogether(t *testing.T) {
	one, two := newKey(t), newKey(t)
	for _, tt := range []struct {
		one, two string
		refused  string
		want     policy.KeyRules
	}{
		{"", "", "", policy.KeyRules{}},
		{"no-port-forwarding", "no-pty", "", policy.KeyRules{NoPortForwarding: true, NoPTY: true}},
		{"no-agent-forwarding", "", "", policy.KeyRules{NoAgentForwarding: true}},
		{`command="a"`, "", "", policy.KeyRules{ForceCommand: "a"}},
		{"", `command="b"`, "", policy.KeyRules{ForceCommand: "b"}},
		{`command="a"`, `command="b"`, "force two commands", policy.KeyRules{}},
		{`permitopen="a:1"`, `permitopen="b:1"`, "permitopen of their own", policy.KeyRules{}},
		{`permitopen="a:1"`, `permitopen="A:1"`, "", policy.KeyRules{PermitOpen: make([]policy.OpenPattern, 1)}},
		{`permitlisten="1"`, `permitlisten="2"`, "permitlisten of their own", policy.KeyRules{}},
		{``, `permitopen="a:1"`, "", policy.KeyRules{PermitOpen: make([]policy.OpenPattern, 1)}},
	} {
		t.Run(tt.one+"+"+tt.two, func(t *testing.T) {
			b := newBastion(t)
			b.settings.AuthenticationMethods = [][]string{{methodKey, methodKey}}
			b.authorize("alice", strings.TrimSpace(tt.one+" "+line(one)), strings.TrimSpace(tt.two+" "+line(two)))
			s, err := b.login("alice", ssh.PublicKeys(one), ssh.PublicKeys(two))
			if tt.refused != "" {
				if got := b.lastReason(); err == nil || !strings.Contains(got, tt.refused) {
					t.Errorf("got error %v, reason %q, want %q", err, got, tt.refused)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got, file := *s.KeyRules, filepath.Join(b.dir, "alice")
			if got.Source != file+":1, "+file+":2" || len(got.PermitOpen) != len(tt.want.PermitOpen) {
				t.Errorf("got %+v", got)
			}
			got.Source, got.PermitOpen, tt.want.PermitOpen = "", nil, nil
			if !sameRules(got, tt.want) {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

// x/crypto/ssh ends a connection that changes the name after a step; here it would not count either.
func TestStepsForTwoNamesDoNotAddUp(t *testing.T) {
	b := newBastion(t)
	b.accounts()
	b.settings.AuthenticationMethods = [][]string{{methodKey, methodPassword}}
	key := newKey(t)
	b.authorize("alice", line(key))
	cfg, _ := newClient(t, b)
	_, err := cfg.VerifiedPublicKeyCallback(meta{"alice"}, key.PublicKey(), nil, ssh.KeyAlgoED25519)
	partial, ok := err.(*ssh.PartialSuccessError)
	if !ok {
		t.Fatalf("alice's key: got %v, want that more is asked for", err)
	}
	if partial.Next.PublicKeyCallback != nil || partial.Next.KeyboardInteractiveCallback != nil {
		t.Error("more is offered than the password")
	}
	if perms, err := partial.Next.PasswordCallback(meta{"bob"}, []byte("bob")); err == nil {
		t.Errorf("got %+v for bob's password after alice's key", perms)
	}
	if perms, err := partial.Next.PasswordCallback(meta{"alice"}, []byte("alice")); err == nil {
		t.Errorf("got %+v for alice's password: her key came before bob was named", perms)
	}
}
