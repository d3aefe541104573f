package login

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/crypto/ssh"
)

// maxKeyFile bounds what is read of a private key file, in bytes; an RSA key of 16384 bits
// has 13 KiB.
const maxKeyFile = 64 << 10

// identity is a key that may be offered.
type identity struct {
	name   string // where it is from, for the person
	signer ssh.AlgorithmSigner
}

// loadIdentity reads a private key file. Where a certificate lies beside it (file-cert.pub), the
// certificate comes first. The passphrase of an encrypted key is asked for only
// when a signature is needed, if the file tells its public key without.
func loadIdentity(ctx context.Context, cfg *Config, file string, pause func() (resume func())) ([]identity, error) {
	pem, err := readKeyFile(file)
	if err != nil {
		return nil, err
	}
	var signer ssh.AlgorithmSigner
	plain, err := ssh.ParsePrivateKey(pem)
	var locked *ssh.PassphraseMissingError
	switch {
	case err == nil:
		if signer, err = algorithmSigner(plain); err != nil {
			return nil, fmt.Errorf("identity file %q: %w", file, err)
		}
	case errors.As(err, &locked):
		unlock := func() (ssh.AlgorithmSigner, error) {
			defer pause()()
			return askPassphrase(ctx, cfg, file, pem)
		}
		public := locked.PublicKey
		if public == nil {
			public = readPublicKey(file + ".pub")
		}
		if public == nil {
			if signer, err = unlock(); err != nil {
				return nil, err
			}
			break
		}
		signer = &lockedKey{public: public, unlock: unlock}
	default:
		return nil, fmt.Errorf("identity file %q is not a private key that culvert can read: %w", file, err)
	}
	ids := []identity{{name: file, signer: signer}}
	if cert, ok := readPublicKey(file + "-cert.pub").(*ssh.Certificate); ok {
		if s, err := ssh.NewCertSigner(cert, signer); err == nil {
			if as, err := algorithmSigner(s); err == nil {
				ids = append([]identity{{name: file + "-cert.pub", signer: as}}, ids...)
			}
		}
	}
	return ids, nil
}

// algorithmSigner returns s as what every signer of the SSH library is.
func algorithmSigner(s ssh.Signer) (ssh.AlgorithmSigner, error) {
	if as, ok := s.(ssh.AlgorithmSigner); ok {
		return as, nil
	}
	return nil, fmt.Errorf("key type %q can't choose its algorithm", s.PublicKey().Type())
}

// readKeyFile refuses a key of ours that others may read, as ssh(1) does.
func readKeyFile(file string) (pem []byte, err error) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("identity file %q: %w", file, fs.ErrNotExist)
	} else if err != nil {
		return nil, fmt.Errorf("identity file %q can't be read: %w", file, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("identity file %q: %w", file, err)
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("identity file %q is not a file", file)
	}
	if tooOpen(st) {
		return nil, fmt.Errorf("identity file %q may be read by others (mode %04o), so it is not used: chmod 600 %q", file, st.Mode().Perm(), file)
	}
	pem, err = io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return nil, fmt.Errorf("identity file %q can't be read: %w", file, err)
	}
	if len(pem) > maxKeyFile {
		return nil, fmt.Errorf("identity file %q is too long for a private key", file)
	}
	return pem, nil
}

// readPublicKey returns the key of a .pub file, or nil.
func readPublicKey(file string) ssh.PublicKey {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey(text)
	if err != nil {
		return nil
	}
	return key
}

// askPassphrase asks up to three times.
func askPassphrase(ctx context.Context, cfg *Config, file string, pem []byte) (ssh.AlgorithmSigner, error) {
	for range 3 {
		passphrase, err := cfg.ask(ctx, fmt.Sprintf("Passphrase for key %q: ", file), false)
		if err != nil {
			return nil, fmt.Errorf("identity file %q is encrypted: %w", file, err)
		}
		if passphrase == "" {
			break // the person wants to go on without this key
		}
		signer, err := ssh.ParsePrivateKeyWithPassphrase(pem, []byte(passphrase))
		if err == nil {
			return algorithmSigner(signer)
		}
		if !errors.Is(err, x509.IncorrectPasswordError) {
			return nil, fmt.Errorf("identity file %q: %w", file, err)
		}
	}
	return nil, fmt.Errorf("identity file %q is encrypted, and its passphrase was not given", file)
}

// lockedKey is an encrypted private key whose public key is known.
type lockedKey struct {
	public ssh.PublicKey
	unlock func() (ssh.AlgorithmSigner, error)
	signer ssh.AlgorithmSigner // once it was unlocked
}

func (k *lockedKey) PublicKey() ssh.PublicKey { return k.public }

func (k *lockedKey) Sign(rand io.Reader, data []byte) (*ssh.Signature, error) {
	return k.SignWithAlgorithm(rand, data, k.public.Type())
}

// SignWithAlgorithm asks for the passphrase the first time.
func (k *lockedKey) SignWithAlgorithm(rand io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	if k.signer == nil {
		signer, err := k.unlock()
		if err != nil {
			return nil, err
		}
		k.signer = signer
	}
	return k.signer.SignWithAlgorithm(rand, data, algorithm)
}
