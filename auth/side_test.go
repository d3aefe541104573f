package auth

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

func TestSideConnectionIsAskedForItsKeyAndNothingElse(t *testing.T) {
	good, other := newKey(t), newKey(t)
	right, err := NewSideKey(good.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	if got, want := right.Fingerprint(), ssh.FingerprintSHA256(good.PublicKey()); got != want {
		t.Errorf("fingerprint: got %s, want %s", got, want)
	}
	var entered, refused []string
	serves := func(user string, key SideKey) error {
		if user != "alice" || key != right {
			return errors.New("no such key")
		}
		return nil
	}
	side := Side{
		Serves:  serves,
		Enter:   func(user string, key SideKey) error { entered = append(entered, user); return serves(user, key) },
		Refused: func(user, fingerprint, reason string) { refused = append(refused, user+" "+fingerprint+" "+reason) },
	}
	cfg := &ssh.ServerConfig{
		NoClientAuth: true, MaxAuthTries: 6,
		PasswordCallback: func(ssh.ConnMetadata, []byte) (*ssh.Permissions, error) { return nil, nil },
		KeyboardInteractiveCallback: func(ssh.ConnMetadata, ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
			return nil, nil
		},
		GSSAPIWithMICConfig: &ssh.GSSAPIWithMICConfig{},
	}
	side.Install(cfg)
	if cfg.PasswordCallback != nil || cfg.KeyboardInteractiveCallback != nil || cfg.GSSAPIWithMICConfig != nil {
		t.Error("it has other methods")
	}
	if _, err := cfg.NoClientAuthCallback(meta{"alice"}); err == nil {
		t.Error("the method none lets in")
	}
	if cfg.MaxAuthTries != 1 || len(cfg.PublicKeyAuthAlgorithms) != 1 || cfg.PublicKeyAuthAlgorithms[0] != ssh.KeyAlgoED25519 {
		t.Errorf("got %d attempts by %q, want one by ed25519", cfg.MaxAuthTries, cfg.PublicKeyAuthAlgorithms)
	}
	for _, test := range []struct {
		what, user string
		key        ssh.PublicKey
		want       bool
	}{
		{"the key", "alice", good.PublicKey(), true},
		{"the key under another name", "bob", good.PublicKey(), false},
		{"another key", "alice", other.PublicKey(), false},
		{"a certificate of the key", "alice", &ssh.Certificate{Key: good.PublicKey(), SignatureKey: good.PublicKey()}, false},
	} {
		_, offered := cfg.PublicKeyCallback(meta{test.user}, test.key)
		perms, proven := cfg.VerifiedPublicKeyCallback(meta{test.user}, test.key, nil, ssh.KeyAlgoED25519)
		if (offered == nil) != test.want || (proven == nil) != test.want {
			t.Errorf("%s: offered %v, proven %v, want it to serve: %v", test.what, offered, proven, test.want)
		}
		if _, err := SubjectOf(&ssh.ServerConn{Permissions: perms}); err == nil {
			t.Errorf("%s: it has made a subject", test.what)
		}
	}
	if got, want := strings.Join(entered, " "), "alice bob alice"; got != want {
		t.Errorf("asked to enter: got %s, want %s", got, want)
	}
	cfg.AuthLogCallback(meta{"alice"}, "none", errors.New("none"))
	cfg.AuthLogCallback(meta{strings.Repeat("x", 1000)}, "publickey", errors.New("wrong"))
	cfg.AuthLogCallback(meta{"alice"}, "publickey", nil)
	if len(refused) != 1 || len(refused[0]) > 2*maxShown || !strings.HasSuffix(refused[0], "wrong") {
		t.Errorf("refused: got %q, want one, cut to a length", refused)
	}
}

// FuzzParseSideKey holds that a key which parses is the one key of 32 bytes that was written, and nothing more.
func FuzzParseSideKey(f *testing.F) {
	key := newKey(f).PublicKey()
	f.Add(key.Marshal())
	f.Add(key.Marshal()[:40])
	f.Add(append(key.Marshal(), 0))
	f.Add((&ssh.Certificate{Key: key, SignatureKey: key, Signature: &ssh.Signature{}}).Marshal())
	f.Fuzz(func(t *testing.T, blob []byte) {
		side, err := ParseSideKey(blob)
		if err != nil {
			return
		}
		again := ssh.Marshal(struct {
			Name string
			Key  []byte
		}{ssh.KeyAlgoED25519, side[:]})
		if string(again) != string(blob) {
			t.Errorf("%x was read as %x", blob, again)
		}
	})
}
