package login

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"
)

func newSigner(t *testing.T) ssh.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newECDSA(t *testing.T) ssh.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func hostCertificate(t *testing.T, key, authority ssh.Signer, principals ...string) *ssh.Certificate {
	t.Helper()
	cert := &ssh.Certificate{
		Key: key.PublicKey(), CertType: ssh.HostCert, ValidPrincipals: principals, ValidBefore: ssh.CertTimeInfinity,
	}
	if err := cert.SignCert(rand.Reader, authority); err != nil {
		t.Fatal(err)
	}
	return cert
}

func line(key ssh.PublicKey) string { return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))) }

// TestHostKeyCheck asks for bastion.corp port 2222, with StrictHostKeyChecking=yes unless a case says
// otherwise.
func TestHostKeyCheck(t *testing.T) {
	right, other, authority := newSigner(t), newSigner(t), newSigner(t)
	elliptic := newECDSA(t)
	const host, at = "bastion.corp", "[bastion.corp]:2222"
	cert := hostCertificate(t, right, authority, host)

	for name, test := range map[string]struct {
		file     []string // known_hosts
		key      ssh.PublicKey
		checking HostKeyChecking
		alias    string
		answers  []string
		err      string // part of it; "" accepts the key
		added    bool   // to the file
	}{
		"known":                                    {file: []string{at + " " + line(right.PublicKey())}, key: right.PublicKey()},
		"known under a hashed name":                {file: []string{xknownhosts.HashHostname(at) + " " + line(right.PublicKey())}, key: right.PublicKey()},
		"known by a pattern":                       {file: []string{"*.corp " + line(right.PublicKey())}, key: right.PublicKey()},
		"known among several":                      {file: []string{at + " " + line(other.PublicKey()), at + " " + line(right.PublicKey())}, key: right.PublicKey()},
		"known under its alias":                    {file: []string{"prod " + line(right.PublicKey())}, key: right.PublicKey(), alias: "prod"},
		"comments and empty lines":                 {file: []string{"# x", "", at + " " + line(right.PublicKey()) + " a comment"}, key: right.PublicKey()},
		"known on another port":                    {file: []string{"bastion.corp " + line(right.PublicKey())}, key: right.PublicKey(), err: "is not known"},
		"unknown":                                  {key: right.PublicKey(), err: "is not known, and StrictHostKeyChecking is yes"},
		"unknown to a hashed name":                 {file: []string{xknownhosts.HashHostname("other.corp") + " " + line(right.PublicKey())}, key: right.PublicKey(), err: "is not known"},
		"excluded by a pattern":                    {file: []string{"*.corp,!bastion.corp " + line(right.PublicKey())}, key: right.PublicKey(), err: "is not known"},
		"changed":                                  {file: []string{at + " " + line(other.PublicKey())}, key: right.PublicKey(), err: "known_hosts:1)"},
		"changed, whatever is asked for":           {file: []string{at + " " + line(other.PublicKey())}, key: right.PublicKey(), checking: AcceptNew, err: "HAS CHANGED"},
		"changed in capitals":                      {file: []string{"[BASTION.Corp]:2222 " + line(other.PublicKey())}, key: right.PublicKey(), checking: AcceptNew, err: "HAS CHANGED"},
		"changed, where a star stands for nothing": {file: []string{"[bastion.corp*]:2222 " + line(other.PublicKey())}, key: right.PublicKey(), checking: AcceptNew, err: "HAS CHANGED"},
		"changed at any port":                      {file: []string{"[bastion.corp]:* " + line(other.PublicKey())}, key: right.PublicKey(), checking: AcceptNew, err: "HAS CHANGED"},
		"changed, of the port":                     {file: []string{"*2222 " + line(other.PublicKey())}, key: right.PublicKey(), checking: AcceptNew, err: "HAS CHANGED"},
		"changed below a pattern without ports":    {file: []string{"b?stion.corp " + line(other.PublicKey())}, key: right.PublicKey(), checking: AcceptNew, err: "HAS CHANGED"},
		"excluded in capitals":                     {file: []string{"*.corp,!Bastion.CORP " + line(right.PublicKey())}, key: right.PublicKey(), err: "is not known"},
		"of another type":                          {file: []string{at + " " + line(elliptic.PublicKey())}, key: right.PublicKey(), checking: AcceptNew, err: "HAS CHANGED"},
		"revoked":                                  {file: []string{at + " " + line(right.PublicKey()), "@revoked * " + line(right.PublicKey())}, key: right.PublicKey(), err: "known_hosts:2 revokes"},
		"revoked, whatever is asked for":           {file: []string{"@revoked * " + line(right.PublicKey())}, key: right.PublicKey(), checking: AcceptNew, err: "IS REVOKED"},
		"certified":                                {file: []string{"@cert-authority *.corp " + line(authority.PublicKey())}, key: cert},
		"certified for another host":               {file: []string{"@cert-authority *.corp " + line(authority.PublicKey())}, key: hostCertificate(t, right, authority, "else.corp"), err: "is not valid"},
		"certified for no host":                    {file: []string{"@cert-authority *.corp " + line(authority.PublicKey())}, key: hostCertificate(t, right, authority), err: "names no host"},
		"certified by another":                     {file: []string{"@cert-authority *.corp " + line(authority.PublicKey())}, key: hostCertificate(t, right, other, host), err: "is not valid"},
		"certified, but revoked":                   {file: []string{"@cert-authority *.corp " + line(authority.PublicKey()), "@revoked * " + line(right.PublicKey())}, key: cert, err: "is not valid"},
		"certified by a revoked one":               {file: []string{"@cert-authority *.corp " + line(authority.PublicKey()), "@revoked * " + line(authority.PublicKey())}, key: cert, err: "is not valid"},
		"the authority as a host":                  {file: []string{"@cert-authority *.corp " + line(authority.PublicKey())}, key: authority.PublicKey(), err: "is not known"},
		"plain where certified was known":          {file: []string{"@cert-authority *.corp " + line(authority.PublicKey())}, key: right.PublicKey(), err: "is not known"},

		"accept-new":             {key: right.PublicKey(), checking: AcceptNew, added: true},
		"yes":                    {key: right.PublicKey(), checking: AskNew, answers: []string{"yes"}, added: true},
		"the fingerprint":        {key: right.PublicKey(), checking: AskNew, answers: []string{ssh.FingerprintSHA256(right.PublicKey())}, added: true},
		"nonsense, then yes":     {key: right.PublicKey(), checking: AskNew, answers: []string{"y", "", "Yes"}, added: true},
		"another fingerprint":    {key: right.PublicKey(), checking: AskNew, answers: []string{ssh.FingerprintSHA256(other.PublicKey()), "no"}, err: "was not accepted"},
		"no":                     {key: right.PublicKey(), checking: AskNew, answers: []string{"no"}, err: "was not accepted"},
		"nonsense without end":   {key: right.PublicKey(), checking: AskNew, answers: []string{"a", "b", "c", "yes"}, err: "was not accepted"},
		"nobody to ask":          {key: right.PublicKey(), checking: AskNew, err: "nobody to ask (BatchMode, or no terminal): if it is the right one, connect once on a terminal"},
		"after an unclosed line": {file: []string{"x.corp " + line(other.PublicKey()) + "<unclosed>"}, key: right.PublicKey(), checking: AcceptNew, added: true},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), ".ssh", "known_hosts")
			if test.file != nil {
				text := strings.TrimSuffix(strings.Join(test.file, "\n")+"\n", "<unclosed>\n")
				if err := os.Mkdir(filepath.Dir(file), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			cfg := NewConfig("", "me")
			cfg.Host, cfg.Port, cfg.HostKeyAlias = "Bastion.corp", 2222, test.alias
			cfg.HostKeyChecking, cfg.UserKnownHosts, cfg.GlobalKnownHosts = test.checking, []string{file}, nil
			answers := test.answers
			if answers != nil {
				cfg.Ask = func(_ context.Context, question string, echo bool) (string, error) {
					if !echo || (len(answers) == len(test.answers) && !strings.Contains(question, ssh.FingerprintSHA256(test.key))) {
						t.Errorf("asked %q with echo %v; want the fingerprint in it, and echo", question, echo)
					}
					answer := answers[0]
					answers = answers[1:]
					return answer, nil
				}
			}
			check := func() error {
				h, err := loadHostKeys(cfg)
				if err != nil {
					t.Fatal(err)
				}
				return h.check(context.Background(), &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 2222}, test.key)
			}
			err := check()
			if test.err == "" && err != nil || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
				t.Fatalf("got error %v, want %q", err, test.err)
			}
			text, _ := os.ReadFile(file) // what doesn't exist has no lines
			if added := strings.Contains("\n"+string(text), "\n"+at+" "+line(test.key)+"\n"); test.added && !added {
				t.Errorf("got known_hosts %q, want the key in a line of its own", text)
			} else if test.file == nil && !test.added && len(text) > 0 {
				t.Errorf("got known_hosts %q, want none", text)
			}
			if test.added {
				cfg.HostKeyChecking = OnlyKnown
				if err := check(); err != nil {
					t.Errorf("the next time: %v, want it known", err)
				}
			}
		})
	}
}

