package auth

import (
	"bytes"
	"crypto/rsa"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/policy"
)

const (
	// maxKeyLine bounds a line of a keys file, in bytes; a longer one doesn't serve. A key
	// of 16384 bits takes 2.8 KiB.
	maxKeyLine = 16 << 10

	// minRSABits is the shortest RSA key that is accepted (NIST SP 800-131A).
	minRSABits = 2048
)

// acceptableKey checks what no keys file can permit.
func acceptableKey(key ssh.PublicKey) error {
	if _, ok := key.(*ssh.Certificate); ok {
		return errors.New("certificates are not accepted")
	}
	if key.Type() == "ssh-dss" {
		return errors.New("DSA keys are not accepted")
	}
	if key.Type() == ssh.KeyAlgoRSA {
		k, ok := key.(ssh.CryptoPublicKey)
		if !ok {
			return errors.New("RSA key of unknown length")
		}
		pub, ok := k.CryptoPublicKey().(*rsa.PublicKey)
		if !ok || pub.N.BitLen() < minRSABits {
			return fmt.Errorf("RSA keys shorter than %d bits are not accepted", minRSABits)
		}
	}
	return nil
}

// findKey looks for key in files, in order, and returns the options of the first line
// that holds it and serves, as sshd does. With an error, line is one that holds it and doesn't serve, or
// empty.
func findKey(files []string, claimed policy.Subject, key ssh.PublicKey, now time.Time) (rules *policy.KeyRules, line string, err error) {
	var reasons []string
	for _, file := range files {
		rules, at, err := findKeyIn(file, claimed, key, now)
		if err == nil {
			return rules, at, nil
		}
		if line == "" {
			line = at
		}
		reasons = append(reasons, err.Error())
	}
	if reasons == nil {
		return nil, "", errors.New("no AuthorizedKeysFile is configured")
	}
	return nil, line, errors.New(strings.Join(reasons, "; "))
}

// findKeyIn is findKey for one file.
func findKeyIn(file string, claimed policy.Subject, key ssh.PublicKey, now time.Time) (*policy.KeyRules, string, error) {
	path, err := expandUser(file, claimed.User)
	if err != nil {
		return nil, "", err
	}
	data, err := readTrusted(path, 0o022)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", fmt.Errorf("there is no %q", path)
	} else if err != nil {
		return nil, "", fmt.Errorf("read keys file: %w", err)
	}
	return searchKeys(path, data, claimed, key, now)
}

// searchKeys is findKey for the contents of the file that is named path.
func searchKeys(path string, data []byte, claimed policy.Subject, key ssh.PublicKey, now time.Time) (rules *policy.KeyRules, line string, err error) {
	wanted := key.Marshal()
	var unreadable string // the first line that can't be read
	n := 0
	for text := range bytes.Lines(data) {
		n++
		text = bytes.TrimSpace(text)
		if len(text) == 0 || text[0] == '#' {
			continue
		}
		source := fmt.Sprintf("%s:%d", path, n)
		found, words, parseErr := parseKeyLine(text)
		if parseErr != nil {
			if unreadable == "" {
				unreadable = source
			}
			continue
		}
		if !bytes.Equal(found.Marshal(), wanted) {
			continue
		}
		line = source
		options, optionErr := parseOptions(words, now.Location())
		if optionErr == nil {
			optionErr = options.admit(claimed, now)
		}
		if optionErr != nil {
			err = fmt.Errorf("%s: %w", source, optionErr)
			continue
		}
		options.rules.Source = source
		return &options.rules, source, nil
	}
	switch {
	case err != nil:
		return nil, line, err
	case unreadable != "":
		return nil, "", fmt.Errorf("the key is not in %q; %s can't be read", path, unreadable)
	}
	return nil, "", fmt.Errorf("the key is not in %q", path)
}

func parseKeyLine(text []byte) (ssh.PublicKey, []string, error) {
	if len(text) > maxKeyLine {
		return nil, nil, fmt.Errorf("line is longer than %d bytes", maxKeyLine)
	}
	key, _, options, _, err := ssh.ParseAuthorizedKey(text)
	return key, options, err
}

// expandUser puts the user name, which must be valid, into a path of AuthorizedKeysFile.
func expandUser(file, user string) (string, error) {
	var path strings.Builder
	for rest := file; ; {
		before, after, found := strings.Cut(rest, "%")
		path.WriteString(before)
		switch {
		case !found:
			return path.String(), nil
		case strings.HasPrefix(after, "u"):
			path.WriteString(user)
		case strings.HasPrefix(after, "%"):
			path.WriteByte('%')
		default:
			return "", fmt.Errorf("AuthorizedKeysFile %q: only %%u and %%%% are known", file)
		}
		rest = after[1:]
	}
}
