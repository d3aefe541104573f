package server

import (
	"crypto/rand"
	"crypto/rsa"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/algorithms"
)

func TestKnowsGCM(t *testing.T) {
	for id, want := range map[string]bool{
		"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3": true,
		"SSH-2.0-OpenSSH_10.0":                   true,
		"SSH-2.0-OpenSSH_6.2":                    true,
		"SSH-2.0-OpenSSH_6.1":                    false,
		"SSH-2.0-OpenSSH_5.9p1":                  false,
		"SSH-2.0-OpenSSH_for_Windows_8.1":        true,
		"SSH-2.0-OpenSSH_":                       false,
		"SSH-2.0-OpenSSH_9":                      false,
		"SSH-2.0-OpenSSH_9.":                     false,
		"SSH-2.0-OpenSSH_x.9":                    false,
		"SSH-2.0-OpenSSH_99999999999999999999.9": false,
		"SSH-2.0-OpenSSH-keyscan":                false,
		"SSH-2.0-PuTTY_Release_0.78":             false,
		"SSH-2.0-Go":                             false,
		"":                                       false,
	} {
		if got := knowsGCM(id); got != want {
			t.Errorf("%q: got %v, want %v", id, got, want)
		}
	}
}

// verbose returns what ssh -v writes about its connection, on which it asks for what is refused.
func (b *bastion) verbose(identity string, args ...string) string {
	b.t.Helper()
	out, err := b.openSSH(append([]string{"-v", "-i", identity, "-l", "alice", "-W", "192.0.2.1:1"}, args...)...).CombinedOutput()
	if err != nil && !strings.Contains(string(out), "Authenticated to") {
		b.t.Fatalf("ssh: %v: %s", err, out)
	}
	return string(out)
}

func TestOpenSSHIsOfferedTheFastCiphers(t *testing.T) {
	b := newBastion(t)
	_, identity := b.user("alice")
	b.start()
	want := "server->client cipher: chacha20-poly1305@openssh.com"
	if algorithms.FastGCM() {
		want = "server->client cipher: aes128-gcm@openssh.com"
	}
	if got := b.verbose(identity); !strings.Contains(got, want) {
		t.Errorf("want %q in %s", want, got)
	}
}

func TestCiphersThatAreConfiguredAreOffered(t *testing.T) {
	b := newBastion(t)
	_, identity := b.user("alice")
	_, b.cfg.Ciphers, _ = Algorithms()
	b.start()
	const want = "server->client cipher: chacha20-poly1305@openssh.com"
	if got := b.verbose(identity, "-o", "Ciphers=chacha20-poly1305@openssh.com,aes128-gcm@openssh.com"); !strings.Contains(got, want) {
		t.Errorf("want %q in %s", want, got)
	}
}

func TestOthersAreOfferedEveryCipher(t *testing.T) {
	b := newBastion(t)
	key, _ := b.user("alice")
	b.start()
	_, all, _ := Algorithms()
	for _, cipher := range all {
		cfg := b.clientConfig("alice", ssh.PublicKeys(key))
		cfg.Ciphers = []string{cipher}
		client, err := ssh.Dial("tcp", b.addr, cfg)
		if err != nil {
			t.Errorf("%s: %v", cipher, err)
			continue
		}
		client.Close()
	}
}

func TestConfiguredAlgorithms(t *testing.T) {
	b := newBastion(t)
	_, identity := b.user("alice")
	big, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := ssh.NewSignerFromKey(big)
	if err != nil {
		t.Fatal(err)
	}
	b.cfg.HostKeys = append(b.cfg.HostKeys, rsaKey)
	b.cfg.HostKeyAlgorithms = []string{"rsa-sha2-256"}
	b.cfg.KexAlgorithms = []string{"ecdh-sha2-nistp384"}
	b.cfg.Ciphers, b.cfg.MACs = []string{"aes256-ctr"}, []string{"hmac-sha2-512"}
	b.cfg.RekeyBytes = 1 << 20
	b.start()
	got := b.verbose(identity)
	for _, want := range []string{
		"kex: algorithm: ecdh-sha2-nistp384", "kex: host key algorithm: rsa-sha2-256",
		"server->client cipher: aes256-ctr MAC: hmac-sha2-512",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("want %q in %s", want, got)
		}
	}
}

func TestUnknownAlgorithmsAreRefused(t *testing.T) {
	b := newBastion(t)
	b.start()
	for name, spoil := range map[string]func(*Live){
		"Ciphers":           func(l *Live) { l.Ciphers = []string{"aes128-ctr", "rot13"} },
		"MACs":              func(l *Live) { l.MACs = []string{"rot13"} },
		"KexAlgorithms":     func(l *Live) { l.KexAlgorithms = []string{"rot13"} },
		"HostKeyAlgorithms": func(l *Live) { l.HostKeyAlgorithms = []string{"rot13"} },
		"no host key":       func(l *Live) { l.HostKeyAlgorithms = []string{"rsa-sha2-512"} },
	} {
		l := b.cfg.Live
		spoil(&l)
		if err := b.Update(l); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got error %v, want it named", name, err)
		}
	}
}

func TestHostCertificateIsAnAlgorithmOfItsOwn(t *testing.T) {
	_, plain := newKey(t)
	_, ca := newKey(t)
	certificate := &ssh.Certificate{Key: plain.PublicKey(), CertType: ssh.HostCert, ValidBefore: ssh.CertTimeInfinity}
	if err := certificate.SignCert(rand.Reader, ca); err != nil {
		t.Fatal(err)
	}
	certified, err := ssh.NewCertSigner(certificate, plain)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ allowed, want []string }{
		{nil, []string{"ssh-ed25519", "ssh-ed25519-cert-v01@openssh.com"}},
		{[]string{"ssh-ed25519"}, []string{"ssh-ed25519"}},
		{[]string{"ssh-ed25519-cert-v01@openssh.com"}, []string{"ssh-ed25519-cert-v01@openssh.com"}},
	} {
		keys, err := (&Live{HostKeys: []ssh.Signer{plain, certified}, HostKeyAlgorithms: tt.allowed}).hostKeys()
		var got []string
		for _, key := range keys {
			got = append(got, key.PublicKey().Type())
		}
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%q: got %q, %v, want %q", tt.allowed, got, err, tt.want)
		}
	}
}