func TestChangedHostKeySaysWhatToType(t *testing.T) {
	old, current := newSigner(t), newSigner(t)
	file := filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(file, []byte("# one\n[h]:2222 "+line(old.PublicKey())+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := NewConfig("", "me")
	cfg.Host, cfg.Port, cfg.UserKnownHosts, cfg.GlobalKnownHosts = "h", 2222, []string{file}, nil
	h, err := loadHostKeys(cfg)
	if err != nil {
		t.Fatal(err)
	}
	err = h.check(context.Background(), &net.TCPAddr{}, current.PublicKey())
	for _, want := range []string{
		fmt.Sprintf("%s:2", file), ssh.FingerprintSHA256(old.PublicKey()), ssh.FingerprintSHA256(current.PublicKey()),
		fmt.Sprintf("ssh-keygen -f %q -R %q", file, "[h]:2222"),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
}

// TestWhatSpeaksAgainstAHostKey has keys that are known, and all the same not good enough.
func TestWhatSpeaksAgainstAHostKey(t *testing.T) {
	folder := t.TempDir()
	short, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	short2048, err := ssh.NewSignerFromKey(short)
	if err != nil {
		t.Fatal(err)
	}
	right, other, authority := newSigner(t), newSigner(t), newECDSA(t)
	cert := hostCertificate(t, right, authority, "h")
	write := func(name string, key ssh.PublicKey) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(line(key)+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	binary := filepath.Join(folder, "krl")
	if out, err := exec.Command("ssh-keygen", "-q", "-k", "-f", binary, write("right.pub", right.PublicKey())).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	for name, test := range map[string]struct {
		key            ssh.PublicKey
		keyword, value string
		err            string
	}{
		"long enough":               {short2048.PublicKey(), "RequiredRSASize", "2048", ""},
		"too short":                 {short2048.PublicKey(), "RequiredRSASize", "3072", "an RSA key of 2048 bits is too short: RequiredRSASize is 3072"},
		"in a plain list":           {right.PublicKey(), "RevokedHostKeys", write("plain", right.PublicKey()), "plain revokes"},
		"in a KRL":                  {right.PublicKey(), "RevokedHostKeys", binary, "krl revokes"},
		"its certificate in a KRL":  {cert, "RevokedHostKeys", binary, "krl revokes"},
		"another in a list":         {right.PublicKey(), "RevokedHostKeys", write("another", other.PublicKey()), ""},
		"by an authority that may":  {cert, "CASignatureAlgorithms", "ecdsa-sha2-nistp256", ""},
		"by one that may not":       {cert, "CASignatureAlgorithms", "ssh-ed25519", "signed by ecdsa-sha2-nistp256, which CASignatureAlgorithms leaves out"},
		"a list that is not there":  {right.PublicKey(), "RevokedHostKeys", folder + "/none-such", "whoever it revokes would be trusted"},
		"a list that is not a list": {right.PublicKey(), "RevokedHostKeys", folder, "whoever it revokes would be trusted"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := NewConfig("", "me")
			cfg.Host, cfg.GlobalKnownHosts, cfg.UserKnownHosts = "h", nil, []string{filepath.Join(t.TempDir(), "known_hosts")}
			text := fmt.Sprintf("h %s\nh %s\n@cert-authority h %s\n", line(short2048.PublicKey()), line(right.PublicKey()), line(authority.PublicKey()))
			if err := os.WriteFile(cfg.UserKnownHosts[0], []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := cfg.Set(test.keyword, test.value); err != nil {
				t.Fatal(err)
			}
			h, err := loadHostKeys(cfg)
			if err == nil {
				err = h.check(context.Background(), &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 22}, test.key)
			}
			if test.err == "" && err != nil || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
				t.Errorf("got %v, want %q", err, test.err)
			}
		})
	}
}

func TestHostsAreHashedOnRequest(t *testing.T) {
	key := newSigner(t).PublicKey()
	cfg := NewConfig("", "me")
	cfg.Host, cfg.Port, cfg.GlobalKnownHosts, cfg.HostKeyChecking = "secret.corp", 2222, nil, AcceptNew
	cfg.UserKnownHosts, cfg.HashKnownHosts = []string{filepath.Join(t.TempDir(), "known_hosts")}, true
	for _, checking := range []HostKeyChecking{AcceptNew, OnlyKnown} { // the second time it is known
		cfg.HostKeyChecking = checking
		h, err := loadHostKeys(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := h.check(context.Background(), &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 2222}, key); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(cfg.UserKnownHosts[0])
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(text), "|1|") || strings.Contains(string(text), "secret") {
		t.Errorf("got %q, want a hash in place of the name", text)
	}
	if out, err := exec.Command("ssh-keygen", "-f", cfg.UserKnownHosts[0], "-F", "[secret.corp]:2222").CombinedOutput(); err != nil {
		t.Errorf("ssh-keygen doesn't find it: %v\n%s", err, out)
	}
}

func TestBrokenKnownHostsStops(t *testing.T) {
	file := filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(file, []byte("h ssh-ed25519 AAAA\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := NewConfig("", "me")
	cfg.Host, cfg.UserKnownHosts, cfg.GlobalKnownHosts = "h", []string{file}, nil
	if _, err := loadHostKeys(cfg); err == nil || !strings.Contains(err.Error(), file+":1") {
		t.Errorf("got %v, want an error that names %s:1", err, file)
	}
}

func TestKnownTypesAreOfferedFirst(t *testing.T) {
	known, authority := newECDSA(t), newECDSA(t)
	for name, test := range map[string]struct {
		file  string
		first string
		certs bool
	}{
		"nothing known": {"", ssh.KeyAlgoED25519, false},
		"a key known":   {"h " + line(known.PublicKey()) + "\n", ssh.KeyAlgoECDSA256, false},
		// The type of the authority's key says nothing about the type of the keys that it signs.
		"an authority known": {"@cert-authority h " + line(authority.PublicKey()) + "\n", ssh.CertAlgoED25519v01, true},
	} {
		file := filepath.Join(t.TempDir(), "known_hosts")
		if err := os.WriteFile(file, []byte(test.file), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg := NewConfig("", "me")
		cfg.Host, cfg.UserKnownHosts, cfg.GlobalKnownHosts = "h", []string{file}, nil
		h, err := loadHostKeys(cfg)
		if err != nil {
			t.Fatal(err)
		}
		algos := h.algorithms()
		certs := strings.Contains(strings.Join(algos, " "), "-cert-")
		if algos[0] != test.first || certs != test.certs {
			t.Errorf("%s: got %q, want %s first and certificates: %v", name, algos, test.first, test.certs)
		}
		for _, weak := range []string{"ssh-rsa ", "ssh-dss "} {
			if strings.Contains(strings.Join(algos, " ")+" ", " "+weak) {
				t.Errorf("%s: %s is offered", name, weak)
			}
		}
	}
}

func TestShortHostKeysAreNotAccepted(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	ed := newSigner(t)
	for _, test := range []struct {
		key  ssh.PublicKey
		bits int
		want bool
	}{
		{signer.PublicKey(), 1024, true},
		{signer.PublicKey(), 2048, true},
		{signer.PublicKey(), 2049, false},
		{hostCertificate(t, signer, ed, "h"), 4096, false},
		{hostCertificate(t, ed, signer, "h"), 4096, false},
		{ed.PublicKey(), 4096, true},
	} {
		c := NewConfig("", "me")
		if err := c.Set("RequiredRSASize", strconv.Itoa(test.bits)); err != nil {
			t.Fatal(err)
		}
		if err := c.longEnough(test.key); (err == nil) != test.want {
			t.Errorf("%s, where %d bits are required: got %v, want it accepted: %v", test.key.Type(), test.bits, err, test.want)
		}
		keys := &hostKeys{cfg: c}
		if !test.want {
			if err := keys.check(t.Context(), nil, test.key); err == nil || !strings.Contains(err.Error(), "too short: RequiredRSASize is") {
				t.Errorf("%s: got %v, want an error about the size", test.key.Type(), err)
			}
		}
	}
}
