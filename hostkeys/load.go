// Package hostkeys loads and generates the keys by which a server proves who it is. It
// doesn't know which files are configured, and it hands no key to anybody who could
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

	"golang.org/x/crypto/ssh"
)

const (
	// maxFileSize bounds what is read of a key file, in bytes. An RSA key of 16384 bits needs 12 KiB.
	maxFileSize = 64 << 10

	// minRSABits is the shortest RSA key that is loaded (NIST SP 800-131A).
	minRSABits = 2048
)

// Load reads host keys from files as ssh-keygen writes them: ed25519, ECDSA, and RSA of at
// least 2048 bits, without a passphrase, and readable by nobody but the owner. It returns one signer
// a file, in order, without duplicates. If a file doesn't serve, the error says what to do; the errors of
// all files are returned together. A server has one key of a type, so a second is an error too.
func Load(paths []string) ([]ssh.Signer, error) {
	var (
		signers []ssh.Signer
		errs    []error
		from    = make(map[string]int) // key type to index in signers
		sources []string
	)
	for _, path := range paths {
		signer, err := load(path)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		typ := signer.PublicKey().Type()
		i, taken := from[typ]
		switch {
		case !taken:
			from[typ] = len(signers)
			signers, sources = append(signers, signer), append(sources, path)
		case !bytes.Equal(signers[i].PublicKey().Marshal(), signer.PublicKey().Marshal()):
			errs = append(errs, fmt.Errorf("host key %q: %q is another key of type %s: keep one of them", path, sources[i], typ))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return signers, nil
}

func load(path string) (ssh.Signer, error) {
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
		if bits := key.N.BitLen(); bits < minRSABits {
			return nil, fmt.Errorf("an RSA key of %d bits is too short, %d is the least: make a new one", bits, minRSABits)
		}
		algorithmSigner, ok := signer.(ssh.AlgorithmSigner)
		if !ok {
			return nil, fmt.Errorf("RSA key can't choose its signature algorithm: %T", signer)
		}
		return ssh.NewSignerWithAlgorithms(algorithmSigner, []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256})
	default:
		return nil, fmt.Errorf("keys of type %s are not served: use ed25519, ecdsa or rsa", typ)
	}
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
