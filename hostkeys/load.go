// Package hostkeys loads and generates the keys by which a server proves who it is, with their certificates, from
// files and from an agent. It doesn't know which files are configured, and it hands no key to anybody who could
// not have read the file.
package hostkeys

import (
	"bytes"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
)

const (
	// maxFileSize bounds what is read of a key file, in bytes. An RSA key of 16384 bits needs 12 KiB.
	maxFileSize = 64 << 10

	// minRSABits is the shortest RSA key that is loaded (NIST SP 800-131A).
	minRSABits = 2048
)

// Config says where the keys are.
type Config struct {
	// Files hold private keys as ssh-keygen writes them: ed25519, ECDSA, and RSA of at least 2048 bits, without a
	// passphrase, and readable by nobody but the owner. With an agent, they may hold public keys instead.
	Files []string

	// Certificates are files with host certificates, each for one of the keys.
	Certificates []string

	// Agent is the socket of an agent that signs with the keys whose public half is in Files, or SSH_AUTH_SOCK for the one that
	// the environment names. If empty, there is none.
	Agent string

	// Now is what the certificates' validity is compared with.
	Now time.Time
}

// Keys are host keys that can sign.
type Keys struct {
	// Handshake are those of which a client is shown one: certificates first, and then keys. There is one of a type, as
	// x/crypto/ssh has no use for more: the first.
	Handshake []ssh.Signer

	// All are the keys, without certificates: those of the handshake and those that clients are to learn about
	// before or after they are (hostkeys-00@openssh.com).
	All []ssh.Signer

	Warnings []string // on certificates that clients may not accept
}

// maxKeys bounds the keys, so that their public halves fit into one message.
const maxKeys = 32

// Load reads host keys. If a file doesn't serve, the error says what to do; the errors of all files are returned together.
// A key that is named twice counts once.
func Load(cfg Config) (*Keys, error) {
	var (
		k    Keys
		errs []error
	)
	if len(cfg.Files) > maxKeys {
		return nil, fmt.Errorf("%d host keys are too many: %d may be named", len(cfg.Files), maxKeys)
	}
	holder, err := newHolder(cfg.Agent)
	if err != nil {
		return nil, err
	}
	for _, path := range cfg.Files {
		signer, err := load(path, holder)
		switch {
		case err != nil:
			errs = append(errs, err)
		case find(k.All, signer.PublicKey()) == nil:
			k.All = append(k.All, signer)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err // a certificate without its key would be one error more
	}
	for _, path := range cfg.Certificates {
		signer, warnings, err := certify(path, k.All, cfg.Now)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		k.Warnings = append(k.Warnings, warnings...)
		if other := ofType(k.Handshake, signer); other != nil {
			errs = append(errs, fmt.Errorf("host certificate %q: another one of type %s was named before it: keep one of them", path, signer.PublicKey().Type()))
			continue
		}
		k.Handshake = append(k.Handshake, signer)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	for _, signer := range k.All {
		if ofType(k.Handshake, signer) == nil {
			k.Handshake = append(k.Handshake, signer)
		}
	}
	return &k, nil
}

// find returns the signer of a key, nil if there is none.
func find(signers []ssh.Signer, key ssh.PublicKey) ssh.Signer {
	for _, s := range signers {
		if bytes.Equal(s.PublicKey().Marshal(), key.Marshal()) {
			return s
		}
	}
	return nil
}

// ofType returns the signer that has the type of another, nil if there is none.
func ofType(signers []ssh.Signer, like ssh.Signer) ssh.Signer {
	for _, s := range signers {
		if s.PublicKey().Type() == like.PublicKey().Type() {
			return s
		}
	}
	return nil
}

// load reads a private key, or a public one whose private half holder has. holder may be nil.
func load(path string, holder *holder) (ssh.Signer, error) {
	if key, err := readPublic(path); err == nil && holder != nil {
		return holder.signer(path, key)
	} else if err == nil {
		return nil, fmt.Errorf("host key %q is a public key: name the private one, or with HostKeyAgent the agent that has it", path)
	}
	data, err := readPrivate(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("host key %q doesn't exist: make one with \"culvertd keygen DIR\" or ssh-keygen", path)
	case err != nil:
		return nil, fmt.Errorf("read host key %q: %w", path, err)
	}
	raw, err := ssh.ParseRawPrivateKey(data)
	var missing *ssh.PassphraseMissingError
	switch {
	case errors.As(err, &missing):
		return nil, fmt.Errorf("host key %q has a passphrase, and nobody is there to type it: remove it with \"ssh-keygen -p\"", path)
	case err != nil:
		return nil, fmt.Errorf("host key %q is broken or no private key (%w): restore it, or make a new one with \"culvertd keygen DIR\"", path, err)
	}
	signer, err := newSigner(raw)
	if err != nil {
		return nil, fmt.Errorf("host key %q: %w", path, err)
	}
	return signer, nil
}

// newSigner makes a signer of a parsed private key. An RSA key signs with SHA-2 only (RFC 8332).
func newSigner(raw any) (ssh.Signer, error) {
	signer, err := ssh.NewSignerFromKey(raw)
	if err != nil {
		return nil, err
	}
	switch typ := signer.PublicKey().Type(); typ {
	case ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521:
		return signer, nil
	case ssh.KeyAlgoRSA:
		key, ok := raw.(*rsa.PrivateKey)
		if !ok {
			return nil, fmt.Errorf("no RSA key of a kind known here: %T", raw)
		}
		if err := longEnough(&key.PublicKey); err != nil {
			return nil, err
		}
		algorithmSigner, ok := signer.(ssh.AlgorithmSigner)
		if !ok {
			return nil, fmt.Errorf("RSA key can't choose its signature algorithm: %T", signer)
		}
		return ssh.NewSignerWithAlgorithms(algorithmSigner, rsaAlgorithms)
	default:
		return nil, notServed(typ)
	}
}

// rsaAlgorithms are those with which an RSA key signs (RFC 8332).
var rsaAlgorithms = []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}

func longEnough(key *rsa.PublicKey) error {
	if bits := key.N.BitLen(); bits < minRSABits {
		return fmt.Errorf("an RSA key of %d bits is too short, %d is the least: make a new one", bits, minRSABits)
	}
	return nil
}

func notServed(typ string) error {
	return fmt.Errorf("keys of type %s are not served: use ed25519, ecdsa or rsa", typ)
}

// readPrivate reads a file that only its owner, who is root or us, may read.
func readPrivate(path string) ([]byte, error) {
	// O_NONBLOCK: opening a FIFO must not hang.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("others may read or write it (mode %#o): run \"chmod 600\" on it, and make a new key if it was ever exposed", mode)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return nil, fmt.Errorf("it belongs to user id %d: it must belong to root or to the user that runs culvertd", st.Uid)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFileSize {
		return nil, fmt.Errorf("more than %d bytes are no host key", maxFileSize)
	}
	return data, nil
}
