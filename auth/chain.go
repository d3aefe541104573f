package auth

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/policy"
)

// The methods as AuthenticationMethods spells them. The last two are ways of keyboard-interactive of our own; sshd
// names a device after the colon.
const (
	methodKey      = "publickey"
	methodPassword = "password"
	methodKbd      = "keyboard-interactive"          // the password, and the one-time code of an account that has one
	methodKbdCode  = "keyboard-interactive:totp"     // the one-time code alone
	methodKbdWord  = "keyboard-interactive:password" // the password alone
)

// proof is one method that was proven for a user name.
type proof struct {
	method    string
	key       *grant // of publickey, otherwise nil
	algorithm string // of its signature

	hasCode bool // the account has a one-time code
	code    bool // and it was proven
}

// established is what a subject's Proof is: how it was proven.
type established struct {
	proven []proof
	port   uint16 // of the client
}

// methods are those that were proven, in order.
func methods(proven []proof) (names []string) {
	for _, p := range proven {
		names = append(names, p.method)
	}
	return names
}

// next says what may be proven after what was, and whether that is enough. As in sshd, every list is for itself and
// goes on when its next method is proven, and a list with a method that is switched off is none.
func (s *Settings) next(proven []string) (heads []string, enough bool) {
	if len(s.AuthenticationMethods) == 0 {
		return []string{methodKey, methodPassword, methodKbd}, len(proven) > 0
	}
	for _, list := range s.AuthenticationMethods {
		if len(list) == 0 || !s.allOn(list) {
			continue
		}
		rest := list
		for _, method := range proven {
			if len(rest) > 0 && rest[0] == method {
				rest = rest[1:]
			}
		}
		if len(rest) == 0 {
			return nil, true
		}
		if !slices.Contains(heads, rest[0]) {
			heads = append(heads, rest[0])
		}
	}
	return heads, false
}

func (s *Settings) allOn(list []string) bool {
	return !slices.ContainsFunc(list, func(method string) bool { return !s.on(method) })
}

// on reports whether a method is switched on.
func (s *Settings) on(method string) bool {
	switch method {
	case methodKey:
		return s.PubkeyAuthentication
	case methodPassword:
		return s.PasswordAuthentication
	case methodKbd, methodKbdCode, methodKbdWord:
		return s.KbdInteractiveAuthentication
	}
	return false
}

// off is the refusal of a method that is switched off.
func (s *Settings) off(method string) *refusal {
	return s.refusedBy(keyword(method), keyword(method)+" is no")
}

// keyword names what switches a method on.
func keyword(method string) string {
	switch method {
	case methodKey:
		return "PubkeyAuthentication"
	case methodPassword:
		return "PasswordAuthentication"
	}
	return "KbdInteractiveAuthentication"
}

// forget drops what was proven for another user name. x/crypto/ssh ends a connection that changes the name between
// two steps; what is proven for one must not depend on that.
func (c *Client) forget(cl claim) {
	if c.provenFor != cl.User {
		c.provenFor, c.proven = cl.User, nil
	}
}

// turn returns the way of method (RFC 4252's name) whose turn it is, or why it is nobody's.
func (c *Client) turn(cl claim, method string) (string, error) {
	c.forget(cl)
	heads, _ := cl.settings.next(methods(c.proven))
	i := slices.IndexFunc(heads, func(head string) bool { return head == method || strings.HasPrefix(head, method+":") })
	switch {
	case i >= 0 && cl.settings.on(heads[i]):
		return heads[i], nil
	case !cl.settings.on(method):
		return method, cl.settings.off(method)
	}
	return method, cl.settings.refusedBy("AuthenticationMethods", fmt.Sprintf("AuthenticationMethods wants something else than %s now", method))
}

// prove takes a proof on record, and lets the user in if it was the last one.
func (c *Client) prove(cl claim, p proof) (*ssh.Permissions, error) {
	c.forget(cl)
	attempt := Attempt{User: cl.User, Method: cl.method(p)}
	if p.key != nil {
		attempt.Key, attempt.KeyLine, attempt.Certificate = p.key.fingerprint, p.key.rules.Source, p.key.certificate
	}
	refused := func(err error) (*ssh.Permissions, error) {
		return nil, &refusal{key: attempt.Key, line: attempt.KeyLine, certificate: attempt.Certificate, rule: ruleOf(err), reason: err.Error()}
	}
	if err := cl.rootMay(p); err != nil {
		return refused(err)
	}
	proven := append(slices.Clip(c.proven), p)
	heads, enough := cl.settings.next(methods(proven))
	if !enough {
		attempt.Partial = true
		if err := c.report(attempt); err != nil {
			return refused(errNoRecord)
		}
		c.proven = proven
		return nil, &ssh.PartialSuccessError{Next: c.callbacks(heads)}
	}
	s, err := cl.identity(proven)
	if err != nil {
		return refused(err)
	}
	if r := c.a.admit(s); r != nil {
		r.key, r.line, r.certificate = attempt.Key, attempt.KeyLine, attempt.Certificate
		return nil, r
	}
	attempt.Accepted, attempt.Subject = true, &s
	var kept *Refused
	switch err := c.report(attempt); {
	case errors.As(err, &kept):
		return nil, &refusal{key: attempt.Key, certificate: attempt.Certificate, rule: kept.Rule, reason: kept.Reason, blameless: true}
	case err != nil:
		return refused(errNoRecord)
	}
	return &ssh.Permissions{ExtraData: map[any]any{subjectKey{}: s}}, nil
}

var errNoRecord = errors.New("the attempt can't be put on record")

// method is RFC 4252's name.
func (claim) method(p proof) string {
	name, _, _ := strings.Cut(p.method, ":")
	return name
}

// callbacks are those of the methods that may come next.
func (c *Client) callbacks(heads []string) (next ssh.ServerAuthCallbacks) {
	for _, head := range heads {
		switch head {
		case methodKey:
			next.PublicKeyCallback = c.publicKeyOffered
		case methodPassword:
			next.PasswordCallback = c.password
		default:
			next.KeyboardInteractiveCallback = c.keyboardInteractive
		}
	}
	return next
}

// identity is who was proven, from all that was proven for one user name and from nothing else.
func (cl *claim) identity(proven []proof) (policy.Subject, error) {
	s := cl.Subject
	s.Invalid = false // an account is where somebody can prove to have it
	s.Proof = established{slices.Clone(proven), cl.port}
	var hasCode, code bool
	for _, p := range proven {
		hasCode, code = hasCode || p.hasCode, code || p.code
		if p.key == nil {
			continue
		}
		rules, err := meet(s.KeyRules, &p.key.rules)
		if err != nil {
			return policy.Subject{}, err
		}
		s.Key, s.Certificate, s.KeyRules = p.key.fingerprint, p.key.certificate, rules
	}
	if hasCode && !code {
		return policy.Subject{}, errors.New("the account has a one-time code, and the password alone doesn't serve: use keyboard-interactive")
	}
	return s, nil
}

// used reports whether a key was proven already: two steps want two keys, as in sshd.
func used(proven []proof, key ssh.PublicKey) bool {
	return slices.ContainsFunc(proven, func(p proof) bool {
		return p.key != nil && bytes.Equal(bare(p.key.key).Marshal(), bare(key).Marshal())
	})
}
