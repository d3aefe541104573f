package auth

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"
)

// byPrincipals looks for a principal of the certificate in AuthorizedPrincipalsFile, and then in what AuthorizedPrincipalsCommand prints.
func (l *lookup) byPrincipals(of account) (keyOptions, error) {
	var errs []error
	if file := l.settings.AuthorizedPrincipalsFile; file != "" {
		path, data, err := readUserFile(file, of, l.claimed.User)
		if err == nil {
			var (
				o     keyOptions
				found bool
			)
			if o, found, err = l.searchPrincipals(path, data); found {
				return o, err
			}
		}
		errs = append(errs, err)
	}
	if l.settings.AuthorizedPrincipalsCommand != "" {
		o, found, err := l.principalsByCommand(of)
		if found {
			return o, err
		}
		errs = append(errs, err)
	}
	return keyOptions{}, errors.Join(errs...)
}

// searchPrincipals returns the options of the first line that names one of the certificate's principals. A line is a name
// with options before it. As in sshd, the line that is found decides, whether it admits the client or not; one with an error in its options is none.
func (l *lookup) searchPrincipals(name string, data []byte) (o keyOptions, found bool, err error) {
	var broken error
	for n, text := range lines(data) {
		source := name + ":" + strconv.Itoa(n)
		o, principal, err := l.parsePrincipal(text)
		if !slices.Contains(l.certificate.ValidPrincipals, principal) {
			continue
		}
		if err != nil {
			broken = errors.Join(broken, fmt.Errorf("%s: %w", source, err))
			continue
		}
		if err := o.admit(l.claimed, l.now); err != nil {
			l.line = source
			return keyOptions{}, true, fmt.Errorf("%s: %w", source, err)
		}
		o.rules.Source = source
		return o, true, nil
	}
	if broken != nil {
		return keyOptions{}, false, broken
	}
	return keyOptions{}, false, fmt.Errorf("none of the certificate's principals %s is in %q", show(l.certificate.ValidPrincipals), name)
}

// parsePrincipal reads a line of a principals file: the last word is the name, and what stands before it are options.
// A # begins a comment, even within quotes.
func (l *lookup) parsePrincipal(text []byte) (o keyOptions, principal string, err error) {
	text, _, _ = bytes.Cut(text, []byte("#"))
	line := strings.Trim(string(text), " \t\r")
	i := strings.LastIndexAny(line, " \t")
	principal = line[i+1:]
	if i < 0 {
		return keyOptions{}, principal, nil
	}
	if len(line) > maxKeyLine {
		return keyOptions{}, principal, fmt.Errorf("line is longer than %d bytes", maxKeyLine)
	}
	options, rest := cutOptions(strings.TrimRight(line[:i], " \t"))
	if rest != "" {
		return keyOptions{}, principal, errors.New("more than options stands before the name")
	}
	o, err = parseOptions(splitOptions(options), l.now.Location())
	if err == nil && o.authority {
		err = errors.New(`option "cert-authority": it is for a key`)
	}
	return o, principal, err
}

// holder returns the line that holds the key and nothing else that would narrow it.
func holder(name string, data []byte, key ssh.PublicKey) (string, error) {
	for n, text := range lines(data) {
		found, options, err := parseKeyLine(text)
		if err == nil && len(options) == 0 && bytes.Equal(found.Marshal(), key.Marshal()) {
			return name + ":" + strconv.Itoa(n), nil
		}
	}
	return "", fmt.Errorf("the certificate's authority %s is not in %q", ssh.FingerprintSHA256(key), name)
}
