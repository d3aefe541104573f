package auth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"

	"github.com/go-crypt/crypt/algorithm/argon2"
)

const (
	// hashPrefix is how every hash begins: argon2id with the second of the parameter sets that RFC 9106, section
	// 4, recommends (64 MiB, 3 passes, 4 lanes). There is one set, so that the
	// refusal of an unknown user takes as long as that of a wrong password, and so that no line
	// of the file can ask for more memory.
	hashPrefix = "$argon2id$v=19$m=65536,t=3,p=4$"

	saltText, keyText = 22, 43 // length of 16 and 32 bytes in base64 without padding

	// maxHashing is how many hashes are computed at once; each takes 64 MiB while it is.
	maxHashing = 2

	// maxPassword bounds a password, in bytes, as in sshd.
	maxPassword = 1024
)

// noHash is matched by no password: nobody knows one whose key is all zero bits.
const noHash = hashPrefix + "AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// passwords compares passwords with hashes, few at a time.
type passwords struct{ running chan struct{} }

func newPasswords() passwords { return passwords{make(chan struct{}, maxHashing)} }

// match reports whether password has this hash. It waits for its turn until ctx is done.
func (p passwords) match(ctx context.Context, hash string, password []byte) (bool, error) {
	tooLong := len(password) > maxPassword
	if tooLong {
		password = password[:maxPassword]
	}
	digest, err := argon2.DecodeVariant(argon2.VariantID)(hash)
	if err != nil {
		return false, fmt.Errorf("decode password hash: %w", err)
	}
	select {
	case p.running <- struct{}{}:
		defer func() {
			// The next collection would come when some hundred MiB more of this had piled up, and
			// who asks for it needs no account.
			runtime.GC()
			<-p.running
		}()
	case <-ctx.Done():
		return false, ctx.Err()
	}
	ok, err := digest.MatchBytesAdvanced(password)
	return ok && !tooLong && len(password) > 0, err
}

// hashPassword makes a hash with a salt of its own.
func hashPassword(password string) (string, error) {
	hasher, err := argon2.New(argon2.WithProfileRFC9106LowMemory())
	if err != nil {
		return "", err
	}
	digest, err := hasher.Hash(password)
	if err != nil {
		return "", err
	}
	hash := digest.Encode()
	return hash, validHash(hash)
}

func validHash(hash string) error {
	salt, key, _ := strings.Cut(strings.TrimPrefix(hash, hashPrefix), "$")
	if !strings.HasPrefix(hash, hashPrefix) || len(salt) != saltText || len(key) != keyText {
		return fmt.Errorf("no hash of ours (%s…): write it with \"culvertd passwd\"", hashPrefix)
	}
	if _, err := argon2.DecodeVariant(argon2.VariantID)(hash); err != nil {
		return errors.New("broken hash: write it again with \"culvertd passwd\"")
	}
	return nil
}

// readPasswords returns user names and hashes. A file with an error in it serves nobody.
func readPasswords(path string) (map[string]string, error) {
	data, err := readTrusted(path, 0o077)
	if err != nil {
		return nil, fmt.Errorf("read password file: %w", err)
	}
	return parsePasswords(path, data)
}

// parsePasswords reads lines name:hash. Empty lines and those that begin with # are comments.
func parsePasswords(path string, data []byte) (map[string]string, error) {
	hashes := make(map[string]string)
	n := 0
	for text := range bytes.Lines(data) {
		n++
		line := strings.TrimSpace(string(text))
		if line == "" || line[0] == '#' {
			continue
		}
		name, hash, _ := strings.Cut(line, ":")
		err := ValidUser(name)
		if err == nil {
			err = validHash(hash)
		}
		if _, twice := hashes[name]; twice && err == nil {
			err = fmt.Errorf("user %q stands there twice", name)
		}
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, n, err)
		}
		hashes[name] = hash
	}
	return hashes, nil
}
