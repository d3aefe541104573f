package auth

import (
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/policy"
)

// Each refusal that a keyword makes goes back to its line, at the login and when it is asked for again.
func TestRefusalNamesTheLineOfItsKeyword(t *testing.T) {
	key, authority := newKey(t), newKey(t)
	cert := certify(t, authority, key, nil)
	short := rsaKey(t, 2048)
	for name, tt := range map[string]struct {
		user    string
		means   ssh.AuthMethod
		change  func(b *bastion)
		keyword string
	}{
		"keys are off":         {"alice", ssh.PublicKeys(key), func(b *bastion) { b.settings.PubkeyAuthentication = false }, "PubkeyAuthentication"},
		"passwords are off":    {"alice", ssh.Password("alice"), func(b *bastion) { b.settings.PasswordAuthentication = false }, "PasswordAuthentication"},
		"another method":       {"alice", ssh.PublicKeys(key), func(b *bastion) { b.settings.AuthenticationMethods = [][]string{{methodPassword}} }, "AuthenticationMethods"},
		"revoked":              {"alice", ssh.PublicKeys(key), func(b *bastion) { b.settings.RevokedKeys = b.write("revoked", line(key)) }, "RevokedKeys"},
		"algorithm of the key": {"alice", ssh.PublicKeys(key), func(b *bastion) { b.settings.PubkeyAcceptedAlgorithms = []string{ssh.KeyAlgoRSASHA256} }, "PubkeyAcceptedAlgorithms"},
		"algorithm of the CA":  {"alice", ssh.PublicKeys(cert), func(b *bastion) { b.settings.CASignatureAlgorithms = []string{ssh.KeyAlgoRSASHA256} }, "CASignatureAlgorithms"},
		"short":                {"alice", ssh.PublicKeys(short), func(b *bastion) { b.settings.RequiredRSASize = 3072 }, "RequiredRSASize"},
		"root":                 {"root", ssh.PublicKeys(key), func(b *bastion) { b.settings.PermitRootLogin = RootNo }, "PermitRootLogin"},
		"root without a force": {"root", ssh.PublicKeys(key), func(b *bastion) { b.settings.PermitRootLogin = RootForcedCommands }, "PermitRootLogin"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBastion(t)
			b.settings.Line = func(keyword string) string { return "sshd_config:" + keyword }
			b.settings.PermitRootLogin = RootYes
			b.settings.RequiredRSASize = 2048
			b.accounts()
			b.authorize(tt.user, line(key), line(short), "cert-authority "+line(authority))
			s, err := b.login(tt.user, tt.means)
			if err != nil {
				t.Fatalf("not let in at first: %v, %s", err, b.lastReason())
			}
			tt.change(b)
			want := "sshd_config:" + tt.keyword
			if _, err := b.login(tt.user, tt.means); err == nil {
				t.Error("let in")
			}
			last := b.recorded()[len(b.recorded())-1]
			if last.Accepted || last.Rule != want {
				t.Errorf("refused by %q (%s), want %q", last.Rule, last.Reason, want)
			}
			b.wantStill(s, want)
		})
	}
}

// wantStill wants the subject not to be let in any more by a line.
func (b *bastion) wantStill(s policy.Subject, rule string) {
	b.t.Helper()
	a, err := New(b.cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := a.Still(s); RuleOf(err) != rule {
		b.t.Errorf("asked again: refused by %q (%v), want %q", RuleOf(err), err, rule)
	}
}

func TestRefusalNamesTheLineOfPrincipals(t *testing.T) {
	b := newBastion(t)
	authority := newKey(t)
	b.settings.TrustedUserCAKeys = b.write("authorities", line(authority))
	b.settings.AuthorizedPrincipalsFile = b.write("principals", "# staff", `from="192.0.2.1" alice`)
	if _, err := b.login("alice", ssh.PublicKeys(certify(t, authority, newKey(t), nil))); err == nil {
		t.Error("let in")
	}
	if last := b.recorded()[len(b.recorded())-1]; !strings.HasSuffix(last.KeyLine, "/principals:2") {
		t.Errorf("refused by %q (%s), want the second line of the principals", last.KeyLine, last.Reason)
	}
}
