package auth

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strings"
	"time"

	"github.com/culvert-ssh/culvert/policy"
)

// maxAccounts bounds the accounts that are remembered for a connection. Honest clients name one user.
const maxAccounts = 4

// lookupTime is how long it takes at least to look a name up, so that it doesn't tell in which places it is found.
const lookupTime = 2 * time.Millisecond

// account is what is known under a user name, before anything is proven.
type account struct {
	Account
	root bool
	home string // of the operating system's user; empty if there is none
	uid  string
	err  error // nobody knows: so nobody is let in
}

// accountCache keeps what was found out about the names that a client claims, for as long as its
// connection authenticates.
type accountCache struct {
	names    []string // oldest first
	accounts map[string]account
}

func (c *accountCache) of(name string, look func() account) account {
	if a, ok := c.accounts[name]; ok {
		return a
	}
	if len(c.names) == maxAccounts {
		delete(c.accounts, c.names[0])
		c.names = c.names[1:]
	}
	if c.accounts == nil {
		c.accounts = make(map[string]account)
	}
	c.names = append(c.names, name)
	c.accounts[name] = look()
	return c.accounts[name]
}

// Claimed returns the subject as far as it is known from the name that a client claims: with the groups of an
// account of that name, and nothing proven.
func (c *Client) Claimed(user string) policy.Subject {
	s := policy.Subject{User: user, Addr: c.from.Addr(), LocalAddr: c.local}
	if ValidUser(user) != nil {
		s.Invalid = true
		return s
	}
	account := c.accounts.of(user, func() account { return c.a.account(s) })
	s.Groups, s.Invalid = account.Groups, !account.Known
	return s
}

// claim is a user name that is claimed, with all that applies to it.
type claim struct {
	policy.Subject
	port     uint16 // of the client; 0 if it isn't known
	account  account
	settings Settings
	// refused is why nobody gets in under this name, whatever is proven; nil if somebody may. All the same the
	// work is done that it takes to prove something: how long it takes must not tell.
	refused *refusal
}

// claim looks a user name up.
func (c *Client) claim(user string) claim {
	s := c.Claimed(user)
	cl := c.a.claim(s, c.accounts.accounts[user])
	cl.port = c.from.Port()
	return cl
}

// claim is what applies to s, whose account is given. Without a valid name there is none, and nothing applies.
func (a *Authenticator) claim(s policy.Subject, of account) claim {
	cl := claim{Subject: s, account: of}
	if err := ValidUser(s.User); err != nil {
		cl.refused = refuse(err)
		return cl
	}
	cl.settings = a.cfg.Settings(s)
	cl.refused = a.admit(s)
	switch {
	case cl.refused != nil:
	case of.err != nil:
		cl.refused = refuse(fmt.Errorf("look up the account: %w", of.err))
	case of.Locked:
		cl.refused = refuse(errors.New("the account is locked"))
	case of.root && cl.settings.PermitRootLogin == RootNo:
		cl.refused = cl.settings.refusedBy("PermitRootLogin", "PermitRootLogin is no")
	}
	return cl
}

// admit asks whether s may log in at all.
func (a *Authenticator) admit(s policy.Subject) *refusal {
	if d := a.cfg.Admit(s); !d.Allowed() {
		return &refusal{rule: d.Rule, reason: "not admitted: " + d.Reason}
	}
	return nil
}

// account finds out what is known under the name of s, which must be valid: from the account file, the operating system, and whether there is a
// keys file of its own. It looks in every place, whatever it finds.
func (a *Authenticator) account(s policy.Subject) account {
	least := time.NewTimer(lookupTime)
	found := systemAccount(s.User)
	var err error
	found.Account, err = Accounts{File: a.cfg.Settings(s).PasswordFile}.Account(s.User)
	found.err = errors.Join(found.err, err)
	s.Groups = found.Groups
	for _, file := range a.cfg.Settings(s).AuthorizedKeysFile {
		path, err := expand(file, found.tokens(s.User))
		if _, statErr := os.Stat(path); err == nil && statErr == nil && namesUser(file) {
			found.Known = true
		}
	}
	<-least.C
	return found
}

// systemAccount is the operating system's user of this name: its number and its home.
func systemAccount(name string) account {
	found := account{root: name == "root"}
	u, err := user.Lookup(name)
	if unknown := user.UnknownUserError(""); errors.As(err, &unknown) {
		return found
	} else if err != nil {
		found.err = err
		return found
	}
	found.home, found.uid = u.HomeDir, u.Uid
	found.root = found.root || u.Uid == "0"
	return found
}

// rootMay checks PermitRootLogin for one proof, as sshd does for each.
func (cl *claim) rootMay(p proof) error {
	if !cl.account.root {
		return nil
	}
	switch cl.settings.PermitRootLogin {
	case RootYes:
		return nil
	case RootKeys:
		if p.key != nil {
			return nil
		}
		return cl.settings.refusedBy("PermitRootLogin", "PermitRootLogin wants a key")
	case RootForcedCommands:
		if p.key != nil && strings.TrimSpace(p.key.rules.ForceCommand) != "" {
			return nil
		}
		return cl.settings.refusedBy("PermitRootLogin", "PermitRootLogin wants a key with a forced command")
	}
	return cl.settings.refusedBy("PermitRootLogin", "PermitRootLogin is no")
}
