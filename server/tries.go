package server

import (
	"errors"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/policy"
)

// errTries has the words of x/crypto/ssh.
var errTries = errors.New("too many authentication failures")

// tries counts what failed of a login.
type tries struct {
	none, failed int
	rule         string // the line that says how many may be, once there are no more
}

// maxAuthTries is what x/crypto/ssh is to hold: it is told once, before the user is known, so it holds the highest that anybody
// may have.
func (c *connection) maxAuthTries() int {
	unknown := c.s.cfg.Settings(policy.Subject{Addr: c.id.Client.Addr(), LocalAddr: c.local}).MaxAuthTries
	return max(1, unknown, c.live.MaxAuthTries)
}

// tried holds the MaxAuthTries of whoever the user turns out to be. What counts is what counts for x/crypto/ssh: each failure but
// the first none, which asks for the methods.
func (c *connection) tried(user, method string, err error) {
	var partial *ssh.PartialSuccessError
	if err == nil || errors.As(err, &partial) || c.isAside { // which has one
		return
	}
	if method == "none" {
		if c.tries.none++; c.tries.none == 1 && c.tries.failed == 0 {
			return
		}
	}
	c.tries.failed++
	settings := c.s.cfg.Settings(c.client.Claimed(user))
	limit := max(1, settings.MaxAuthTries)
	if c.tries.failed >= limit {
		c.tries.rule = settings.line("MaxAuthTries")
	}
	if limit < c.maxAuthTries() && c.tries.failed >= limit {
		c.end(errTries)
	}
}
