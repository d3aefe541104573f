package auth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/policy"
)

// maxKeyLine bounds a line of a keys file, in bytes; a longer one doesn't serve. A key
// of 16384 bits takes 2.8 KiB.
const maxKeyLine = 16 << 10

// find looks for what lets key serve for the user that is claimed, in sshd's order: a line of the keys files that holds it, or that holds the
// authority which has certified it; TrustedUserCAKeys; a line of what AuthorizedKeysCommand prints. With an error, line is one
// that holds it and doesn't serve, or empty.
func (a *Authenticator) find(ctx context.Context, cl claim, key ssh.PublicKey) (g *grant, line string, err error) {
	s := &cl.settings
	l := lookup{ctx: ctx, commands: a.cfg.Commands, claimed: cl.Subject, port: cl.port, settings: s, key: key, now: a.cfg.Now()}
	if err := s.acceptable(key); err != nil {
		return nil, "", err
	}
	if err := a.revoked(s.RevokedKeys, key); err != nil {
		return nil, "", s.refusedBy("RevokedKeys", err.Error())
	}
	if cert, ok := key.(*ssh.Certificate); ok {
		if l.own, err = s.certificateOptions(cert, cl.Subject, l.now); err != nil {
			return nil, "", err
		}
		l.certificate = cert
	}
	o, err := l.inFiles(cl.account)
	if err != nil && l.certificate != nil && s.TrustedUserCAKeys != "" {
		o, err = orElse(err, l.byTrustedCA, cl.account)
	}
	if err != nil && s.AuthorizedKeysCommand != "" {
		o, err = orElse(err, l.byCommand, cl.account)
	}
	if err == nil {
		g, err = l.grant(o)
	}
	return g, l.line, oneLine(err)
}

// orElse looks in the next place after the one before had nothing, and why.
func orElse(before error, look func(account) (keyOptions, error), of account) (keyOptions, error) {
	o, err := look(of)
	if err != nil {
		err = errors.Join(before, err)
	}
	return o, err
}

// oneLine makes one line of joined errors.
func oneLine(err error) error {
	if err == nil {
		return nil
	}
	return errors.New(strings.ReplaceAll(err.Error(), "\n", "; "))
}

// lookup is the search for one key.
type lookup struct {
	ctx      context.Context
	commands *Commands // nil if none is run
	claimed  policy.Subject
	port     uint16 // of the client
	settings *Settings
	key      ssh.PublicKey
	now      time.Time

	certificate *ssh.Certificate // nil for a plain key
	own         keyOptions       // the certificate's

	line string // the first line that holds the key
}

// inFiles looks into AuthorizedKeysFile, in order.
func (l *lookup) inFiles(of account) (keyOptions, error) {
	var errs []error
	for _, file := range l.settings.AuthorizedKeysFile {
		path, data, err := readUserFile(file, of, l.claimed.User)
		if err == nil {
			var o keyOptions
			if o, err = l.search(path, data); err == nil {
				return o, nil
			}
		}
		errs = append(errs, err)
	}
	if errs == nil {
		return keyOptions{}, errors.New("no AuthorizedKeysFile is configured")
	}
	return keyOptions{}, errors.Join(errs...)
}

// readUserFile reads the file of a user that a pattern with tokens names.
func readUserFile(pattern string, of account, user string) (path string, data []byte, err error) {
	path, err = expand(pattern, of.tokens(user))
	if err != nil {
		return "", nil, err
	}
	var owners []int
	if uid, err := strconv.Atoi(of.uid); err == nil && of.home != "" && path != pattern && strings.HasPrefix(path, of.home+"/") {
		owners = []int{uid} // what is in somebody's home is theirs
	}
	data, err = readTrusted(path, 0o022, owners...)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil, fmt.Errorf("there is no %q", path)
	} else if err != nil {
		return "", nil, fmt.Errorf("read file of the user: %w", err)
	}
	return path, data, nil
}

