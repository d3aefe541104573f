package login

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/sshconfig"
)

// authenticator chooses what to try next (RFC 4252, section 5), one key or one answer at a time.
type authenticator struct {
	ctx   context.Context // of the one handshake that it serves
	cfg   *Config
	pause func() (resume func()) // around what a person does
	lost  func() bool

	only ssh.Signer // the one key to log in with; nil for what cfg says

	agent     *keyAgent // nil if there is none
	loaded    bool
	keys      []*identity // not offered yet
	offered   int
	passwords int   // asked for so far
	answers   int   // keyboard-interactive dialogues so far
	silent    error // why nobody answers any more
}

func newAuthenticator(ctx context.Context, cfg *Config, pause func() func(), lost func() bool) *authenticator {
	return &authenticator{ctx: ctx, cfg: cfg, pause: pause, lost: lost}
}

func (a *authenticator) close() {
	a.agent.close()
}

// next is the ssh.ClientAuthCallback. Methods come in the order of Config.AuthMethods, as far as the
// server allows them.
func (a *authenticator) next(state *ssh.ClientAuthContext) (ssh.AuthMethod, error) {
	if err := context.Cause(a.ctx); err != nil {
		return nil, err
	}
	if a.lost() {
		return nil, fmt.Errorf("the server closed the connection during authentication (tried: %s)", a.tried())
	}
	if a.only != nil {
		return a.onlyKey(state)
	}
	for _, name := range a.cfg.AuthMethods {
		if !slices.Contains(state.AllowedMethods, name) {
			continue
		}
		switch {
		case name == "publickey" && a.cfg.Pubkey:
			if m := a.publicKey(); m != nil {
				return m, nil
			}
		case name == "keyboard-interactive" && a.cfg.KeyboardInteractive && a.canAsk() && a.answers < a.cfg.PasswordPrompts:
			a.answers++
			return ssh.KeyboardInteractive(a.challenge), nil
		case name == "password" && a.cfg.Password && a.canAsk() && a.passwords < a.cfg.PasswordPrompts:
			a.passwords++
			return ssh.PasswordCallback(a.password), nil
		}
	}
	denied := &permissionError{
		user: a.cfg.User, host: a.cfg.Host, tried: a.tried(),
		accepted: state.PartialSuccessMethods, allowed: state.AllowedMethods, todo: a.todo(state),
	}
	if a.silent != nil {
		return nil, fmt.Errorf("%w (no password was typed: %w)", denied, a.silent)
	}
	return nil, denied
}

// onlyKey offers the one key, once.
func (a *authenticator) onlyKey(state *ssh.ClientAuthContext) (ssh.AuthMethod, error) {
	if a.offered > 0 {
		return nil, &permissionError{
			user: a.cfg.User, host: a.cfg.Host, tried: a.tried(), allowed: state.AllowedMethods, todo: "the key of another connection isn't taken there",
		}
	}
	a.offered++
	return ssh.PublicKeys(a.only), nil
}

// todo is what to try when the server has accepted nothing.
func (a *authenticator) todo(state *ssh.ClientAuthContext) string {
	has := func(name string) bool { return slices.Contains(state.AllowedMethods, name) }
	switch {
	case len(state.PartialSuccessMethods) > 0:
		return "it wants more than one proof of who you are: ask its administrator which"
	case !has("publickey") && !has("keyboard-interactive") && !has("password"):
		return "culvert can do none of these: ssh may, and culvert goes through it by --via ssh"
	case a.offered == 0 && has("publickey") && a.cfg.Pubkey:
		return "there was no key to offer: name its file with -i, or load it into an agent (ssh-add)"
	}
	return "check the user name, or have your public key added there"
}

func (a *authenticator) canAsk() bool {
	return a.cfg.Secret != nil || !a.cfg.BatchMode && a.cfg.Ask != nil && a.silent == nil
}

// ask asks the person, and never again once nobody answers. What is not to be seen may be known already.
func (a *authenticator) ask(question string, echo bool) (answer string, err error) {
	if a.cfg.Secret != nil && !echo {
		return *a.cfg.Secret, nil
	}
	if answer, err = a.cfg.ask(a.ctx, question, echo); err != nil {
		a.silent = err
	}
	return answer, err
}

