package auth

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/culvert-ssh/culvert/policy"
)

// Still returns a subject that was let in as it is now, which is in other groups perhaps; or why it would not be let in any more, by the
// configuration, the accounts, the keys and the authorities as they are. Options of its key that have changed are a reason as
// well: the connection would go on under the old ones. A password isn't asked for again, but its account must be there.
func (a *Authenticator) Still(s policy.Subject) (now policy.Subject, err error) {
	e, ok := s.Proof.(established)
	if !ok || len(e.proven) == 0 {
		return policy.Subject{}, errors.New("it isn't known how the user was authenticated")
	}
	claimed := policy.Subject{User: s.User, Addr: s.Addr, Host: s.Host, LocalAddr: s.LocalAddr}
	if err := ValidUser(s.User); err != nil {
		return policy.Subject{}, err
	}
	account := a.account(claimed)
	claimed.Groups, claimed.Invalid = account.Groups, !account.Known
	cl := a.claim(claimed, account)
	cl.port = e.port
	if cl.refused != nil {
		return policy.Subject{}, cl.refused
	}
	proven := slices.Clone(e.proven)
	for i, p := range proven {
		if err := a.stillProven(cl, p); err != nil {
			return policy.Subject{}, err
		}
		proven[i].hasCode = p.key == nil && cl.account.HasCode()
	}
	if _, enough := cl.settings.next(methods(proven)); !enough {
		return policy.Subject{}, cl.settings.refusedBy("AuthenticationMethods", "AuthenticationMethods wants more than was proven")
	}
	now, err = cl.identity(proven)
	if err != nil {
		return policy.Subject{}, err
	}
	if r := a.admit(now); r != nil {
		return policy.Subject{}, r
	}
	return now, nil
}

// stillProven checks one proof again.
func (a *Authenticator) stillProven(cl claim, p proof) error {
	if !cl.settings.on(p.method) {
		return cl.settings.off(p.method)
	}
	if err := cl.rootMay(p); err != nil {
		return err
	}
	switch {
	case p.code && !cl.account.HasCode():
		return errors.New("the account has no one-time code any more")
	case p.method == methodKbdCode:
		return nil
	case p.key == nil:
		return passwordServes(cl)
	}
	if !cl.settings.acceptsKey(p.key.key, p.algorithm) {
		return cl.settings.refusedBy("PubkeyAcceptedAlgorithms", "PubkeyAcceptedAlgorithms has no "+algorithmName(p.key.key, p.algorithm))
	}
	g, _, err := a.find(context.Background(), cl, p.key.key)
	switch {
	case err != nil:
		return err
	case !sameRules(g.rules, p.key.rules):
		return fmt.Errorf("the options of the key in %s were changed", g.rules.Source)
	case p.key.noTouch && !g.noTouch:
		return fmt.Errorf("the key in %s must be touched now", g.rules.Source)
	}
	return nil
}

// sameRules reports whether two lines narrow alike, wherever they stand.
func sameRules(a, b policy.KeyRules) bool {
	return a.NoPortForwarding == b.NoPortForwarding && a.NoAgentForwarding == b.NoAgentForwarding && a.NoPTY == b.NoPTY &&
		a.ForceCommand == b.ForceCommand && sameWords(a.PermitOpen, b.PermitOpen) && sameWords(a.PermitListen, b.PermitListen)
}
