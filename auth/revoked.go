package auth

import (
	"crypto/sha256"
	"fmt"
	"sync"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/krl"
)

// maxRevoked bounds the file of RevokedKeys, in bytes: half a million fingerprints.
const maxRevoked = 16 << 20

// revocations keeps the one list that was parsed last. The file is read each time, so that a key that was just revoked serves no
// longer; anybody can make us do that, and parsing it is what takes time.
type revocations struct {
	mu   sync.Mutex
	hash [sha256.Size]byte
	list *krl.List // nil if none is kept
}

// revoked returns why key doesn't serve, by the file that RevokedKeys names: because it, its authority, or the key in it is
// listed there, or because nobody can tell.
func (a *Authenticator) revoked(path string, key ssh.PublicKey) error {
	if path == "" {
		return nil
	}
	list, err := a.revocations.read(path)
	if err != nil {
		return fmt.Errorf("no key serves while RevokedKeys can't be read: %w", err)
	}
	if reason, revoked := list.Revoked(key); revoked {
		return fmt.Errorf("%s: %s", path, reason)
	}
	return nil
}

func (r *revocations) read(path string) (*krl.List, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f, err := openTrusted(path, 0o022)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := readAtMost(f, maxRevoked)
	if err != nil {
		return nil, err
	}
	hash := sha256.Sum256(data)
	if r.list != nil && r.hash == hash {
		return r.list, nil
	}
	r.list = nil
	list, err := krl.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	r.hash, r.list = hash, list
	return list, nil
}
