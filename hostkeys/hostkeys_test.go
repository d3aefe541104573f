package hostkeys

import (
	"bytes"
	//lint:ignore SA1019 a key of the old kind is what is refused here
	"crypto/dsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/crypto/ssh"
)

func TestGeneratedKeysLoadAndSign(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	keys, err := Generate(dir, "test@host")
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, k := range keys {
		paths = append(paths, k.Path)
		checkMode(t, k.Path, 0o600)
		checkMode(t, k.Path+".pub", 0o644)
		// OpenSSH agrees on what was written.
		out, err := exec.Command("ssh-keygen", "-l", "-f", k.Path+".pub").CombinedOutput()
		if err != nil || !strings.Contains(string(out), k.Fingerprint) {
			t.Errorf("ssh-keygen -l %s: %v, %q, want %q in it", k.Path, err, out, k.Fingerprint)
		}
		pub, err := exec.Command("ssh-keygen", "-y", "-f", k.Path).Output()
		if err != nil {
			t.Errorf("ssh-keygen -y %s: %v", k.Path, err)
		}
		written, err := os.ReadFile(k.Path + ".pub")
		if err != nil {
			t.Fatal(err)
		}
		if got, want := string(written), string(pub); strings.TrimSpace(got) != strings.TrimSpace(want) {
			t.Errorf("public half of %s: got %q, want %q", k.Path, got, want)
		}
	}
	signers, err := loadFiles(paths)
	if err != nil {
		t.Fatal(err)
	}
	var types []string
	for _, s := range signers {
		types = append(types, s.PublicKey().Type())
	}
	if got, want := strings.Join(types, " "), "ssh-ed25519 ecdsa-sha2-nistp256 ssh-rsa"; got != want {
		t.Errorf("types: got %q, want %q", got, want)
	}
	for _, s := range signers {
		sig, err := s.Sign(rand.Reader, []byte("data"))
		if s.PublicKey().Type() == ssh.KeyAlgoRSA {
			sig, err = s.(ssh.MultiAlgorithmSigner).SignWithAlgorithm(rand.Reader, []byte("data"), ssh.KeyAlgoRSASHA512)
		}
		if err != nil {
			t.Errorf("sign with %s: %v", s.PublicKey().Type(), err)
			continue
		}
		if err := s.PublicKey().Verify([]byte("data"), sig); err != nil {
			t.Errorf("verify %s: %v", s.PublicKey().Type(), err)
		}
	}
}

func TestRSAHostKeyNeverSignsWithSHA1(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "rsa")
	writeKey(t, path, rsaKey(t, 2048), nil)
	signers, err := loadFiles([]string{path})
	if err != nil {
		t.Fatal(err)
	}
	s := signers[0].(ssh.MultiAlgorithmSigner)
	if got, want := strings.Join(s.Algorithms(), " "), "rsa-sha2-512 rsa-sha2-256"; got != want {
		t.Errorf("algorithms: got %q, want %q", got, want)
	}
	if sig, err := s.SignWithAlgorithm(rand.Reader, []byte("x"), ssh.KeyAlgoRSA); err == nil {
		t.Errorf("signed with %s", sig.Format)
	}
}

func TestGenerateNeverOverwrites(t *testing.T) {
	dir := t.TempDir()
	first, err := Generate(dir, "first")
	if err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(first[0].Path)
	if err != nil {
		t.Fatal(err)
	}
	second, err := Generate(dir, "second")
	if err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(first[0].Path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, after) {
		t.Error("a key that was there was overwritten")
	}
	for i := range first {
		if !second[i].Kept || second[i].Fingerprint != first[i].Fingerprint {
			t.Errorf("got %+v, want %s kept", second[i], first[i].Fingerprint)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".culvertd-keygen-*")); left != nil {
		t.Errorf("left behind: %q", left)
	}
}

