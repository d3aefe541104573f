// Package auth answers one question about an SSH client: who is this? It proves keys and checks
// passwords in the callbacks of x/crypto/ssh and hands a policy.Subject over. It doesn't
// decide what the subject may do, and it writes no log; it reports every attempt to its caller.
package auth

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/policy"
)

// Config is what an Authenticator needs. Every field is required unless it says otherwise.
type Config struct {
	// Settings are those that apply to a subject of which no more is known than the name that it
	// claims, what an account of this name has, and the two addresses.
	Settings func(policy.Subject) Settings

	// Admit says whether a subject may log in at all (AllowUsers and its like). It is asked before anything is
	// proven, and again of who was proven.
	Admit func(policy.Subject) policy.Decision

	// Offered are the methods that a client is told of at first. x/crypto/ssh
	// names them once a connection, before it knows the user; Settings then has the last word. An OpenSSH client that has tried all its
	// keys in vain doesn't try them again after another method, so that what may come in front for nobody should not be offered.
	Offered func() Offered

	// Commands run AuthorizedKeysCommand and AuthorizedPrincipalsCommand. If nil, nothing serves that only a command would know.
	Commands *Commands

	Now func() time.Time
}

// Offered are methods with which a login may begin.
type Offered struct{ PublicKey, Password, KbdInteractive bool }

// Attempt is one attempt to authenticate, decided. What the client wrote in it is cut to a
// bounded length, and is not escaped.
type Attempt struct {
	User        string
	Method      string              // RFC 4252's name
	Key         string              // SHA256:… of the key that was proven or refused; of a certificate, of the key in it
	KeyLine     string              // file:line that holds the key, or the certificate's authority
	Certificate *policy.Certificate // nil for a plain key; of a refused one it says what nobody has verified
	Accepted    bool
	Subject     *policy.Subject // who is let in; nil unless Accepted
	Partial     bool            // what was proven is right, and AuthenticationMethods wants more
	Rule        string          // the line of the configuration that refuses, if one does
	Reason      string          // of a refusal; not for the client's eyes

	// Class says what a refusal is by the classes of PerSourcePenalties: "authfail", or "invaliduser" if
	// no account has the name. It is empty if all was proven, and the report refused it.
	Class string
}

// Authenticator authenticates clients. It may be used from any goroutine.
type Authenticator struct {
	cfg         Config
	passwords   passwords
	codes       *codes
	revocations revocations
}

// New returns an Authenticator.
func New(cfg Config) (*Authenticator, error) {
	if cfg.Settings == nil || cfg.Admit == nil || cfg.Offered == nil || cfg.Now == nil {
		return nil, errors.New("auth: Settings, Admit, Offered and Now are required")
	}
	return &Authenticator{cfg: cfg, passwords: newPasswords(), codes: newCodes(cfg.Now)}, nil
}

// Client authenticates one SSH connection. Its methods are called from the one
// goroutine that runs the handshake.
type Client struct {
	a      *Authenticator
	ctx    context.Context
	from   netip.AddrPort
	local  netip.AddrPort
	report func(Attempt) error

	accounts accountCache

	// proven is what was proven so far of a login that takes several steps, all of it for one user name.
	proven    []proof
	provenFor string
	// offered is the last key that was asked about and isn't decided yet.
	offered *Attempt
	// class is the worst of what was refused here.
	class string
}

// Client returns the Client of one connection. The context ends with the connection. Every attempt
// is reported; what can't be reported is refused. If the report of one that is accepted returns a *Refused, it is refused for that reason, which
// is reported in its turn.
func (a *Authenticator) Client(ctx context.Context, from, local netip.AddrPort, report func(Attempt) error) *Client {
	return &Client{a: a, ctx: ctx, from: from, local: local, report: report, class: classNoAuth}
}

// The classes of PerSourcePenalties that an authentication can be of.
const (
	classNoAuth      = "noauth"
	classAuthFail    = "authfail"
	classInvalidUser = "invaliduser"
)

// Class says what the connection is by the classes of PerSourcePenalties, if it ends before anybody is
// authenticated: "noauth" if nothing was tried, "invaliduser" if a name was that no account has, else "authfail".
func (c *Client) Class() string { return c.class }

// subjectKey is where the proven Subject is in Permissions.ExtraData.
type subjectKey struct{}

