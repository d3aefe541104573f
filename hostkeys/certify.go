package hostkeys

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
)

// certify reads a host certificate and returns a signer that shows it, with what a client may find wrong with it.
func certify(path string, keys []ssh.Signer, now time.Time) (ssh.Signer, []string, error) {
	key, err := readPublic(path)
	if err != nil {
		return nil, nil, fmt.Errorf("read host certificate %q: %w", path, err)
	}
	cert, ok := key.(*ssh.Certificate)
	switch {
	case !ok:
		return nil, nil, fmt.Errorf("host certificate %q is a plain key: make a certificate with \"ssh-keygen -s CA -h\"", path)
	case cert.CertType != ssh.HostCert:
		return nil, nil, fmt.Errorf("host certificate %q is one for users: make it with \"ssh-keygen -h\"", path)
	}
	plain := find(keys, cert.Key)
	if plain == nil {
		return nil, nil, fmt.Errorf("host certificate %q is for the key %s, which no HostKey names", path, ssh.FingerprintSHA256(cert.Key))
	}
	signer, err := ssh.NewCertSigner(cert, plain)
	if err != nil {
		return nil, nil, fmt.Errorf("host certificate %q: %w", path, err)
	}
	return signer, doubts(path, cert, now), nil
}

// soon is how long before the end of a certificate somebody should know.
const soon = 14 * 24 * time.Hour

// doubts are why clients don't accept a certificate, or soon won't.
func doubts(path string, cert *ssh.Certificate, now time.Time) (doubts []string) {
	doubt := func(format string, args ...any) {
		doubts = append(doubts, fmt.Sprintf("host certificate %q "+format, append([]any{path}, args...)...))
	}
	from, until := uint64(cert.ValidAfter), cert.ValidBefore
	at := uint64(max(now.Unix(), 0))
	end := func() time.Time { return time.Unix(int64(until), 0).UTC() }
	switch {
	case at < from:
		doubt("is not valid before %s: clients refuse it", time.Unix(int64(from), 0).UTC())
	case until == ssh.CertTimeInfinity:
	case at >= until:
		doubt("has expired at %s: clients refuse it", end())
	case time.Duration(until-at) < soon/time.Second:
		doubt("expires at %s", end())
	}
	if len(cert.ValidPrincipals) == 0 {
		doubt("names no host (-n): clients may refuse it, and others accept it for every host")
	}
	return doubts
}

// readPublic reads a public key or a certificate as ssh-keygen writes it. It is no secret, and whoever could replace it could
// stop the server from starting, and no more.
func readPublic(path string) (ssh.PublicKey, error) {
	// O_NONBLOCK: opening a FIFO must not hang.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: path, Err: errors.New("not a regular file")}
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFileSize))
	if err != nil {
		return nil, err
	}
	key, _, options, _, err := ssh.ParseAuthorizedKey(data)
	if err == nil && len(options) > 0 {
		err = errors.New("options before a key mean nothing here")
	}
	if err != nil {
		return nil, fmt.Errorf("no public key: %w", err)
	}
	return key, nil
}
