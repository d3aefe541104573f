package auth

import (
	"errors"
	"fmt"

	"golang.org/x/crypto/ssh"
)

// password checks a password (RFC 4252, section 8). Whoever asks for whatever name, one hash is computed.
func (c *Client) password(meta ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
	cl := c.claim(meta.User())
	method, err := c.turn(cl, methodPassword)
	return c.checkPassword(cl, method, err, password)
}

// keyboardInteractive asks for a password (RFC 4256). Everybody is asked the same.
func (c *Client) keyboardInteractive(meta ssh.ConnMetadata, ask ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
	cl := c.claim(meta.User())
	method, err := c.turn(cl, methodKbd)
	answers, askErr := ask("", "", []string{"Password: "}, []bool{false})
	if askErr != nil {
		return nil, refuse(askErr)
	}
	if len(answers) != 1 {
		return nil, refuse(errors.New("the client gave no answer"))
	}
	return c.checkPassword(cl, method, err, []byte(answers[0]))
}

// checkPassword proves a password by the method, unless err says why it can't be.
func (c *Client) checkPassword(cl claim, method string, err error, password []byte) (*ssh.Permissions, error) {
	ok, matchErr := c.a.passwords.match(c.ctx, cl.account.passwordHash(), password)
	noPassword := passwordServes(cl)
	switch {
	case matchErr != nil:
		return nil, refuse(matchErr)
	case cl.refused != nil:
		return nil, cl.refused
	case err != nil:
		return nil, refuse(err)
	case noPassword != nil:
		return nil, refuse(noPassword)
	case !ok:
		return nil, refuse(errors.New("wrong password"))
	case method == methodKbdCode:
		return nil, refuse(errors.New("one-time codes are not served yet"))
	}
	return c.prove(cl, proof{method: method, hasCode: cl.account.HasCode()})
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
