package auth

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/policy"
)

// Refused is why a subject that [Authenticator.Known] was asked about would not be let in, or, from a Client's report, why one
// that has proven who it is isn't.
type Refused struct {
	Rule   string // file:line that says so, if one does
	Reason string
}

func (r *Refused) Error() string { return r.Reason }

// Known completes s by what is known under its name, for a question about somebody who isn't there: the groups, unless it has some, and if it has the
// fingerprint of a plain key in Key, the options of the line of the keys files that holds it. Nothing is proven by it. With a *Refused it says
// what would keep the subject out, whatever it proved, and is complete but for the key; Admit isn't asked.
func (a *Authenticator) Known(s policy.Subject) (policy.Subject, error) {
	if err := ValidUser(s.User); err != nil {
		return s, err
	}
	account := a.account(s)
	if account.err != nil {
		return s, fmt.Errorf("look up the account: %w", account.err)
	}
	s.Invalid = !account.Known
	if s.Groups == nil {
		s.Groups = account.Groups
	}
	cl := claim{Subject: s, account: account, settings: a.cfg.Settings(s)}
	cl.Key = ""
	switch {
	case account.Locked:
		return s, &Refused{Reason: "the account is locked"}
	case account.root && cl.settings.PermitRootLogin == RootNo:
		return s, &Refused{Reason: "PermitRootLogin is no"}
	case s.Key == "":
		return s, nil
	}
	key, err := cl.keyWith(s.Key)
	if err != nil {
		return s, err
	}
	if !cl.settings.PubkeyAuthentication {
		return s, &Refused{Reason: "PubkeyAuthentication is no"}
	}
	g, line, err := a.find(context.Background(), cl, key)
	if err != nil {
		return s, &Refused{Rule: line, Reason: "the key doesn't serve: " + err.Error()}
	}
	s.KeyRules = &g.rules
	if err := cl.rootMay(proof{method: methodKey, key: g}); err != nil {
		return s, &Refused{Rule: line, Reason: err.Error()}
	}
	return s, nil
}

// keyWith returns the key with a fingerprint from the keys files of the user.
func (cl *claim) keyWith(fingerprint string) (ssh.PublicKey, error) {
	var missing []string
	for _, pattern := range cl.settings.AuthorizedKeysFile {
		path, data, err := readUserFile(pattern, cl.account, cl.User)
		if err != nil {
			missing = append(missing, err.Error())
			continue
		}
		for _, text := range lines(data) {
			if key, _, err := parseKeyLine(text); err == nil && ssh.FingerprintSHA256(key) == fingerprint {
				return key, nil
			}
		}
		missing = append(missing, fmt.Sprintf("it is not in %q", path))
	}
	if missing == nil {
		return nil, errors.New("look for the key: no AuthorizedKeysFile is configured")
	}
	return nil, fmt.Errorf("look for key %s: %s", fingerprint, strings.Join(missing, "; "))
}
