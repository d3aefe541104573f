package auth

import (
	"crypto/ed25519"
	"errors"
	"fmt"

	"golang.org/x/crypto/ssh"
)

// SideKey is the public half of a key that a client has made for the side connections of one that it is logged in on (docs/protocol.md,
// stripes@culvert).
type SideKey [ed25519.PublicKeySize]byte

// NewSideKey returns a public key as a SideKey. It fails for all but plain ed25519.
func NewSideKey(key ssh.PublicKey) (SideKey, error) {
	crypto, ok := key.(ssh.CryptoPublicKey)
	if !ok || key.Type() != ssh.KeyAlgoED25519 {
		return SideKey{}, fmt.Errorf("a side connection's key is of type %s, not %.64q", ssh.KeyAlgoED25519, key.Type())
	}
	plain, ok := crypto.CryptoPublicKey().(ed25519.PublicKey)
	if !ok || len(plain) != len(SideKey{}) {
		return SideKey{}, errors.New("a side connection's key is malformed")
	}
	return SideKey(plain), nil
}

// ParseSideKey reads a SideKey as RFC 8709, section 4, writes it.
func ParseSideKey(blob []byte) (SideKey, error) {
	key, err := ssh.ParsePublicKey(blob)
	if err != nil {
		return SideKey{}, fmt.Errorf("parse a side connection's key: %w", err)
	}
	return NewSideKey(key)
}

// Fingerprint is SHA256:….
func (k SideKey) Fingerprint() string {
	key, err := ssh.NewPublicKey(ed25519.PublicKey(k[:]))
	if err != nil { // which its length excludes
		return ""
	}
	return ssh.FingerprintSHA256(key)
}

// Side authenticates one side connection. It knows of no user, account, keys file or configuration, so that nothing which lets a user in serves
// here; and what it lets in is no policy.Subject, so that SubjectOf fails for it and nothing that is permitted to somebody can be asked for.
// All fields are required. Its methods are called from the one goroutine that runs the handshake.
type Side struct {
	// Serves returns why a key doesn't serve for a user name. The client may just be asking.
	Serves func(user string, key SideKey) error

	// Enter is told that the client has proven to have a key, and returns why it isn't let in.
	Enter func(user string, key SideKey) error

	// Refused is told why the client wasn't let in by an attempt, and of the fingerprint of the key if it was one. What the client wrote is cut to
	// a bounded length, and is not escaped.
	Refused func(user, fingerprint, reason string)
}

// Install sets the authentication callbacks of cfg, all of them; whatever else turns NoClientAuth on, the method none is refused. There is one attempt.
func (s *Side) Install(cfg *ssh.ServerConfig) {
	var offered string // fingerprint of the last key
	cfg.MaxAuthTries = 1
	cfg.NoClientAuthCallback = func(ssh.ConnMetadata) (*ssh.Permissions, error) {
		return nil, errors.New("nothing was proven")
	}
	cfg.PublicKeyAuthAlgorithms = []string{ssh.KeyAlgoED25519}
	cfg.PublicKeyCallback = func(meta ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		offered = ssh.FingerprintSHA256(bare(key))
		side, err := NewSideKey(key)
		if err != nil {
			return nil, err
		}
		return nil, s.Serves(meta.User(), side)
	}
	cfg.VerifiedPublicKeyCallback = func(meta ssh.ConnMetadata, key ssh.PublicKey, _ *ssh.Permissions, _ string) (*ssh.Permissions, error) {
		side, err := NewSideKey(key)
		if err != nil {
			return nil, err
		}
		return nil, s.Enter(meta.User(), side)
	}
	cfg.PasswordCallback, cfg.KeyboardInteractiveCallback, cfg.GSSAPIWithMICConfig = nil, nil, nil
	cfg.AuthLogCallback = func(meta ssh.ConnMetadata, method string, err error) {
		if err != nil && method != "none" {
			s.Refused(clip(meta.User()), offered, clip(err.Error()))
		}
	}
}
