package auth

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"math/big"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

// Flags of a hardware key's signature (OpenSSH's PROTOCOL.u2f).
const (
	touched  = 0x01
	verified = 0x04
)

// hardwareKey is a FIDO authenticator made of software. OpenSSH's own, ssh-keygen's test provider, isn't packaged by Debian.
type hardwareKey struct {
	public ssh.PublicKey
	flags  byte
	sign   func(data []byte) []byte // the blob of a signature
}

const application = "ssh:"

func newHardwareKey(t *testing.T, algorithm string, flags byte) hardwareKey {
	t.Helper()
	k := hardwareKey{flags: flags}
	var blob []byte
	switch algorithm {
	case ssh.KeyAlgoSKED25519:
		pub, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		blob = ssh.Marshal(struct{ Name, Key, Application string }{algorithm, string(pub), application})
		k.sign = func(data []byte) []byte { return ed25519.Sign(private, data) }
	case ssh.KeyAlgoSKECDSA256:
		private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		point, err := private.PublicKey.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		blob = ssh.Marshal(struct{ Name, Curve, Key, Application string }{algorithm, "nistp256", string(point), application})
		k.sign = func(data []byte) []byte {
			digest := sha256.Sum256(data)
			r, s, err := ecdsa.Sign(rand.Reader, private, digest[:])
			if err != nil {
				t.Error(err)
			}
			return ssh.Marshal(struct{ R, S *big.Int }{r, s})
		}
	}
	var err error
	if k.public, err = ssh.ParsePublicKey(blob); err != nil {
		t.Fatal(err)
	}
	return k
}

func (k hardwareKey) PublicKey() ssh.PublicKey { return k.public }

// Sign signs what the authenticator does: the hash of the application, the flags, a counter, and the hash of the data.
func (k hardwareKey) Sign(_ io.Reader, data []byte) (*ssh.Signature, error) {
	const counter = 42
	app, message := sha256.Sum256([]byte(application)), sha256.Sum256(data)
	signed := append(app[:], k.flags)
	signed = binary.BigEndian.AppendUint32(signed, counter)
	signed = append(signed, message[:]...)
	return &ssh.Signature{
		Format: k.public.Type(), Blob: k.sign(signed),
		Rest: ssh.Marshal(struct {
			Flags   byte
			Counter uint32
		}{k.flags, counter}),
	}, nil
}

func rsaKey(t *testing.T, bits int) ssh.Signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// sha1Signer signs with ssh-rsa.
func sha1Signer(t *testing.T, s ssh.Signer) ssh.Signer {
	t.Helper()
	old, err := ssh.NewSignerWithAlgorithms(s.(ssh.AlgorithmSigner), []string{ssh.KeyAlgoRSA})
	if err != nil {
		t.Fatal(err)
	}
	return old
}

func TestHardwareKeys(t *testing.T) {
	for name, tt := range map[string]struct {
		options string
		flags   byte
		touch   bool // PubkeyAuthOptions
		verify  bool
		in      bool
		reason  string
	}{
		"touched":                                 {flags: touched, in: true},
		"untouched":                               {flags: 0, reason: "user presence"},
		"verified and not touched":                {flags: verified, reason: "user presence"},
		"need not be touched":                     {options: "no-touch-required", flags: 0, in: true},
		"need not be touched, and was":            {options: "no-touch-required", flags: touched, in: true},
		"a later option wins":                     {options: "no-touch-required,touch-required", flags: 0, reason: "user presence"},
		"must be touched, says the configuration": {options: "no-touch-required", flags: 0, touch: true, reason: "user presence"},
		"touched, as the configuration says":      {options: "no-touch-required", flags: touched, touch: true, in: true},
		"must be verified":                        {options: "verify-required", flags: touched | verified, reason: "can't be told here"},
		"must be verified, says the configuration": {
			flags: touched | verified, verify: true, reason: "can't be told here",
		},
	} {
		for _, algorithm := range []string{ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256} {
			t.Run(name+"/"+algorithm, func(t *testing.T) {
				b := newBastion(t)
				b.settings.TouchRequired, b.settings.VerifyRequired = tt.touch, tt.verify
				key := newHardwareKey(t, algorithm, tt.flags)
				b.authorize("alice", strings.TrimSpace(tt.options+" "+line(key)))
				_, err := b.login("alice", ssh.PublicKeys(key))
				if got := b.lastReason(); (err == nil) != tt.in || !strings.Contains(got, tt.reason) {
					t.Errorf("got error %v, reason %q, want in %t, %q", err, got, tt.in, tt.reason)
				}
			})
		}
	}
}

// Whether the key in a certificate must be touched say the certificate and the line that trusts its authority; both must waive it.
func TestHardwareKeysInCertificates(t *testing.T) {
	authority := newKey(t)
	for name, tt := range map[string]struct {
		waived bool   // by the certificate
		line   string // options of the authority's line, or empty for TrustedUserCAKeys
		flags  byte
		touch  bool
		reason string // empty if let in
	}{
		"touched":                          {flags: touched},
		"untouched":                        {flags: 0, reason: "user presence"},
		"waived":                           {waived: true, flags: 0},
		"waived by both":                   {waived: true, line: "cert-authority,no-touch-required", flags: 0},
		"waived by the line alone":         {line: "cert-authority,no-touch-required", flags: 0, reason: "user presence"},
		"waived by the certificate alone":  {waived: true, line: "cert-authority", flags: 0, reason: "is to be touched here"},
		"waived, and the configuration no": {waived: true, flags: touched, touch: true, reason: "is to be touched here"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBastion(t)
			b.settings.TouchRequired = tt.touch
			if tt.line != "" {
				b.authorize("alice", tt.line+" "+line(authority))
			} else {
				b.settings.TrustedUserCAKeys = b.write("authorities", line(authority))
			}
			key := newHardwareKey(t, ssh.KeyAlgoSKED25519, tt.flags)
			signer := certify(t, authority, key, func(c *ssh.Certificate) {
				if tt.waived {
					extended(noTouchRequired)(c)
				}
			})
			_, err := b.login("alice", ssh.PublicKeys(signer))
			if got := b.lastReason(); (err == nil) != (tt.reason == "") || !strings.Contains(got, tt.reason) {
				t.Errorf("got error %v, reason %q, want %q", err, got, tt.reason)
			}
		})
	}
}

// The file may change between the question and the signature.
func TestTouchIsAskedForAgain(t *testing.T) {
	b := newBastion(t)
	key := newHardwareKey(t, ssh.KeyAlgoSKED25519, 0)
	b.authorize("alice", "no-touch-required "+line(key))
	cfg, _ := newClient(t, b)
	perms, err := cfg.PublicKeyCallback(meta{"alice"}, key.PublicKey())
	if err != nil || perms == nil {
		t.Fatalf("got %v, %v, want that no touch is needed", perms, err)
	}
	b.authorize("alice", line(key))
	_, err = cfg.VerifiedPublicKeyCallback(meta{"alice"}, key.PublicKey(), perms, ssh.KeyAlgoSKED25519)
	var r *refusal
	if !errors.As(err, &r) || !strings.Contains(r.reason, "untouched") {
		t.Errorf("got %v, want a refusal", err)
	}
}
