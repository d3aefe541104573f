package auth

import (
	"crypto/rand"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/policy"
)

// certify signs a user certificate for alice, that is good until change makes it otherwise.
func certify(t *testing.T, authority, key ssh.Signer, change func(*ssh.Certificate)) ssh.Signer {
	t.Helper()
	cert := &ssh.Certificate{
		Key: key.PublicKey(), CertType: ssh.UserCert, KeyId: "alice at work", Serial: 7, ValidPrincipals: []string{"alice"},
		ValidBefore: ssh.CertTimeInfinity,
	}
	if change != nil {
		change(cert)
	}
	if err := cert.SignCert(rand.Reader, authority); err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewCertSigner(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// write writes a file into the bastion's folder, and returns its path.
func (b *bastion) write(name string, lines ...string) string {
	b.t.Helper()
	path := filepath.Join(b.dir, name)
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		b.t.Fatal(err)
	}
	return path
}

func critical(name, value string) func(*ssh.Certificate) {
	return func(c *ssh.Certificate) { c.CriticalOptions = map[string]string{name: value} }
}

func extended(names ...string) func(*ssh.Certificate) {
	return func(c *ssh.Certificate) {
		c.Extensions = make(map[string]string)
		for _, name := range names {
			c.Extensions[name] = ""
		}
	}
}

func named(principals ...string) func(*ssh.Certificate) {
	return func(c *ssh.Certificate) { c.ValidPrincipals = principals }
}

// The same certificates come to an authority that everybody trusts, and to one that a line of alice's keys file trusts.
func TestCertificates(t *testing.T) {
	now := uint64(time.Now().Unix())
	for name, tt := range map[string]struct {
		change  func(*ssh.Certificate)
		refused string // empty if let in
		want    policy.KeyRules
	}{
		"nothing permitted":      {nil, "", policy.KeyRules{NoPortForwarding: true, NoAgentForwarding: true, NoPTY: true}},
		"ports":                  {extended("permit-port-forwarding"), "", policy.KeyRules{NoAgentForwarding: true, NoPTY: true}},
		"all":                    {extended("permit-port-forwarding", "permit-agent-forwarding", "permit-pty", "permit-X11-forwarding", "permit-user-rc"), "", policy.KeyRules{}},
		"unknown extension":      {extended("permit-pty", "x@example.org"), "", policy.KeyRules{NoPortForwarding: true, NoAgentForwarding: true}},
		"extension with a value": {func(c *ssh.Certificate) { c.Extensions = map[string]string{"permit-pty": "no"} }, "permit-pty: it has a value", policy.KeyRules{}},
		"force-command":          {critical("force-command", "uptime"), "", policy.KeyRules{NoPortForwarding: true, NoAgentForwarding: true, NoPTY: true, ForceCommand: "uptime"}},
		"empty force-command":    {critical("force-command", ""), "no command to force", policy.KeyRules{}},
		"source-address":         {critical("source-address", "198.51.100.0/24,192.0.2.7"), "", policy.KeyRules{NoPortForwarding: true, NoAgentForwarding: true, NoPTY: true}},
		"other source-address":   {critical("source-address", "198.51.100.0/24"), "doesn't permit 192.0.2.7", policy.KeyRules{}},
		"broken source-address":  {critical("source-address", "192.0.2.7,client.corp"), "neither an address", policy.KeyRules{}},
		"empty source-address":   {critical("source-address", ""), "neither an address", policy.KeyRules{}},
		"verify-required":        {critical("verify-required", ""), "", policy.KeyRules{NoPortForwarding: true, NoAgentForwarding: true, NoPTY: true}}, // no hardware key
		"unknown critical":       {critical("x@example.org", ""), "critical option", policy.KeyRules{}},
		"no principals":          {named(), "names no principals", policy.KeyRules{}},
		"another principal":      {named("bob", "Alice", "alice2", ""), `is for ["bob" "Alice" "alice2" ""]`, policy.KeyRules{}},
		"several principals":     {named("bob", "alice"), "", policy.KeyRules{NoPortForwarding: true, NoAgentForwarding: true, NoPTY: true}},
		"host certificate":       {func(c *ssh.Certificate) { c.CertType = ssh.HostCert }, "no user certificate", policy.KeyRules{}},
		"expired":                {func(c *ssh.Certificate) { c.ValidBefore = now - 1 }, "expired", policy.KeyRules{}},
		"not yet":                {func(c *ssh.Certificate) { c.ValidAfter = now + 3600 }, "not yet valid", policy.KeyRules{}},
		"at last":                {func(c *ssh.Certificate) { c.ValidBefore = now + 3600 }, "", policy.KeyRules{NoPortForwarding: true, NoAgentForwarding: true, NoPTY: true}},
	} {
		t.Run(name, func(t *testing.T) {
			authority, key := newKey(t), newKey(t)
			signer := certify(t, authority, key, tt.change)
			for _, way := range []string{"TrustedUserCAKeys", "cert-authority"} {
				b := newBastion(t)
				source := ""
				if way == "cert-authority" {
					source = b.write("alice", "cert-authority "+line(authority)) + ":1"
				} else {
					b.settings.TrustedUserCAKeys = b.write("authorities", "# ours", line(newKey(t)), line(authority)+" the right one")
					source = b.settings.TrustedUserCAKeys + ":3"
				}
				s, err := b.login("alice", ssh.PublicKeys(signer))
				if tt.refused != "" {
					if got := b.lastReason(); err == nil || !strings.Contains(got, tt.refused) {
						t.Errorf("%s: got error %v, reason %q, want %q", way, err, got, tt.refused)
					}
					continue
				}
				if err != nil {
					t.Errorf("%s: %v: %s", way, err, b.lastReason())
					continue
				}
				if s.KeyRules.Source != source || !sameRules(*s.KeyRules, tt.want) {
					t.Errorf("%s: got %+v, want %+v of %s", way, *s.KeyRules, tt.want, source)
				}
				want := policy.Certificate{ID: "alice at work", Serial: 7, Authority: fingerprint(authority)}
				if s.Certificate == nil || *s.Certificate != want || s.Key != fingerprint(key) {
					t.Errorf("%s: got %+v, %q, want %+v", way, s.Certificate, s.Key, want)
				}
				if got := b.recorded(); len(got) != 1 || got[0].Certificate == nil || *got[0].Certificate != want || got[0].KeyLine != source {
					t.Errorf("%s: attempts: got %+v, want one with the certificate", way, got)
				}
			}
		})
	}
}

// Whoever makes a certificate writes what is wrong with it, and needs nobody's trust to have it looked at.
func TestReasonQuotesLittleOfACertificate(t *testing.T) {
	b := newBastion(t)
	authority, key := newKey(t), newKey(t)
	signer := certify(t, authority, key, critical("source-address", strings.Repeat("\x01", 50_000)))
	if _, err := b.login("alice", ssh.PublicKeys(signer)); err == nil {
		t.Error("it is let in")
	}
	if got := b.lastReason(); !strings.Contains(got, "source-address") || len(got) > 2*maxShown {
		t.Errorf("got a reason of %d bytes, want one about source-address of %d at most", len(got), 2*maxShown)
	}
}

func TestLineOfAnAuthority(t *testing.T) {
	authority, key := newKey(t), newKey(t)
	for name, tt := range map[string]struct {
		options    string
		principals []string
		refused    string
		want       policy.KeyRules
	}{
		"plain line of the authority":  {"", []string{"alice"}, "is not in", policy.KeyRules{}},
		"narrowed by the line":         {"cert-authority,restrict,pty", []string{"alice"}, "", policy.KeyRules{NoPortForwarding: true, NoAgentForwarding: true}},
		"principals":                   {`cert-authority,principals="staff,admins"`, []string{"admins"}, "", policy.KeyRules{}},
		"principals and the user name": {`cert-authority,principals="staff"`, []string{"alice"}, `wanted is ["staff"]`, policy.KeyRules{}},
		"empty principals":             {`cert-authority,principals=""`, []string{""}, "wanted is", policy.KeyRules{}},
		"from":                         {`cert-authority,from="198.51.100.1"`, []string{"alice"}, "from doesn't permit", policy.KeyRules{}},
		"same command":                 {`cert-authority,command="uptime"`, []string{"alice"}, "", policy.KeyRules{ForceCommand: "uptime"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBastion(t)
			b.authorize("alice", strings.TrimSpace(tt.options+" "+line(authority)))
			signer := certify(t, authority, key, func(c *ssh.Certificate) {
				extended("permit-port-forwarding", "permit-agent-forwarding", "permit-pty")(c)
				c.ValidPrincipals = tt.principals
				if strings.Contains(tt.options, "command") {
					critical("force-command", "uptime")(c)
				}
			})
			s, err := b.login("alice", ssh.PublicKeys(signer))
			if tt.refused != "" {
				if got := b.lastReason(); err == nil || !strings.Contains(got, tt.refused) {
					t.Errorf("got error %v, reason %q, want %q", err, got, tt.refused)
				}
				return
			}
			if err != nil {
				t.Fatalf("%v: %s", err, b.lastReason())
			}
			if !sameRules(*s.KeyRules, tt.want) {
				t.Errorf("got %+v, want %+v", *s.KeyRules, tt.want)
			}
		})
	}
}

func TestAuthorityIsNoKeyAndAKeyIsNoAuthority(t *testing.T) {
	authority, key := newKey(t), newKey(t)
	b := newBastion(t)
	b.authorize("alice", "cert-authority "+line(authority))
	if _, err := b.login("alice", ssh.PublicKeys(authority)); err == nil {
		t.Error("the authority's own key got in")
	}
	b.authorize("alice", line(key))
	if _, err := b.login("alice", ssh.PublicKeys(certify(t, authority, key, nil))); err == nil {
		t.Error("a certificate of nobody's got in because its key is known")
	}
}

// As in sshd: it is the authority that lets a certificate serve, and it must be named.
func TestCertificateInTheKeysFileServesNobody(t *testing.T) {
	authority := newKey(t)
	signer := certify(t, authority, newKey(t), nil)
	b := newBastion(t)
	b.write("alice", line(signer))
	if _, err := b.login("alice", ssh.PublicKeys(signer)); err == nil || !strings.Contains(b.lastReason(), "is not in") {
		t.Errorf("got error %v, reason %q, want that the key is not there", err, b.lastReason())
	}
}

func TestForcedCommandsMustAgree(t *testing.T) {
	authority, key := newKey(t), newKey(t)
	b := newBastion(t)
	b.authorize("alice", `cert-authority,command="date" `+line(authority))
	_, err := b.login("alice", ssh.PublicKeys(certify(t, authority, key, critical("force-command", "uptime"))))
	if got := b.lastReason(); err == nil || !strings.Contains(got, "force two commands") {
		t.Errorf("got error %v, reason %q, want that two commands are forced", err, got)
	}
}

func TestPrincipalsFile(t *testing.T) {
	authority, key := newKey(t), newKey(t)
	for name, tt := range map[string]struct {
		lines      []string
		principals []string
		refused    string
		line       int
		want       policy.KeyRules
	}{
		"one":              {[]string{"# who may", "", "staff"}, []string{"x", "staff"}, "", 3, policy.KeyRules{}},
		"none":             {[]string{"admins"}, []string{"alice"}, "none of the certificate's principals", 0, policy.KeyRules{}},
		"the user's name":  {[]string{"alice"}, []string{"alice"}, "", 1, policy.KeyRules{}},
		"options":          {[]string{"restrict,pty\t \tstaff  "}, []string{"staff"}, "", 1, policy.KeyRules{NoPortForwarding: true, NoAgentForwarding: true}},
		"quoted options":   {[]string{`command="a b" staff`}, []string{"staff"}, "", 1, policy.KeyRules{ForceCommand: "a b"}},
		"comment behind":   {[]string{"staff # all of them"}, []string{"staff"}, "", 1, policy.KeyRules{}},
		"from":             {[]string{`from="198.51.100.1" staff`, "staff"}, []string{"staff"}, "from doesn't permit", 0, policy.KeyRules{}},
		"unknown option":   {[]string{"no-fun staff"}, []string{"staff"}, `option "no-fun"`, 0, policy.KeyRules{}},
		"broken, then one": {[]string{"no-fun staff", "no-pty staff"}, []string{"staff"}, "", 2, policy.KeyRules{NoPTY: true}},
		"authority":        {[]string{"cert-authority staff"}, []string{"staff"}, "cert-authority", 0, policy.KeyRules{}},
		"two names":        {[]string{"staff admins"}, []string{"admins"}, `option "staff"`, 0, policy.KeyRules{}},
		"case":             {[]string{"Staff"}, []string{"staff"}, "none of", 0, policy.KeyRules{}},
		"no pattern":       {[]string{"*"}, []string{"staff"}, "none of", 0, policy.KeyRules{}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBastion(t)
			b.settings.TrustedUserCAKeys = b.write("authorities", line(authority))
			b.settings.AuthorizedPrincipalsFile = filepath.Join(b.dir, "principals-%u")
			path := b.write("principals-alice", tt.lines...)
			signer := certify(t, authority, key, func(c *ssh.Certificate) {
				extended("permit-port-forwarding", "permit-agent-forwarding", "permit-pty")(c)
				c.ValidPrincipals = tt.principals
			})
			s, err := b.login("alice", ssh.PublicKeys(signer))
			if tt.refused != "" {
				if got := b.lastReason(); err == nil || !strings.Contains(got, tt.refused) {
					t.Errorf("got error %v, reason %q, want %q", err, got, tt.refused)
				}
				return
			}
			if err != nil {
				t.Fatalf("%v: %s", err, b.lastReason())
			}
			source := fmt.Sprintf("%s:1, %s:%d", b.settings.TrustedUserCAKeys, path, tt.line)
			if s.KeyRules.Source != source || !sameRules(*s.KeyRules, tt.want) {
				t.Errorf("got %+v, want %+v of %s", *s.KeyRules, tt.want, source)
			}
			if _, err := b.login("bob", ssh.PublicKeys(signer)); err == nil {
				t.Error("bob, who has no principals file, got in")
			}
		})
	}
}

