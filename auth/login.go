package auth

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/crypto/ssh"
)

// password checks a password (RFC 4252, section 8). Whoever asks for whatever name, one hash is computed.
func (c *Client) password(meta ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
	cl := c.claim(meta.User())
	method, err := c.turn(cl, methodPassword)
	return c.check(cl, method, err, answers{password: password})
}

// What is asked for.
const (
	askPassword = "Password: "
	askCode     = "One-time code: "
	askAnyCode  = "One-time code (empty if you have none): "
)

// keyboardInteractive asks for a password, a one-time code or both (RFC 4256), in one round. Everybody is asked the same: for a code
// as soon as any account has one.
func (c *Client) keyboardInteractive(meta ssh.ConnMetadata, ask ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
	cl := c.claim(meta.User())
	method, err := c.turn(cl, methodKbd)
	questions := []string{askPassword}
	switch {
	case method == methodKbdCode:
		questions = []string{askCode}
	case method == methodKbd && codesInUse(cl.settings.PasswordFile):
		questions = append(questions, askAnyCode)
	}
	said, askErr := ask("", "", questions, make([]bool, len(questions)))
	switch {
	case askErr != nil && clientLeft(askErr):
		return nil, &refusal{reason: "the client left", left: true}
	case askErr != nil:
		return nil, refuse(askErr)
	case len(said) != len(questions):
		return nil, refuse(errors.New("the client didn't answer each question"))
	}
	if method == methodKbdCode {
		return c.check(cl, method, err, answers{code: said[0]})
	}
	a := answers{password: []byte(said[0])}
	if len(said) > 1 {
		a.code = said[1]
	}
	return c.check(cl, method, err, a)
}

// codesInUse reports whether any account has one-time codes.
func codesInUse(file string) bool {
	if file == "" {
		return false
	}
	accounts, err := readAccounts(file)
	if err != nil {
		return false // nobody gets in, whatever is asked
	}
	for _, a := range accounts {
		if a.HasCode() {
			return true
		}
	}
	return false
}

// answers are what was said to prove a password, a code or both.
type answers struct {
	password []byte
	code     string
}

// check proves what method wants, unless notNow says why nothing may be proven. The work is the same for
// everybody: a hash where the method has a password, and the codes of the moment where it has a code. A code is used up only by whoever
// has the right password.
func (c *Client) check(cl claim, method string, notNow error, a answers) (*ssh.Permissions, error) {
	failed := notNow
	if cl.refused != nil {
		failed = cl.refused
	}
	wantsCode := slices.Contains([]string{methodKbd, methodKbdCode}, method) && cl.account.HasCode()
	if method != methodKbdCode {
		failed = first(failed, c.checkPassword(cl, a.password))
	} else if !wantsCode {
		failed = first(failed, errors.New("the account has no one-time code"))
	}
	whose := cl.account.Account
	if failed != nil || !wantsCode {
		whose = Account{}
	}
	if err := c.a.codes.check(whose, a.code); wantsCode {
		failed = first(failed, err)
	}
	if failed != nil {
		var r *refusal
		if errors.As(failed, &r) {
			return nil, r
		}
		return nil, refuse(failed)
	}
	return c.prove(cl, proof{method: method, hasCode: cl.account.HasCode(), code: wantsCode})
}

// first returns the first of two errors that is one.
func first(err, next error) error {
	if err != nil {
		return err
	}
	return next
}

// checkPassword compares a password with the account's.
func (c *Client) checkPassword(cl claim, password []byte) error {
	ok, err := c.a.passwords.match(c.ctx, cl.account.passwordHash(), password)
	switch serves := passwordServes(cl); {
	case err != nil:
		return err
	case serves != nil:
		return serves
	case !ok:
		return errors.New("wrong password")
	}
	return nil
}

// passwordServes returns why no password serves the user that is claimed, if none does.
func passwordServes(cl claim) error {
	switch {
	case cl.settings.PasswordFile == "":
		return errors.New("no PasswordFile is configured")
	case !cl.account.HasPassword():
		return fmt.Errorf("no password for this user in %q", cl.settings.PasswordFile)
	}
	return nil
}
