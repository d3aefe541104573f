package server

import (
	"errors"
	"sync"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/auth"
	"github.com/culvert-ssh/culvert/policy"
)

// maxConnections is the keyword that bounds the connections of one user.
const maxConnections = "MaxConnections"

var errMaxConnections = errors.New("the user has too many connections (" + maxConnections + ")")

// wordsMaxConnections is what a client is told that is one too many: it has proven who it is, and may know.
const wordsMaxConnections = "culvertd: you have as many connections here as you may have: close one first\r\n"

// logins counts the connections that each user is logged in on, in this process.
type logins struct {
	mu sync.Mutex
	of map[string]int // by user; whoever has none isn't there
}

// login is one connection that counts for its user, until it leaves.
type login struct {
	user string
	left bool
}

// enter counts one more connection of a user, unless there are limit of them already; if limit is zero, there is none.
// It returns nil if it doesn't count. Whoever gets a login must call leave when the connection has ended.
func (l *logins) enter(user string, limit int) *login {
	l.mu.Lock()
	defer l.mu.Unlock()
	if limit > 0 && l.of[user] >= limit {
		return nil
	}
	if l.of == nil {
		l.of = make(map[string]int)
	}
	l.of[user]++
	return &login{user: user}
}

// leave may be called several times, and without a login.
func (l *logins) leave(one *login) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if one == nil || one.left {
		return
	}
	one.left = true
	if l.of[one.user]--; l.of[one.user] == 0 {
		delete(l.of, one.user)
	}
}

// enter counts the connection of a user who has proven to be one, or refuses it. One that is refused ends at once: what else the
// client tried would be refused as well, and make it look like one that guesses.
func (c *connection) enter(s policy.Subject) error {
	c.s.logins.leave(c.login) // of an attempt that was right and came to nothing
	c.login = c.s.logins.enter(s.User, c.s.cfg.Settings(s).MaxConnections)
	if c.login != nil {
		return nil
	}
	_ = c.auth.SendAuthBanner(wordsMaxConnections) // it is a farewell
	c.end(errMaxConnections)
	return &auth.Refused{Rule: c.s.cfg.Line(maxConnections, s), Reason: maxConnections + " is reached"}
}

// authenticating is told of the connection on which the client may be told something before it is authenticated.
func (c *connection) authenticating(conn ssh.ServerPreAuthConn) { c.auth = conn }