// search returns the options of the first line that holds the key, or its authority, and serves, as sshd does. The data
// is that of the file, or of the output of a command, that is named name.
func (l *lookup) search(name string, data []byte) (keyOptions, error) {
	var (
		refused    error
		unreadable string // the first line that can't be read

		own, authority = l.key.Marshal(), []byte(nil) // once: a certificate may be long
	)
	if l.certificate != nil {
		authority = l.certificate.SignatureKey.Marshal()
	}
	for n, text := range lines(data) {
		source := name + ":" + strconv.Itoa(n)
		found, words, err := parseKeyLine(text)
		if err != nil {
			if unreadable == "" {
				unreadable = source
			}
			continue
		}
		blob := found.Marshal()
		// A certificate serves by its authority alone, even where it stands in the file itself.
		holds, certifies := l.certificate == nil && bytes.Equal(blob, own), l.certificate != nil && bytes.Equal(blob, authority)
		if !holds && !certifies {
			continue
		}
		o, err := parseOptions(words, l.now.Location())
		if err == nil && o.authority != certifies {
			continue // it is about the key in its other part
		}
		if l.line == "" {
			l.line = source
		}
		if err == nil {
			err = l.admit(&o)
		}
		if err != nil {
			refused = fmt.Errorf("%s: %w", source, err)
			continue
		}
		o.rules.Source = source
		l.line = source
		return o, nil
	}
	switch {
	case refused != nil:
		return keyOptions{}, refused
	case unreadable != "":
		return keyOptions{}, fmt.Errorf("the key is not in %q; %s can't be read", name, unreadable)
	}
	return keyOptions{}, fmt.Errorf("the key is not in %q", name)
}

// admit checks what a line that holds the key says of it.
func (l *lookup) admit(o *keyOptions) error {
	if err := o.admit(l.claimed, l.now); err != nil {
		return err
	}
	if l.certificate == nil {
		return nil
	}
	if o.principals == nil {
		return namedIn(l.certificate, []string{l.claimed.User})
	}
	return namedIn(l.certificate, o.principals)
}

// grant makes a grant of the options that the line and the certificate have, both of which narrow.
func (l *lookup) grant(o keyOptions) (*grant, error) {
	g := &grant{key: l.key, fingerprint: ssh.FingerprintSHA256(bare(l.key)), rules: o.rules, certificate: certified(l.key)}
	hardware, untouched := isHardware(l.key), o.noTouch && !l.settings.TouchRequired
	verify := o.verify || l.settings.VerifyRequired
	if l.certificate != nil {
		rules, err := meet(&o.rules, &l.own.rules)
		if err != nil {
			return nil, err
		}
		g.rules = *rules
		if hardware && l.own.noTouch && !untouched {
			// x/crypto/ssh would go by the certificate, and doesn't tell whether it was touched.
			return nil, errors.New("the certificate has no-touch-required, and is to be touched here: it needs to be made without")
		}
		untouched = untouched && l.own.noTouch
		verify = verify || l.own.verify
	}
	if hardware && verify {
		// x/crypto/ssh (v0.58.0) checks the signature and tells nobody what stands in it.
		return nil, errors.New("verify-required: whether a hardware key has verified its user can't be told here")
	}
	g.noTouch = hardware && untouched
	return g, nil
}

// isHardware reports whether the private key is held by a FIDO authenticator.
func isHardware(key ssh.PublicKey) bool {
	return slices.Contains([]string{ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256}, bare(key).Type())
}

// lines yields the lines that say something, with their numbers.
func lines(data []byte) func(yield func(int, []byte) bool) {
	return func(yield func(int, []byte) bool) {
		n := 0
		for text := range bytes.Lines(data) {
			n++
			text = bytes.TrimSpace(text)
			if len(text) > 0 && text[0] != '#' && !yield(n, text) {
				return
			}
		}
	}
}

func parseKeyLine(text []byte) (ssh.PublicKey, []string, error) {
	if len(text) > maxKeyLine {
		return nil, nil, fmt.Errorf("line is longer than %d bytes", maxKeyLine)
	}
	key, _, options, _, err := ssh.ParseAuthorizedKey(text)
	return key, options, err
}
