package auth

import (
	"encoding/base64"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/policy"
)

func TestKeysCommand(t *testing.T) {
	key, authority := newKey(t), newKey(t)
	cert := certify(t, authority, key, nil)
	for name, tt := range map[string]struct {
		script string
		signer ssh.Signer
		reason string // empty if let in
		line   int
		want   policy.KeyRules
	}{
		"prints the key":     {"echo '# of alice'; echo 'restrict,pty " + line(key) + "'", key, "", 2, policy.KeyRules{NoPortForwarding: true, NoAgentForwarding: true}},
		"prints another key": {"echo '" + line(authority) + "'", key, "the key is not in", 0, policy.KeyRules{}},
		"certifies":          {"echo 'cert-authority " + line(authority) + "'", cert, "", 1, policy.KeyRules{NoPortForwarding: true, NoAgentForwarding: true, NoPTY: true}},
		"fails":              {"echo '" + line(key) + "'; exit 1", key, "AuthorizedKeysCommand", 0, policy.KeyRules{}},
		"is asked for alice": {"[ \"$#\" = 1 ] && [ \"$1\" = alice ] && echo '" + line(key) + "'", key, "", 1, policy.KeyRules{}},
		"bad option":         {"echo 'no-fun " + line(key) + "'", key, `option "no-fun"`, 1, policy.KeyRules{}},
	} {
		t.Run(name, func(t *testing.T) {
			b, c := newBastion(t), newTestCommands(t)
			b.cfg.Commands = c.Commands
			b.settings.AuthorizedKeysCommand, b.settings.AuthorizedKeysCommandUser = c.script("keys", tt.script), c.user
			s, err := b.login("alice", ssh.PublicKeys(tt.signer))
			if tt.reason != "" {
				if got := b.lastReason(); err == nil || !strings.Contains(got, tt.reason) {
					t.Errorf("got error %v, reason %q, want %q", err, got, tt.reason)
				}
				return
			}
			if err != nil {
				t.Fatalf("%v: %s", err, b.lastReason())
			}
			if source := fmt.Sprintf("AuthorizedKeysCommand:%d", tt.line); s.KeyRules.Source != source || !sameRules(*s.KeyRules, tt.want) {
				t.Errorf("got %+v, want %+v of %s", *s.KeyRules, tt.want, source)
			}
		})
	}
}

func TestFilesComeBeforeTheCommand(t *testing.T) {
	b, c := newBastion(t), newTestCommands(t)
	key := newKey(t)
	b.authorize("alice", "no-pty "+line(key))
	b.cfg.Commands = c.Commands
	ran := c.file("ran")
	b.settings.AuthorizedKeysCommand, b.settings.AuthorizedKeysCommandUser = c.script("keys", "echo x >>"+ran+"; echo '"+line(key)+"'"), c.user
	s, err := b.login("alice", ssh.PublicKeys(key))
	if err != nil || !s.KeyRules.NoPTY {
		t.Errorf("got %+v, %v, want the line of the file", s.KeyRules, err)
	}
	if data, err := readTrusted(ran, 0); err != nil || len(data) > 0 {
		t.Errorf("the command ran: %q, %v", data, err)
	}
}

func TestPrincipalsCommand(t *testing.T) {
	key, authority := newKey(t), newKey(t)
	cert := certify(t, authority, key, func(c *ssh.Certificate) { c.ValidPrincipals = []string{"staff"} })
	encoded := func(k ssh.PublicKey) string { return base64.StdEncoding.EncodeToString(k.Marshal()) }
	told := strings.Join([]string{
		"alice", fingerprint(key), encoded(cert.PublicKey()), cert.PublicKey().Type(),
		fingerprint(authority), encoded(authority.PublicKey()), "ssh-ed25519", "alice at work", "7", "192.0.2.7 50000 192.0.2.1 22", "",
	}, "|")
	for name, tt := range map[string]struct {
		script, file string
		reason       string // empty if let in
		source       string
	}{
		"names one":             {"echo no-pty staff", "", "", "AuthorizedPrincipalsCommand:1"},
		"names another":         {"echo alice", "", "none of the certificate's principals", ""},
		"fails":                 {"echo staff; exit 1", "", "AuthorizedPrincipalsCommand", ""},
		"is told all":           {"[ \"$1|$2|$3|$4|$5|$6|$7|$8|$9|${10}|${11}\" = '" + told + "' ] && echo staff", "", "", "AuthorizedPrincipalsCommand:1"},
		"after the file":        {"echo no-pty staff", "staff", "", "principals:1"},
		"the file has it not":   {"echo staff", "admins", "", "AuthorizedPrincipalsCommand:1"},
		"the file refuses it":   {"echo staff", `from="198.51.100.1" staff`, "from doesn't permit", ""},
		"the file can't be had": {"echo staff", "-", "", "AuthorizedPrincipalsCommand:1"},
	} {
		t.Run(name, func(t *testing.T) {
			b, c := newBastion(t), newTestCommands(t)
			b.cfg.Commands = c.Commands
			b.settings.TrustedUserCAKeys = b.write("authorities", line(authority))
			b.settings.AuthorizedPrincipalsCommand = c.script("principals", tt.script) + ` %u %f %k %t %F %K %T %i %s %C %D`
			b.settings.AuthorizedPrincipalsCommandUser = c.user
			if tt.file != "" {
				b.settings.AuthorizedPrincipalsFile = filepath.Join(b.dir, "principals")
				if tt.file != "-" {
					b.write("principals", tt.file)
				}
			}
			s, err := b.login("alice", ssh.PublicKeys(cert))
			if tt.reason != "" {
				if got := b.lastReason(); err == nil || !strings.Contains(got, tt.reason) {
					t.Errorf("got error %v, reason %q, want %q", err, got, tt.reason)
				}
				return
			}
			if err != nil {
				t.Fatalf("%v: %s", err, b.lastReason())
			}
			if !strings.HasSuffix(s.KeyRules.Source, tt.source) {
				t.Errorf("got %q, want %s", s.KeyRules.Source, tt.source)
			}
		})
	}
}

// Whose certificate isn't trusted doesn't reach the command with it.
func TestForeignCertificateRunsNoCommand(t *testing.T) {
	b, c := newBastion(t), newTestCommands(t)
	b.cfg.Commands = c.Commands
	ran := c.file("ran")
	b.settings.TrustedUserCAKeys = b.write("authorities", line(newKey(t)))
	b.settings.AuthorizedPrincipalsCommand, b.settings.AuthorizedPrincipalsCommandUser = c.script("principals", "echo x >>"+ran), c.user
	if _, err := b.login("alice", ssh.PublicKeys(certify(t, newKey(t), newKey(t), nil))); err == nil {
		t.Error("got in")
	}
	if data, err := readTrusted(ran, 0); err != nil || len(data) > 0 {
		t.Errorf("the command ran: %q, %v", data, err)
	}
}