// Install sets the authentication callbacks of cfg, all of them; whatever else turns
// NoClientAuth on, the method none is refused. An *ssh.PartialSuccessError that they return has callbacks of its own.
func (c *Client) Install(cfg *ssh.ServerConfig) {
	cfg.NoClientAuthCallback = func(ssh.ConnMetadata) (*ssh.Permissions, error) {
		return nil, &refusal{reason: "nothing was proven"}
	}
	offered := c.a.cfg.Offered()
	cfg.PublicKeyCallback = nil
	if offered.PublicKey {
		cfg.PublicKeyCallback = c.publicKeyOffered
	}
	cfg.VerifiedPublicKeyCallback = c.publicKeyProven
	cfg.PasswordCallback = nil
	if offered.Password {
		cfg.PasswordCallback = c.password
	}
	cfg.KeyboardInteractiveCallback = nil
	if offered.KbdInteractive {
		cfg.KeyboardInteractiveCallback = c.keyboardInteractive
	}
	cfg.GSSAPIWithMICConfig = nil
	cfg.AuthLogCallback = c.decided
	cfg.PublicKeyAuthAlgorithms = PublicKeyAlgorithms()
}

// SubjectOf returns who was authenticated on conn. It fails if that isn't known for certain.
func SubjectOf(conn *ssh.ServerConn) (policy.Subject, error) {
	if conn == nil || conn.Permissions == nil {
		return policy.Subject{}, errors.New("the connection is not authenticated")
	}
	s, ok := conn.Permissions.ExtraData[subjectKey{}].(policy.Subject)
	if !ok || s.User == "" || s.User != conn.User() {
		return policy.Subject{}, errors.New("the connection was not authenticated here")
	}
	return s, nil
}

// refusal is why an attempt failed.
type refusal struct {
	key, line, rule, reason string
	certificate             *policy.Certificate
	left                    bool // the client did, and nothing was decided
	blameless               bool // what was proven is right
}

func (r *refusal) Error() string { return r.reason }

// RuleOf returns the file:line that an error of Still goes back to, or nothing.
func RuleOf(err error) string {
	var r *refusal
	if !errors.As(err, &r) {
		return ""
	}
	return cmp.Or(r.rule, r.line)
}

// ruleOf returns the line of the configuration that an error goes back to, or nothing.
func ruleOf(err error) string {
	var r *refusal
	if !errors.As(err, &r) {
		return ""
	}
	return r.rule
}

func refuse(err error) *refusal { return &refusal{reason: err.Error()} }

// decided is told of every attempt with its outcome; a question about a key that would serve is
// none. The method none isn't either: with it a client asks for the list of methods. A step that was right was
// reported before.
func (c *Client) decided(meta ssh.ConnMetadata, method string, err error) {
	c.offered = nil
	if err == nil {
		c.accounts, c.proven = accountCache{}, nil // nobody asks again, and the connection may live for long
	}
	var partial *ssh.PartialSuccessError
	if err == nil || method == "none" || errors.As(err, &partial) {
		return
	}
	attempt := Attempt{User: clip(meta.User()), Method: clip(method), Reason: clip(err.Error())}
	var r *refusal
	if errors.As(err, &r) {
		if r.left {
			return
		}
		attempt.Key, attempt.KeyLine, attempt.Certificate = r.key, r.line, r.certificate
		attempt.Rule, attempt.Reason = r.rule, r.reason
	}
	if r != nil && r.blameless {
		_ = c.report(attempt) // it is refused anyway
		return
	}
	c.failed(attempt, meta.User())
}

// failed reports an attempt that failed.
func (c *Client) failed(attempt Attempt, user string) {
	attempt.Class = classAuthFail
	if c.Claimed(user).Invalid {
		attempt.Class = classInvalidUser
	}
	if c.class != classInvalidUser {
		c.class = attempt.Class
	}
	_ = c.report(attempt) // it is refused anyway, and report does what else is to be done
}

// Failed tells the Client that the handshake ended with err. A key that was named and came
// with a signature that is not its own shows only here.
func (c *Client) Failed(err error) {
	if c.offered == nil || clientLeft(err) {
		return
	}
	attempt := *c.offered
	c.offered = nil
	attempt.Reason = "the key was not proven: " + clip(err.Error())
	c.failed(attempt, attempt.User)
}

// maxShown bounds what is reported of a client's word, in bytes.
const maxShown = 256

func clip(s string) string {
	if len(s) > maxShown {
		s = s[:maxShown] + "…"
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
