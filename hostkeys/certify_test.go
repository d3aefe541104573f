package hostkeys

import (
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// keygen runs ssh-keygen in dir.
func keygen(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.Command("ssh-keygen", append([]string{"-q"}, args...)...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
}

// newKey makes a key with ssh-keygen and returns its path.
func newKey(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	keygen(t, dir, append([]string{"-N", "", "-C", name, "-f", name}, args...)...)
	return filepath.Join(dir, name)
}

func TestCertificatesAreMatchedToTheirKeys(t *testing.T) {
	dir := t.TempDir()
	ed, rsa := newKey(t, dir, "ed", "-t", "ed25519"), newKey(t, dir, "rsa", "-t", "rsa", "-b", "2048")
	newKey(t, dir, "ca", "-t", "ed25519")
	for _, name := range []string{"ed", "rsa"} {
		keygen(t, dir, "-s", "ca", "-I", name, "-h", "-n", "bastion.example", "-V", "-1d:+90d", name+".pub")
	}
	keys, err := Load(Config{Files: []string{ed, rsa}, Certificates: []string{rsa + "-cert.pub", ed + "-cert.pub"}, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	if len(keys.Warnings) > 0 {
		t.Errorf("got warnings %q", keys.Warnings)
	}
	var types []string
	for _, s := range keys.Handshake {
		types = append(types, s.PublicKey().Type())
	}
	want := "ssh-rsa-cert-v01@openssh.com ssh-ed25519-cert-v01@openssh.com ssh-ed25519 ssh-rsa"
	if got := strings.Join(types, " "); got != want {
		t.Errorf("handshake: got %s, want %s", got, want)
	}
	if len(keys.All) != 2 {
		t.Errorf("got %d keys without certificates, want 2", len(keys.All))
	}
	certified := keys.Handshake[0].(ssh.MultiAlgorithmSigner)
	if got := strings.Join(certified.Algorithms(), " "); got != "rsa-sha2-512 rsa-sha2-256" {
		t.Errorf("algorithms of the RSA certificate: got %s", got)
	}
	sig, err := certified.SignWithAlgorithm(rand.Reader, []byte("x"), ssh.KeyAlgoRSASHA256)
	if err != nil || certified.PublicKey().(*ssh.Certificate).Key.Verify([]byte("x"), sig) != nil {
		t.Errorf("signature: got %v, %v", sig, err)
	}
}

func TestCertificateThatDoesNotServeIsAnError(t *testing.T) {
	dir := t.TempDir()
	ed := newKey(t, dir, "ed", "-t", "ed25519")
	newKey(t, dir, "other", "-t", "ed25519")
	newKey(t, dir, "ca", "-t", "ed25519")
	at := func(name string) string { return filepath.Join(dir, name) }
	sign := func(name, of string, args ...string) string {
		t.Helper()
		keygen(t, dir, append(append([]string{"-s", "ca", "-I", name}, args...), of+".pub")...)
		if err := os.Rename(at(of+"-cert.pub"), at(name)); err != nil {
			t.Fatal(err)
		}
		return at(name)
	}
	host := sign("host", "ed", "-h", "-n", "a")
	second := sign("second", "ed", "-h", "-n", "b")
	for want, certificates := range map[string][]string{
		"is one for users":                   {sign("user", "ed", "-n", "a")},
		"which no HostKey names":             {sign("foreign", "other", "-h", "-n", "a")},
		"is a plain key":                     {ed + ".pub"},
		"no public key":                      {ed},
		"no such file":                       {at("missing")},
		"another one of type ssh-ed25519-ce": {host, second},
		"not a regular file":                 {dir},
	} {
		keys, err := Load(Config{Files: []string{ed}, Certificates: certificates, Now: time.Now()})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), certificates[len(certificates)-1]) {
			t.Errorf("%q: got %+v, error %v, want %q", certificates, keys, err, want)
		}
	}
}

func TestCertificateThatClientsRefuseIsWarnedOf(t *testing.T) {
	now := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	at := func(d time.Duration) uint64 { return uint64(now.Add(d).Unix()) }
	day := 24 * time.Hour
	for want, cert := range map[string]*ssh.Certificate{
		"":                    {ValidBefore: ssh.CertTimeInfinity, ValidPrincipals: []string{"a"}},
		"not valid before":    {ValidAfter: at(day), ValidBefore: at(90 * day), ValidPrincipals: []string{"a"}},
		"has expired at 2026": {ValidBefore: at(0), ValidPrincipals: []string{"a"}},
		"expires at 2026":     {ValidBefore: at(day), ValidPrincipals: []string{"a"}},
		"names no host":       {ValidBefore: at(90 * day)},
	} {
		got := strings.Join(doubts("cert", cert, now), "\n")
		if (got == "") != (want == "") || !strings.Contains(got, want) || strings.Contains(got, "\n") {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
