package auth

import (
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/policy"
)

// Somebody logs in by the means, then something changes.
func TestStill(t *testing.T) {
	key, second, authority := newKey(t), newKey(t), newKey(t)
	cert := certify(t, authority, key, func(c *ssh.Certificate) { c.ValidPrincipals = []string{"staff"} })
	byKey, byPassword, byCert := ssh.PublicKeys(key), ssh.Password("alice"), ssh.PublicKeys(cert)
	for name, tt := range map[string]struct {
		means  []ssh.AuthMethod
		change func(b *bastion)
		reason string // empty if still let in
	}{
		"nothing changes":                {[]ssh.AuthMethod{byKey}, func(*bastion) {}, ""},
		"another line before it":         {[]ssh.AuthMethod{byKey}, func(b *bastion) { b.authorize("alice", line(second), "no-pty "+line(key)) }, ""},
		"the key is gone":                {[]ssh.AuthMethod{byKey}, func(b *bastion) { b.authorize("alice", line(second)) }, "the key is not in"},
		"the file is gone":               {[]ssh.AuthMethod{byKey}, func(b *bastion) { os.Remove(b.dir + "/alice") }, "there is no"},
		"the key is narrowed":            {[]ssh.AuthMethod{byKey}, func(b *bastion) { b.authorize("alice", "restrict "+line(key)) }, "options of the key"},
		"a permitopen comes":             {[]ssh.AuthMethod{byKey}, func(b *bastion) { b.authorize("alice", `no-pty,permitopen="a:1" `+line(key)) }, "options of the key"},
		"a permitlisten comes":           {[]ssh.AuthMethod{byKey}, func(b *bastion) { b.authorize("alice", `no-pty,permitlisten="1" `+line(key)) }, "options of the key"},
		"the key is revoked":             {[]ssh.AuthMethod{byKey}, func(b *bastion) { b.settings.RevokedKeys = b.write("revoked", line(key)) }, "revoked"},
		"keys are off":                   {[]ssh.AuthMethod{byKey}, func(b *bastion) { b.settings.PubkeyAuthentication = false }, "PubkeyAuthentication is no"},
		"the algorithm is":               {[]ssh.AuthMethod{byKey}, func(b *bastion) { b.settings.PubkeyAcceptedAlgorithms = []string{ssh.KeyAlgoRSASHA256} }, "PubkeyAcceptedAlgorithms"},
		"more is wanted":                 {[]ssh.AuthMethod{byKey}, func(b *bastion) { b.settings.AuthenticationMethods = [][]string{{methodKey, methodPassword}} }, "wants more"},
		"she is denied":                  {[]ssh.AuthMethod{byKey}, func(b *bastion) { b.policy.Global.DenyUsers = denied(t, "alice") }, "not admitted"},
		"her account is locked":          {[]ssh.AuthMethod{byKey}, func(b *bastion) { must(t, SetLocked(b.settings.PasswordFile, "alice", true)) }, "locked"},
		"the accounts are lost":          {[]ssh.AuthMethod{byKey}, func(b *bastion) { os.Remove(b.settings.PasswordFile) }, "look up the account"},
		"a password stays":               {[]ssh.AuthMethod{byPassword}, func(*bastion) {}, ""},
		"a password is another":          {[]ssh.AuthMethod{byPassword}, func(b *bastion) { must(t, SetPassword(b.settings.PasswordFile, "alice", "new")) }, ""},
		"the account is gone":            {[]ssh.AuthMethod{byPassword}, func(b *bastion) { must(t, DeletePassword(b.settings.PasswordFile, "alice")) }, "no password"},
		"passwords are off":              {[]ssh.AuthMethod{byPassword}, func(b *bastion) { b.settings.PasswordAuthentication = false }, "PasswordAuthentication is no"},
		"the account gets a code":        {[]ssh.AuthMethod{byPassword}, func(b *bastion) { must(t, SetSecret(b.settings.PasswordFile, "alice", bobsSecret)) }, "the password alone"},
		"a certificate stays":            {[]ssh.AuthMethod{byCert}, func(*bastion) {}, ""},
		"the authority is gone":          {[]ssh.AuthMethod{byCert}, func(b *bastion) { b.write("authorities", line(second)) }, "authority"},
		"the principal is gone":          {[]ssh.AuthMethod{byCert}, func(b *bastion) { b.write("principals", "admins") }, "principals"},
		"the authority may sign no more": {[]ssh.AuthMethod{byCert}, func(b *bastion) { b.settings.CASignatureAlgorithms = []string{ssh.KeyAlgoRSASHA512} }, "CASignatureAlgorithms"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBastion(t)
			b.accounts()
			b.authorize("alice", "no-pty "+line(key))
			b.settings.TrustedUserCAKeys = b.write("authorities", line(authority))
			b.settings.AuthorizedPrincipalsFile = b.write("principals", "staff")
			s, err := b.login("alice", tt.means...)
			if err != nil {
				t.Fatalf("%v: %s", err, b.lastReason())
			}
			a, err := New(b.cfg)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := a.Still(s); err != nil {
				t.Fatalf("before the change: %v", err)
			}
			tt.change(b)
			if _, err := a.Still(s); (err == nil) != (tt.reason == "") || err != nil && !strings.Contains(err.Error(), tt.reason) {
				t.Errorf("got %v, want %q", err, tt.reason)
			}
		})
	}
}

func TestStillFindsTheGroupsOfToday(t *testing.T) {
	key := newKey(t)
	b := newBastion(t)
	b.accounts()
	b.authorize("alice", "no-pty "+line(key))
	must(t, SetGroups(b.settings.PasswordFile, "alice", []string{"staff", "finance"}))
	before, err := b.login("alice", ssh.PublicKeys(key))
	if err != nil {
		t.Fatalf("%v: %s", err, b.lastReason())
	}
	a, err := New(b.cfg)
	must(t, err)
	must(t, SetGroups(b.settings.PasswordFile, "alice", []string{"staff"}))
	now, err := a.Still(before)
	must(t, err)
	if !slices.Equal(now.Groups, []string{"staff"}) {
		t.Errorf("got the groups %q, want staff alone", now.Groups)
	}
	now.Groups = before.Groups
	if !reflect.DeepEqual(now, before) {
		t.Errorf("got %+v, want %+v but for the groups", now, before)
	}
}

func TestStillKnowsNobodyWithoutAProof(t *testing.T) {
	b := newBastion(t)
	a, err := New(b.cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []policy.Subject{{}, {User: "alice"}, {User: "alice", Proof: "a word"}, {User: "alice", Proof: established{}}} {
		if _, err := a.Still(s); err == nil {
			t.Errorf("%+v: got no error", s)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func denied(t *testing.T, name string) []policy.Line[[]policy.UserPattern] {
	t.Helper()
	p, err := policy.ParseUserPattern(name)
	must(t, err)
	return []policy.Line[[]policy.UserPattern]{{Source: "sshd_config:7", Value: []policy.UserPattern{p}}}
}
