package krl

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"

	"golang.org/x/crypto/ssh"
)

// parsePlain reads a public key a line: its type, the key in base64, and a comment. Empty lines, and those that
// begin with #, are none. A certificate stands for the key in it.
func (l *List) parsePlain(data []byte) error {
	n := 0
	for line := range bytes.Lines(data) {
		n++
		words := bytes.Fields(line)
		if len(words) == 0 || words[0][0] == '#' {
			continue
		}
		key, err := parseKey(words)
		if err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		l.keys[sha256.Sum256(key.Marshal())] = struct{}{}
	}
	return nil
}

func parseKey(words [][]byte) (ssh.PublicKey, error) {
	if len(words) < 2 {
		return nil, errors.New("no public key (type and key in base64, without options)")
	}
	blob := make([]byte, base64.StdEncoding.DecodedLen(len(words[1])))
	n, err := base64.StdEncoding.Decode(blob, words[1])
	if err != nil {
		return nil, fmt.Errorf("no public key (type and key in base64, without options): %w", err)
	}
	key, err := ssh.ParsePublicKey(blob[:n])
	if err != nil {
		return nil, fmt.Errorf("no public key: %w", err)
	}
	if key.Type() != string(words[0]) {
		return nil, fmt.Errorf("a key of type %s is called %.64q", key.Type(), words[0])
	}
	if cert, ok := key.(*ssh.Certificate); ok {
		key = cert.Key
	}
	return key, nil
}
