package auth

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/policy"
)

// What is known of somebody who isn't there is what they would be with the proof.
func TestKnownIsWhoLogsIn(t *testing.T) {
	b := newBastion(t)
	if err := SetGroups(filepath.Join(b.dir, "passwords"), "alice", []string{"finance", "staff"}); err != nil {
		t.Fatal(err)
	}
	key := newKey(t)
	b.authorize("alice", "# hers", `permitopen="ftp/ftp.corp:21",permitlisten="8080",no-pty `+line(key))
	got := known(t, b, policy.Subject{User: "alice", Key: ssh.FingerprintSHA256(key.PublicKey())})
	want, err := b.login("alice", ssh.PublicKeys(key))
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(*got.KeyRules) != fmt.Sprint(*want.KeyRules) || !slices.Equal(got.Groups, want.Groups) || got.Invalid != want.Invalid || got.Key != want.Key {
		t.Errorf("\n got %+v %+v\nwant %+v %+v", got, *got.KeyRules, want, *want.KeyRules)
	}
	if own := known(t, b, policy.Subject{User: "alice", Groups: []string{"guests"}}); !slices.Equal(own.Groups, []string{"guests"}) {
		t.Errorf("groups that are given: got %q, want guests", own.Groups)
	}
	if nobody := known(t, b, policy.Subject{User: "mallory"}); !nobody.Invalid {
		t.Errorf("mallory: got %+v, want one who is unknown", nobody)
	}
}

func known(t *testing.T, b *bastion, s policy.Subject) policy.Subject {
	t.Helper()
	got, err := ask(t, b, s)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// ask asks about somebody at the client's address of login.
func ask(t *testing.T, b *bastion, s policy.Subject) (policy.Subject, error) {
	t.Helper()
	a, err := New(b.cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.Addr, s.LocalAddr = netip.MustParseAddr("192.0.2.7"), netip.MustParseAddrPort("192.0.2.1:22")
	return a.Known(s)
}

func TestKnownSaysWhatKeepsSomebodyOut(t *testing.T) {
	b := newBastion(t)
	key, other := newKey(t), newKey(t)
	passwords := filepath.Join(b.dir, "passwords")
	if err := SetGroups(passwords, "bob", nil); err != nil {
		t.Fatal(err)
	}
	if err := SetLocked(passwords, "bob", true); err != nil {
		t.Fatal(err)
	}
	b.authorize("alice", `from="198.51.100.0/24" `+line(key))
	b.authorize("bob", line(key))
	for _, test := range []struct {
		user   string
		key    ssh.Signer
		rule   string
		reason string
	}{
		{"alice", key, filepath.Join(b.dir, "alice") + ":1", "the key doesn't serve: "},
		{"bob", key, "", "the account is locked"},
		{"root", nil, "", "PermitRootLogin is no"},
	} {
		s := policy.Subject{User: test.user}
		if test.key != nil {
			s.Key = ssh.FingerprintSHA256(test.key.PublicKey())
		}
		got, err := ask(t, b, s)
		var refused *Refused
		if !errors.As(err, &refused) || refused.Rule != test.rule || !strings.HasPrefix(refused.Reason, test.reason) || got.KeyRules != nil {
			t.Errorf("%s: got %+v and %#v, want a refusal by %q: %s", test.user, got, err, test.rule, test.reason)
		}
	}
	var refused *Refused
	if _, err := ask(t, b, policy.Subject{User: "alice", Key: ssh.FingerprintSHA256(other.PublicKey())}); err == nil || errors.As(err, &refused) {
		t.Errorf("a key that nobody has: got %v, want an error that is no refusal", err)
	}
}

// Options narrow: with one more, a key that didn't serve doesn't serve either, and what it may not do stays so.
func TestOneMoreOptionNeverAllowsMore(t *testing.T) {
	options := []string{
		`from="192.0.2.0/24"`, `from="198.51.100.0/24"`, `from="*,!192.0.2.7"`, `expiry-time="20200101"`, `expiry-time="29990101"`,
		`no-port-forwarding`, `restrict`, `no-pty`, `no-agent-forwarding`, `command="true"`,
		`permitopen="db.corp:5432"`, `permitopen="ftp/ftp.corp:21"`, `permitlisten="8080"`, `permitlisten="localhost:*"`, `principals="alice"`,
	}
	anyone := &policy.Policy{Global: policy.Rules{
		AllowTCPForwarding: &policy.Line[policy.Forwarding]{Value: policy.ForwardAll},
		PermitOpen:         &policy.Line[[]policy.OpenPattern]{Value: []policy.OpenPattern{policy.AnyOpen()}},
		PermitListen:       &policy.Line[[]policy.ListenPattern]{Value: []policy.ListenPattern{policy.AnyListen()}},
	}}
	requests := []policy.Request{
		{Action: policy.Open, Target: policy.Target{Host: "db.corp", Port: 5432}},
		{Action: policy.Open, Target: policy.Target{Host: "ftp.corp", Port: 21}},
		{Action: policy.Listen, Target: policy.Target{Host: "localhost", Port: 8080}},
		{Action: policy.Listen, Target: policy.Target{Host: "localhost", Port: 9090}},
	}
	b := newBastion(t)
	key := newKey(t)
	permits := func(options []string) (all []bool) {
		b.authorize("alice", strings.TrimSpace(strings.Join(options, ",")+" "+line(key)))
		s, err := ask(t, b, policy.Subject{User: "alice", Key: ssh.FingerprintSHA256(key.PublicKey())})
		for _, r := range requests {
			r.Subject = s
			all = append(all, err == nil && anyone.Decide(r).Allowed())
		}
		return append(all, err == nil && !s.KeyRules.NoPTY, err == nil && !s.KeyRules.NoAgentForwarding)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 400 {
		var some []string
		for range rng.IntN(4) {
			some = append(some, options[rng.IntN(len(options))])
		}
		more := append(slices.Clone(some), options[rng.IntN(len(options))])
		before, after := permits(some), permits(more)
		for i := range after {
			// A second permitopen= or permitlisten= widens the first: it is the list that narrows.
			if widens(some, more) {
				continue
			}
			if after[i] && !before[i] {
				t.Fatalf("%q doesn't permit, and %q does: %v, %v", some, more, before, after)
			}
		}
	}
}

// widens reports whether the last of the options adds to a list.
func widens(some, more []string) bool {
	name, _, _ := strings.Cut(more[len(more)-1], "=")
	return strings.HasPrefix(name, "permit") && slices.ContainsFunc(some, func(o string) bool { return strings.HasPrefix(o, name+"=") })
}
