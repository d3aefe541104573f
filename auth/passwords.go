package auth

import (
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
