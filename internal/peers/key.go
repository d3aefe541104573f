package peers

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/crypto/ssh"
)

// Key is an SSH key in a file that OpenSSH reads.
type Key struct {
	Path   string // of the private key; the public one is beside it, with .pub
	Signer ssh.Signer
}

// NewKey makes an Ed25519 key and writes it to folder/name and folder/name.pub.
func NewKey(folder, name string) (Key, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return Key{}, fmt.Errorf("make a key: %w", err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		return Key{}, fmt.Errorf("make a key: %w", err)
	}
	block, err := ssh.MarshalPrivateKey(private, name)
	if err != nil {
		return Key{}, fmt.Errorf("make a key: %w", err)
	}
	key := Key{Path: filepath.Join(folder, name), Signer: signer}
	if err := os.WriteFile(key.Path, pem.EncodeToMemory(block), 0o600); err != nil {
		return Key{}, fmt.Errorf("write key: %w", err)
	}
	if err := os.WriteFile(key.Path+".pub", key.Authorized(), 0o644); err != nil {
		return Key{}, fmt.Errorf("write key: %w", err)
	}
	return key, nil
}

// Authorized returns the line for authorized_keys, with its line end.
func (k Key) Authorized() []byte { return ssh.MarshalAuthorizedKey(k.Signer.PublicKey()) }