// permissionError says that the server accepted nothing of what we have.
type permissionError struct {
	user, host, tried, todo string
	accepted, allowed       []string
}

func (e *permissionError) Error() string {
	accepted := ""
	if len(e.accepted) > 0 {
		accepted = "accepted: " + strings.Join(e.accepted, ", ") + "; "
	}
	return fmt.Sprintf("permission denied for %s@%s (tried: %s; %sthe server takes: %s): %s",
		e.user, e.host, e.tried, accepted, sshconfig.Printable(strings.Join(e.allowed, ", ")), e.todo)
}

func (a *authenticator) tried() string {
	var what []string
	plural := func(n int, one, many string) {
		switch {
		case n == 1:
			what = append(what, one)
		case n > 1:
			what = append(what, fmt.Sprintf(many, n))
		}
	}
	plural(a.offered, "one key", "%d keys")
	plural(a.answers, "keyboard-interactive", "keyboard-interactive %d times")
	plural(a.passwords, "one password", "%d passwords")
	if len(what) == 0 {
		return "nothing"
	}
	return strings.Join(what, ", ")
}

// publicKey returns the next key to offer, or nil.
func (a *authenticator) publicKey() ssh.AuthMethod {
	if !a.loaded {
		a.agent = dialAgent(a.ctx, a.cfg, a.pause)
		a.keys, a.loaded = a.identities(), true
	}
	for len(a.keys) > 0 {
		id := a.keys[0]
		a.keys = a.keys[1:]
		if id.public == nil { // of an encrypted key, whose file says nothing before it is opened
			if err := id.open(); err != nil {
				a.cfg.Logger().Warn("a key is left out", "err", err)
				continue
			}
		}
		if err := a.cfg.longEnough(id.public); err != nil {
			a.cfg.Logger().Warn("a key is left out", "name", id.name, "err", err)
			continue
		}
		algos := a.cfg.algorithmsOf(id.public)
		if len(algos) == 0 {
			a.cfg.Logger().Debug("a key is left out, by PubkeyAcceptedAlgorithms", "name", id.name, "type", id.public.Type())
			continue
		}
		a.offered++
		a.cfg.Logger().Debug("offering key", "name", id.name, "type", id.public.Type(), "fingerprint", ssh.FingerprintSHA256(id.public))
		return ssh.PublicKeys(offer{a, id, algos})
	}
	return nil
}

// offer is a key as it is offered: it never signs with SHA-1, and its failures are told to
// the person; x/crypto/ssh keeps them for itself if another method follows.
type offer struct {
	a     *authenticator
	id    *identity
	algos []string
}

// Algorithms makes the SSH library choose among these. RFC 8332, section 3.
func (o offer) Algorithms() []string { return o.algos }

func (o offer) PublicKey() ssh.PublicKey { return o.id.public }

func (o offer) Sign(rand io.Reader, data []byte) (*ssh.Signature, error) {
	return o.SignWithAlgorithm(rand, data, o.algos[0])
}

func (o offer) SignWithAlgorithm(rand io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	sig, err := o.id.sign(rand, data, algorithm)
	if err != nil {
		o.a.cfg.Logger().Warn("a key can't sign", "name", o.id.name, "err", err)
	}
	return sig, err
}

func (a *authenticator) password() (string, error) {
	defer a.pause()()
	return a.ask(fmt.Sprintf("%s@%s's password: ", a.cfg.User, a.cfg.Host), false)
}

// challenge answers one round of RFC 4256, section 3.2.
func (a *authenticator) challenge(name, instruction string, questions []string, echos []bool) ([]string, error) {
	defer a.pause()()
	for _, text := range []string{name, instruction} {
		for line := range strings.Lines(text) {
			a.cfg.Tell(sshconfig.Printable(strings.TrimRight(line, "\r\n")))
		}
	}
	answers := make([]string, len(questions))
	for i, q := range questions {
		answer, err := a.ask(fmt.Sprintf("(%s@%s) %s", a.cfg.User, a.cfg.Host, sshconfig.Printable(q)), echos[i])
		if err != nil {
			return nil, err
		}
		answers[i] = answer
	}
	return answers, nil
}