func TestAuthorities(t *testing.T) {
	key := newKey(t)
	for name, tt := range map[string]struct {
		authority ssh.Signer
		spoil     func(*bastion)
		refused   string
	}{
		"RSA":               {rsaKey(t, 2048), func(*bastion) {}, ""},
		"short RSA":         {rsaKey(t, 2048), func(b *bastion) { b.settings.RequiredRSASize = 3072 }, "authority: RSA keys shorter than 3072"},
		"SHA-1":             {sha1Signer(t, rsaKey(t, 2048)), func(*bastion) {}, "CASignatureAlgorithms has no ssh-rsa"},
		"algorithm":         {newKey(t), func(b *bastion) { b.settings.CASignatureAlgorithms = []string{ssh.KeyAlgoRSASHA512} }, "CASignatureAlgorithms has no ssh-ed25519"},
		"hardware":          {newHardwareKey(t, ssh.KeyAlgoSKED25519, 0), func(*bastion) {}, ""}, // nobody needs to touch it, as in sshd
		"hardware, ECDSA":   {newHardwareKey(t, ssh.KeyAlgoSKECDSA256, touched), func(*bastion) {}, ""},
		"accepted by name":  {newKey(t), func(b *bastion) { b.settings.PubkeyAcceptedAlgorithms = []string{ssh.CertAlgoED25519v01} }, ""},
		"only plain keys":   {newKey(t), func(b *bastion) { b.settings.PubkeyAcceptedAlgorithms = []string{ssh.KeyAlgoED25519} }, "are not accepted"},
		"file with options": {newKey(t), func(b *bastion) { spoilLine(b, "restrict ") }, "is not in"},
		"missing file":      {newKey(t), func(b *bastion) { os.Remove(b.settings.TrustedUserCAKeys) }, "read TrustedUserCAKeys"},
		"file of anybody":   {newKey(t), func(b *bastion) { os.Chmod(b.settings.TrustedUserCAKeys, 0o666) }, "chmod 0644"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBastion(t)
			b.settings.TrustedUserCAKeys = b.write("authorities", line(tt.authority))
			tt.spoil(b)
			_, err := b.login("alice", ssh.PublicKeys(certify(t, tt.authority, key, nil)))
			if got := b.lastReason(); (err == nil) != (tt.refused == "") || !strings.Contains(got, tt.refused) {
				t.Errorf("got error %v, reason %q, want %q", err, got, tt.refused)
			}
		})
	}
}

