package auth

import (
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"strconv"

	"golang.org/x/crypto/ssh"
)

// byCommand looks for the key in what AuthorizedKeysCommand prints.
func (l *lookup) byCommand(of account) (keyOptions, error) {
	s := l.settings
	out, err := l.run(Command{Line: s.AuthorizedKeysCommand, User: s.AuthorizedKeysCommandUser, Tokens: l.tokens(of), Argument: l.claimed.User})
	if err != nil {
		return keyOptions{}, fmt.Errorf("AuthorizedKeysCommand: %w", err)
	}
	return l.search("AuthorizedKeysCommand", out)
}

// principalsByCommand looks for a principal of the certificate in what AuthorizedPrincipalsCommand prints.
func (l *lookup) principalsByCommand(of account) (o keyOptions, found bool, err error) {
	s, cert := l.settings, l.certificate
	tokens := l.tokens(of)
	maps.Copy(tokens, map[byte]string{
		'F': ssh.FingerprintSHA256(cert.SignatureKey),
		'K': base64.StdEncoding.EncodeToString(cert.SignatureKey.Marshal()),
		'T': cert.SignatureKey.Type(),
		'i': cert.KeyId,
		's': strconv.FormatUint(cert.Serial, 10),
	})
	out, err := l.run(Command{Line: s.AuthorizedPrincipalsCommand, User: s.AuthorizedPrincipalsCommandUser, Tokens: tokens})
	if err != nil {
		return keyOptions{}, false, fmt.Errorf("AuthorizedPrincipalsCommand: %w", err)
	}
	return l.searchPrincipals("AuthorizedPrincipalsCommand", out)
}

func (l *lookup) run(c Command) ([]byte, error) {
	if l.commands == nil {
		return nil, errors.New("no command is run here")
	}
	return l.commands.Output(l.ctx, c)
}

// tokens are those of both commands (sshd_config(5), TOKENS). There are no routing domains here: %D is empty.
func (l *lookup) tokens(of account) tokens {
	t := of.tokens(l.claimed.User)
	maps.Copy(t, map[byte]string{
		'C': fmt.Sprintf("%s %d %s %d", l.claimed.Addr, l.port, l.claimed.LocalAddr.Addr(), l.claimed.LocalAddr.Port()),
		'D': "",
		'f': ssh.FingerprintSHA256(bare(l.key)),
		'k': base64.StdEncoding.EncodeToString(l.key.Marshal()),
		't': l.key.Type(),
	})
	return t
}
