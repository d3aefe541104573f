package login

import (
	"bytes"
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
	name   string              // where it is from, for the person
	public ssh.PublicKey       // nil if only opening it tells
	signer ssh.AlgorithmSigner // nil until it is opened
	half   *identity           // signs for it, if it is a certificate of a file
	pem    []byte              // the file, of a key that is read from one
	login  *authenticator      // that it serves
	raw    any                 // the private key of a file, until the agent was offered it
	unread error               // why a file that is there has told its public half alone
}

// hasPrivate reports whether it can be signed with, if need be after it is opened.
func (id *identity) hasPrivate() bool { return id.pem != nil || id.signer != nil }

// loadIdentity reads a private key file. The passphrase of an encrypted key is asked for only when a signature is needed, if the file, or the
// one with .pub beside it, tells its public key without.
func (a *authenticator) loadIdentity(file string) (*identity, error) {
	pem, err := readKeyFile(file)
	if err != nil {
		return nil, err
	}
	id := &identity{name: file, pem: pem, login: a}
	private, err := ssh.ParseRawPrivateKey(pem)
	var locked *ssh.PassphraseMissingError
	switch {
	case err == nil:
		if err = id.have(private); err != nil {
			return nil, fmt.Errorf("identity file %q: %w", file, err)
		}
	case errors.As(err, &locked):
		if id.public = locked.PublicKey; id.public == nil {
			id.public = readPublicKey(file + ".pub")
		}
	default:
		return nil, fmt.Errorf("identity file %q is not a private key that culvert can read: %w", file, err)
	}
	return id, nil
}

// have makes private, as the library has parsed it, the key of id.
func (id *identity) have(private any) error {
	s, err := ssh.NewSignerFromKey(private)
	if err != nil {
		return err
	}
	as, ok := s.(ssh.AlgorithmSigner)
	if !ok {
		return fmt.Errorf("key type %q can't choose its algorithm", s.PublicKey().Type())
	}
	if id.public != nil && !bytes.Equal(id.public.Marshal(), s.PublicKey().Marshal()) {
		return fmt.Errorf("the key beside it (%s.pub) is another one", id.name)
	}
	id.signer, id.public, id.raw = as, s.PublicKey(), private
	return nil
}

// open gives id its private key. The person may be asked for the passphrase.
func (id *identity) open() error {
	if id.signer != nil {
		return nil
	}
	defer id.login.pause()()
	return askPassphrase(id.login.ctx, id.login.cfg, id.name, func(passphrase []byte) error {
		private, err := ssh.ParseRawPrivateKeyWithPassphrase(id.pem, passphrase)
		if err != nil {
			return err
		}
		return id.have(private)
	})
}

func (id *identity) sign(rand io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	if id.half != nil {
		return id.half.sign(rand, data, algorithm)
	}
	if err := id.open(); err != nil {
		return nil, err
	}
	if id.raw != nil {
		if err := id.login.agent.add(id.login.ctx, id.login.cfg, id.name, id.raw); err != nil {
			id.login.cfg.Logger().Warn("the agent was not given a key", "name", id.name, "err", err)
		}
		id.raw = nil
	}
	return id.signer.SignWithAlgorithm(rand, data, algorithm)
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
func askPassphrase(ctx context.Context, cfg *Config, file string, try func(passphrase []byte) error) error {
	for range 3 {
		passphrase, err := cfg.ask(ctx, fmt.Sprintf("Passphrase for key %q: ", file), false)
		if err != nil {
			return fmt.Errorf("identity file %q is encrypted: %w", file, err)
		}
		if passphrase == "" {
			break // the person wants to go on without this key
		}
		err = try([]byte(passphrase))
		if err == nil {
			return nil
		}
		if !errors.Is(err, x509.IncorrectPasswordError) {
			return fmt.Errorf("identity file %q: %w", file, err)
		}
	}
	return fmt.Errorf("identity file %q is encrypted, and its passphrase was not given", file)
}