func spoilLine(b *bastion, prefix string) {
	text, err := os.ReadFile(b.settings.TrustedUserCAKeys)
	if err != nil {
		b.t.Fatal(err)
	}
	b.write("authorities", prefix+strings.TrimSpace(string(text)))
}

func TestChangedCertificateIsRefused(t *testing.T) {
	authority, key := newKey(t), newKey(t)
	b := newBastion(t)
	b.settings.TrustedUserCAKeys = b.write("authorities", line(authority))
	cert := *certify(t, authority, key, nil).PublicKey().(*ssh.Certificate)
	cert.Extensions = maps.Clone(map[string]string{"permit-port-forwarding": ""})
	signer, err := ssh.NewCertSigner(&cert, key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.login("alice", ssh.PublicKeys(signer)); err == nil || !strings.Contains(b.lastReason(), "does not verify") {
		t.Errorf("got error %v, reason %q, want that the signature doesn't verify", err, b.lastReason())
	}
}

func TestRevoked(t *testing.T) {
	authority, key, other := newKey(t), newKey(t), newKey(t)
	cert := certify(t, authority, key, nil)
	krl := func(b *bastion, spec ...string) string {
		files := []string{"-s", b.write("ca.pub", line(authority)), "-kf", filepath.Join(b.dir, "krl"), b.write("spec", spec...)}
		if out, err := exec.Command("ssh-keygen", files...).CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen: %v: %s", err, out)
		}
		return filepath.Join(b.dir, "krl")
	}
	for name, tt := range map[string]struct {
		list   func(b *bastion) string
		signer ssh.Signer
		reason string // empty if let in
	}{
		"plain list":             {func(b *bastion) string { return b.write("revoked", "# lost", line(key)) }, key, "revoked"},
		"another key's":          {func(b *bastion) string { return b.write("revoked", line(other)) }, key, ""},
		"empty":                  {func(b *bastion) string { return b.write("revoked", "") }, key, ""},
		"key of a certificate":   {func(b *bastion) string { return b.write("revoked", line(key)) }, cert, "revoked"},
		"authority":              {func(b *bastion) string { return b.write("revoked", line(authority)) }, cert, "revoked"},
		"KRL: serial":            {func(b *bastion) string { return krl(b, "serial: 5-9") }, cert, "serial"},
		"KRL: another serial":    {func(b *bastion) string { return krl(b, "serial: 8-9") }, cert, ""},
		"KRL: id":                {func(b *bastion) string { return krl(b, "id: alice at work") }, cert, "key id"},
		"KRL: key":               {func(b *bastion) string { return krl(b, "key: "+line(key)) }, key, "the key is revoked"},
		"KRL: hash":              {func(b *bastion) string { return krl(b, "hash: "+fingerprint(key)) }, cert, "SHA256"},
		"KRL: a certificate's":   {func(b *bastion) string { return krl(b, "serial: 7") }, key, ""},
		"missing":                {func(b *bastion) string { return filepath.Join(b.dir, "nowhere") }, key, "no key serves while RevokedKeys can't be read"},
		"broken":                 {func(b *bastion) string { return b.write("revoked", "ssh-ed25519 !!!!") }, key, "no key serves"},
		"broken KRL":             {func(b *bastion) string { return b.write("revoked", "SSHKRL\n\x00more") }, key, "no key serves"},
		"writable by others":     {func(b *bastion) string { p := b.write("revoked", ""); os.Chmod(p, 0o666); return p }, key, "no key serves"},
		"fingerprints are wrong": {func(b *bastion) string { return b.write("revoked", fingerprint(key)) }, other, "no key serves"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBastion(t)
			b.authorize("alice", line(key), line(other), "cert-authority "+line(authority))
			b.settings.RevokedKeys = tt.list(b)
			_, err := b.login("alice", ssh.PublicKeys(tt.signer))
			if got := b.lastReason(); (err == nil) != (tt.reason == "") || !strings.Contains(got, tt.reason) {
				t.Errorf("got error %v, reason %q, want %q", err, got, tt.reason)
			}
		})
	}
}

func TestRevocationCountsAtOnce(t *testing.T) {
	b := newBastion(t)
	key := newKey(t)
	b.authorize("alice", line(key))
	b.settings.RevokedKeys = b.write("revoked", "")
	var err error
	if b.made, err = New(b.cfg); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time from what was kept
		if _, err := b.login("alice", ssh.PublicKeys(key)); err != nil {
			t.Fatal(err)
		}
	}
	b.write("revoked", line(key))
	if _, err := b.login("alice", ssh.PublicKeys(key)); err == nil {
		t.Error("a key that was just revoked got in")
	}
	b.write("revoked", "nonsense")
	if _, err := b.login("alice", ssh.PublicKeys(key)); err == nil {
		t.Error("a key got in by a list that can't be read")
	}
}