func TestGenerateDoesNotReplaceALonePublicHalf(t *testing.T) {
	dir := t.TempDir()
	pub := filepath.Join(dir, "ssh_host_ed25519_key.pub")
	if err := os.WriteFile(pub, []byte("mine\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Generate(dir, "c"); err == nil || !strings.Contains(err.Error(), "move it away") {
		t.Errorf("got error %v, want one that says to move it away", err)
	}
	if got, _ := os.ReadFile(pub); string(got) != "mine\n" {
		t.Errorf("public half: got %q, want it untouched", got)
	}
}

func TestLoadRefuses(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	good := rsaKey(t, 2048)

	writeKey(t, at("group"), good, nil)
	chmod(t, at("group"), 0o640)
	writeKey(t, at("world"), good, nil)
	chmod(t, at("world"), 0o604)
	writeKey(t, at("passphrase"), good, []byte("secret"))
	writeKey(t, at("short"), rsaKey(t, 1024), nil)
	writeKey(t, at("foreign"), good, nil)
	giveAway := os.Geteuid() == 0 // only root can give a file to somebody else
	if giveAway {
		if err := os.Chown(at("foreign"), 12345, 0); err != nil {
			t.Fatal(err)
		}
	}
	write(t, at("empty"), nil)
	write(t, at("broken"), []byte("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"))
	write(t, at("large"), bytes.Repeat([]byte("x"), maxFileSize+1))
	write(t, at("dsa"), dsaKey(t))
	if err := syscall.Mkfifo(at("fifo"), 0o600); err != nil {
		t.Fatal(err)
	}

	for name, want := range map[string]string{
		"missing":    `culvertd keygen DIR`,
		"group":      `chmod 600`,
		"world":      `chmod 600`,
		"passphrase": `ssh-keygen -p`,
		"short":      `1024 bits is too short`,
		"foreign":    `belongs to user id 12345`,
		"empty":      `broken or no private key`,
		"broken":     `broken or no private key`,
		"large":      `no host key`,
		"dsa":        `ssh-dss are not served`,
		"fifo":       `not a regular file`,
		".":          `not a regular file`,
	} {
		t.Run(name, func(t *testing.T) {
			if name == "foreign" && !giveAway {
				t.Skip("only root can give a file to somebody else")
			}
			signers, err := loadFiles([]string{at(name)})
			if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), at(name)) {
				t.Errorf("got %d signers and error %v, want an error about %q with %q in it", len(signers), err, at(name), want)
			}
		})
	}
}

func TestLoadReportsAllErrorsAtOnce(t *testing.T) {
	dir := t.TempDir()
	_, err := loadFiles([]string{filepath.Join(dir, "one"), filepath.Join(dir, "two")})
	if err == nil || !strings.Contains(err.Error(), "one") || !strings.Contains(err.Error(), "two") {
		t.Errorf("got error %v, want both files in it", err)
	}
}

func TestFirstKeyOfATypeIsThatOfTheHandshake(t *testing.T) {
	dir := t.TempDir()
	a, same, b := filepath.Join(dir, "a"), filepath.Join(dir, "same"), filepath.Join(dir, "b")
	key := rsaKey(t, 2048)
	writeKey(t, a, key, nil)
	writeKey(t, same, key, nil)
	writeKey(t, b, rsaKey(t, 2048), nil)
	if signers, err := loadFiles([]string{a, same, a}); err != nil || len(signers) != 1 {
		t.Errorf("the same key three times: got %d signers, error %v, want 1, none", len(signers), err)
	}
	for _, order := range [][]string{{a, b}, {b, a}} {
		keys, err := Load(Config{Files: order})
		if err != nil || len(keys.All) != 2 || len(keys.Handshake) != 1 || keys.Handshake[0] != keys.All[0] {
			t.Errorf("two RSA keys: got %+v, %v, want both, and the first for the handshake", keys, err)
		}
	}
	if _, err := Load(Config{Files: make([]string, maxKeys+1)}); err == nil || !strings.Contains(err.Error(), "too many") {
		t.Errorf("%d keys: got error %v", maxKeys+1, err)
	}
}

func loadFiles(paths []string) ([]ssh.Signer, error) {
	keys, err := Load(Config{Files: paths})
	if err != nil {
		return nil, err
	}
	return keys.All, nil
}

func rsaKey(t *testing.T, bits int) *rsa.PrivateKey {
	t.Helper()
	t.Setenv("GODEBUG", "rsa1024min=0") // a short key is made here to be refused
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// dsaKey is a key in OpenSSL's old form. Its numbers are no real key; it is refused for its type.
func dsaKey(t *testing.T) []byte {
	t.Helper()
	var key dsa.PrivateKey
	if err := dsa.GenerateParameters(&key.Parameters, rand.Reader, dsa.L1024N160); err != nil {
		t.Fatal(err)
	}
	if err := dsa.GenerateKey(&key, rand.Reader); err != nil {
		t.Fatal(err)
	}
	der, err := asn1.Marshal(struct {
		Version       int
		P, Q, G, Y, X *big.Int
	}{0, key.P, key.Q, key.G, key.Y, key.X})
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "DSA PRIVATE KEY", Bytes: der})
}

func writeKey(t *testing.T, path string, key *rsa.PrivateKey, passphrase []byte) {
	t.Helper()
	block := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}
	if passphrase != nil {
		var err error
		if block, err = ssh.MarshalPrivateKeyWithPassphrase(key, "", passphrase); err != nil {
			t.Fatal(err)
		}
	}
	write(t, path, pem.EncodeToMemory(block))
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func chmod(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func checkMode(t *testing.T, path string, want os.FileMode) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != want {
		t.Errorf("mode of %s: got %#o, want %#o", path, got, want)
	}
}
