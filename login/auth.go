package login

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/culvert-ssh/culvert/sshconfig"
)

// authenticator chooses what to try next (RFC 4252, section 5), one key or one answer at a time.
type authenticator struct {
	ctx   context.Context // of the one handshake that it serves
	cfg   *Config
	pause func() (resume func()) // around what a person does
	lost  func() bool

	agent     net.Conn // nil if there is none
	loaded    bool
	keys      []identity // not offered yet
	offered   int
	passwords int   // asked for so far
	answers   int   // keyboard-interactive dialogues so far
	silent    error // why nobody answers any more
}

func newAuthenticator(ctx context.Context, cfg *Config, pause func() func(), lost func() bool) *authenticator {
	return &authenticator{ctx: ctx, cfg: cfg, pause: pause, lost: lost}
}

func (a *authenticator) close() {
	if a.agent != nil {
		_ = a.agent.Close() // nothing was written that could be lost
	}
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
	denied := &permissionError{user: a.cfg.User, host: a.cfg.Host, tried: a.tried(), allowed: state.AllowedMethods}
	if a.silent != nil {
		return nil, fmt.Errorf("%w (no password was typed: %w)", denied, a.silent)
	}
	return nil, denied
}

func (a *authenticator) canAsk() bool { return !a.cfg.BatchMode && a.cfg.Ask != nil && a.silent == nil }

// ask asks the person, and never again once nobody answers.
func (a *authenticator) ask(question string, echo bool) (answer string, err error) {
	if answer, err = a.cfg.ask(a.ctx, question, echo); err != nil {
		a.silent = err
	}
	return answer, err
}

// permissionError says that the server accepted nothing of what we have.
type permissionError struct {
	user, host, tried string
	allowed           []string
}

func (e *permissionError) Error() string {
	return fmt.Sprintf("permission denied for %s@%s (tried: %s; the server takes: %s): check the user name, or have your public key added there",
		e.user, e.host, e.tried, sshconfig.Printable(strings.Join(e.allowed, ", ")))
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
		a.keys, a.loaded = a.identities(), true
	}
	if len(a.keys) == 0 {
		return nil
	}
	id := a.keys[0]
	a.keys = a.keys[1:]
	a.offered++
	public := id.signer.PublicKey()
	a.cfg.Logger().Debug("offering key", "name", id.name, "type", public.Type(), "fingerprint", ssh.FingerprintSHA256(public))
	return ssh.PublicKeys(offer{id.signer, a, id.name})
}

// offer is a key as it is offered: it never signs with SHA-1, and its failures are told to
// the person; x/crypto/ssh keeps them for itself if another method follows.
type offer struct {
	ssh.AlgorithmSigner
	a    *authenticator
	name string
}

// Algorithms makes the SSH library choose among these. RFC 8332, section 3.
func (o offer) Algorithms() []string {
	public := o.PublicKey()
	if cert, ok := public.(*ssh.Certificate); ok {
		public = cert.Key
	}
	if public.Type() == ssh.KeyAlgoRSA {
		return []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	}
	return []string{public.Type()}
}

func (o offer) SignWithAlgorithm(rand io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	sig, err := o.AlgorithmSigner.SignWithAlgorithm(rand, data, algorithm)
	if err != nil {
		o.a.cfg.Logger().Warn("a key can't sign", "name", o.name, "err", err)
	}
	return sig, err
}

// identities are the keys in the order of ssh(1): keys of the agent that are among the identity files,
// the agent's other ones, and the files that the agent doesn't have.
func (a *authenticator) identities() []identity {
	files, named := a.cfg.identities()
	var fromFiles []identity
	for _, file := range files {
		ids, err := loadIdentity(a.ctx, a.cfg, file, a.pause)
		if err != nil {
			if public := readPublicKey(file + ".pub"); public == nil && (named || !errors.Is(err, fs.ErrNotExist)) {
				a.cfg.Logger().Warn("a key is left out", "err", err)
			}
			continue
		}
		fromFiles = append(fromFiles, ids...)
	}
	wanted := func(k ssh.PublicKey) bool {
		same := func(public ssh.PublicKey) bool {
			return public != nil && bytes.Equal(public.Marshal(), k.Marshal())
		}
		return slices.ContainsFunc(fromFiles, func(id identity) bool { return same(id.signer.PublicKey()) }) ||
			slices.ContainsFunc(files, func(f string) bool { return same(readPublicKey(f+".pub")) || same(readPublicKey(f)) })
	}
	var first, others []identity
	for _, id := range a.agentKeys() {
		if wanted(id.signer.PublicKey()) {
			first = append(first, id)
		} else if !a.cfg.IdentitiesOnly {
			others = append(others, id)
		}
	}
	rest := slices.DeleteFunc(fromFiles, func(id identity) bool {
		return slices.ContainsFunc(first, func(f identity) bool {
			return bytes.Equal(f.signer.PublicKey().Marshal(), id.signer.PublicKey().Marshal())
		})
	})
	return slices.Concat(first, others, rest)
}

// agentTimeout is how long the agent may take; a signature may wait for a person who
// confirms it or touches a token.
const agentTimeout = 2 * time.Minute

// agentKeys connects to the agent and lists its keys. An agent that isn't there is no error.
func (a *authenticator) agentKeys() []identity {
	if a.cfg.AgentSocket == "" {
		return nil
	}
	defer a.pause()()
	dialer := net.Dialer{Timeout: a.cfg.ConnectTimeout}
	conn, err := dialer.DialContext(a.ctx, "unix", a.cfg.AgentSocket)
	if err != nil {
		a.cfg.Logger().Debug("no agent", "err", err)
		return nil
	}
	a.agent = conn
	_ = conn.SetDeadline(time.Now().Add(agentTimeout)) // fails only on a closed connection
	// Without Close in sight, the library starts no goroutine of its own.
	signers, err := agent.NewClient(struct{ io.ReadWriter }{conn}).Signers()
	if err != nil {
		a.cfg.Logger().Warn("the agent can't be used", "err", err)
		return nil
	}
	var ids []identity
	for _, s := range signers {
		if as, ok := s.(ssh.AlgorithmSigner); ok {
			ids = append(ids, identity{name: "agent", signer: agentKey{as, a}})
		}
	}
	return ids
}

// agentKey is a key of the agent; while it signs, the handshake waits.
type agentKey struct {
	ssh.AlgorithmSigner
	a *authenticator
}

func (k agentKey) SignWithAlgorithm(rand io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	defer k.a.pause()()
	_ = k.a.agent.SetDeadline(time.Now().Add(agentTimeout))
	return k.AlgorithmSigner.SignWithAlgorithm(rand, data, algorithm)
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
