package hostkeys

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/crypto/ssh"
)

// Key is a host key in a file.
type Key struct {
	Path        string // of the private half; the public half is in Path + ".pub"
	Type        string // "ssh-ed25519"
	Fingerprint string // "SHA256:…"
	Kept        bool   // it was there before
}

// generators make the keys that a server should have, under the names that sshd gives them. The
// sizes are ssh-keygen's defaults.
var generators = []struct {
	name string
	make func() (crypto.Signer, error)
}{
	{"ssh_host_ed25519_key", func() (crypto.Signer, error) {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	}},
	{"ssh_host_ecdsa_key", func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }},
	{"ssh_host_rsa_key", func() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, 3072) }},
}

// Generate makes an ed25519, an ECDSA and an RSA host key in dir, which is made if it isn't there. It never
// overwrites: a key that is there is kept and returned as such, and must be a good one.
func Generate(dir, comment string) ([]Key, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make host key directory: %w", err)
	}
	var keys []Key
	for _, g := range generators {
		path := filepath.Join(dir, g.name)
		kept, err := exists(path)
		if err == nil && !kept {
			err = generate(path, comment, g.make)
		}
		if err != nil {
			return keys, fmt.Errorf("generate host key %q: %w", path, err)
		}
		signer, err := load(path, nil)
		if err != nil {
			return keys, err
		}
		pub := signer.PublicKey()
		keys = append(keys, Key{Path: path, Type: pub.Type(), Fingerprint: ssh.FingerprintSHA256(pub), Kept: kept})
	}
	return keys, nil
}

func exists(path string) (bool, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

func generate(path, comment string, newKey func() (crypto.Signer, error)) error {
	if found, err := exists(path + ".pub"); err != nil {
		return err
	} else if found {
		return fmt.Errorf("%q is there without its private key: move it away first", path+".pub")
	}
	key, err := newKey()
	if err != nil {
		return err
	}
	block, err := ssh.MarshalPrivateKey(key, comment)
	if err != nil {
		return err
	}
	pub, err := ssh.NewPublicKey(key.Public())
	if err != nil {
		return err
	}
	line := bytes.TrimSuffix(ssh.MarshalAuthorizedKey(pub), []byte("\n"))
	if err := writeNew(path, pem.EncodeToMemory(block), 0o600); err != nil {
		return err
	}
	return writeNew(path+".pub", fmt.Appendf(line, " %s\n", comment), 0o644)
}

// writeNew writes a file that must not exist. The file appears whole or not at all: it is
// written under another name and linked to its own, which fails if that is taken.
func writeNew(path string, data []byte, mode fs.FileMode) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".culvertd-keygen-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Chmod(mode); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return os.Link(f.Name(), path)
}
