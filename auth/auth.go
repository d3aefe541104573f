// Package auth answers one question about an SSH client: who is this? It proves a key or checks
// a password in the callbacks of x/crypto/ssh and hands a policy.Subject over. It doesn't
// decide what the subject may do, and it writes no log; it reports every attempt to its caller.
package auth

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/policy"
)

// Config is what an Authenticator needs. Every field is required unless it says otherwise.
type Config struct {
	// Settings are those that apply to a subject of which no more is known than the name that it
	// claims and the two addresses.
	Settings func(policy.Subject) Settings

	// Password reports whether the method is offered at all. RFC 4252 lets a server
	// name its methods once a connection, before it knows the user; Settings then has the last word.
	// If nil, it isn't.
	Password func() bool

	Now func() time.Time
}

// Settings say how somebody may prove who they are.
type Settings struct {
	PubkeyAuthentication   bool
	PasswordAuthentication bool
	AuthorizedKeysFile     []string // absolute paths in which %u is the user name and %% is %
	PasswordFile           string   // as SetPassword writes it; if empty, no password serves
}

// Attempt is one attempt to authenticate, decided. What the client wrote in it is cut to a
// bounded length, and is not escaped.
type Attempt struct {
	User     string
	Method   string // RFC 4252's name
	Key      string // SHA256:… of the key that was proven or refused
	KeyLine  string // file:line that holds the key
	Accepted bool
	Reason   string // of a refusal; not for the client's eyes
}

// Authenticator authenticates clients. It may be used from any goroutine.
type Authenticator struct {
	cfg       Config
	passwords passwords
}

// New returns an Authenticator.
func New(cfg Config) (*Authenticator, error) {
	if cfg.Settings == nil || cfg.Now == nil {
		return nil, errors.New("auth: Settings and Now are required")
	}
	return &Authenticator{cfg: cfg, passwords: newPasswords()}, nil
}

// refusalTime is how long the refusal of a key takes at least, so that a user without a keys file
// isn't told from one with a file by the time that reading it takes.
const refusalTime = 10 * time.Millisecond

// Client authenticates one SSH connection. Its methods are called from the one
// goroutine that runs the handshake.
type Client struct {
	a      *Authenticator
	ctx    context.Context
	addr   netip.Addr
	local  netip.AddrPort
	report func(Attempt) error

	// offered is the last key that was asked about and isn't decided yet.
	offered *Attempt
}

// Client returns the Client of one connection. The context ends with the connection. Every attempt
// is reported; what can't be reported is refused.
func (a *Authenticator) Client(ctx context.Context, addr netip.Addr, local netip.AddrPort, report func(Attempt) error) *Client {
	return &Client{a: a, ctx: ctx, addr: addr, local: local, report: report}
}

// subjectKey is where the proven Subject is in Permissions.ExtraData.
type subjectKey struct{}

// Install sets the authentication callbacks of cfg, all of them; whatever else turns
// NoClientAuth on, the method none is refused.
func (c *Client) Install(cfg *ssh.ServerConfig) {
	cfg.NoClientAuthCallback = func(ssh.ConnMetadata) (*ssh.Permissions, error) {
		return nil, &refusal{reason: "nothing was proven"}
	}
	cfg.PublicKeyCallback = c.publicKeyOffered
	cfg.VerifiedPublicKeyCallback = c.publicKeyProven
	cfg.PasswordCallback = nil
	if offered := c.a.cfg.Password; offered != nil && offered() {
		cfg.PasswordCallback = c.password
	}
	cfg.KeyboardInteractiveCallback = nil
	cfg.GSSAPIWithMICConfig = nil
	cfg.AuthLogCallback = c.decided
	cfg.PublicKeyAuthAlgorithms = PublicKeyAlgorithms()
}

// PublicKeyAlgorithms are the signature algorithms that prove a key. ssh-rsa, which is SHA-1,
// and ssh-dss are not among them.
func PublicKeyAlgorithms() []string { return ssh.SupportedAlgorithms().PublicKeyAuths }

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
type refusal struct{ key, line, reason string }

func (r *refusal) Error() string { return r.reason }

// claimed is the subject as far as it is known before anything is proven.
func (c *Client) claimed(meta ssh.ConnMetadata) policy.Subject {
	return policy.Subject{User: meta.User(), Addr: c.addr, LocalAddr: c.local}
}

// publicKeyOffered answers whether a key would serve. The client may just be asking, so
// nothing of the answer is kept, but for the report of a key that is never proven.
func (c *Client) publicKeyOffered(meta ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
	c.offered = &Attempt{User: clip(meta.User()), Method: "publickey", Key: ssh.FingerprintSHA256(key)}
	least := time.NewTimer(refusalTime)
	defer least.Stop()
	rules, err := c.keyRules(meta, key)
	if err != nil {
		select {
		case <-least.C:
		case <-c.ctx.Done():
		}
		return nil, err
	}
	c.offered.KeyLine = rules.Source
	return nil, nil
}

// publicKeyProven is called once the client has signed with the key. It looks everything up again, for
// the user name that was signed; a name or a key that came by earlier plays no part.
func (c *Client) publicKeyProven(meta ssh.ConnMetadata, key ssh.PublicKey, _ *ssh.Permissions, _ string) (*ssh.Permissions, error) {
	rules, err := c.keyRules(meta, key)
	if err != nil {
		return nil, err
	}
	s := c.claimed(meta)
	s.Key, s.KeyRules = ssh.FingerprintSHA256(key), rules
	return c.accept(s, Attempt{User: s.User, Method: "publickey", Key: s.Key, KeyLine: rules.Source, Accepted: true})
}

// keyRules returns the options under which key serves for the user that meta names, or a *refusal.
func (c *Client) keyRules(meta ssh.ConnMetadata, key ssh.PublicKey) (*policy.KeyRules, error) {
	fingerprint := ssh.FingerprintSHA256(key)
	claimed := c.claimed(meta)
	if err := ValidUser(claimed.User); err != nil {
		return nil, &refusal{key: fingerprint, reason: err.Error()}
	}
	settings := c.a.cfg.Settings(claimed)
	if !settings.PubkeyAuthentication {
		return nil, &refusal{key: fingerprint, reason: "PubkeyAuthentication is no"}
	}
	if err := acceptableKey(key); err != nil {
		return nil, &refusal{key: fingerprint, reason: err.Error()}
	}
	rules, line, err := findKey(settings.AuthorizedKeysFile, claimed, key, c.a.cfg.Now())
	if err != nil {
		return nil, &refusal{key: fingerprint, line: line, reason: err.Error()}
	}
	return rules, nil
}

// password checks a password. Whoever asks for whatever name, one hash is computed.
func (c *Client) password(meta ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
	claimed := c.claimed(meta)
	hash, refused := c.passwordHash(claimed)
	ok, err := c.a.passwords.match(c.ctx, hash, password)
	switch {
	case err != nil:
		return nil, &refusal{reason: err.Error()}
	case refused != nil:
		return nil, &refusal{reason: refused.Error()}
	case !ok:
		return nil, &refusal{reason: "wrong password"}
	}
	return c.accept(claimed, Attempt{User: claimed.User, Method: "password", Accepted: true})
}

// passwordHash returns the hash of the user's password. Together with an error it
// returns one that no password matches.
func (c *Client) passwordHash(claimed policy.Subject) (string, error) {
	if err := ValidUser(claimed.User); err != nil {
		return noHash, err
	}
	settings := c.a.cfg.Settings(claimed)
	switch {
	case !settings.PasswordAuthentication:
		return noHash, errors.New("PasswordAuthentication is no")
	case settings.PasswordFile == "":
		return noHash, errors.New("no PasswordFile is configured")
	}
	hashes, err := readPasswords(settings.PasswordFile)
	if err != nil {
		return noHash, err
	}
	hash, ok := hashes[claimed.User]
	if !ok {
		return noHash, fmt.Errorf("no such user in %q", settings.PasswordFile)
	}
	return hash, nil
}

// accept puts the subject where SubjectOf finds it, after the attempt is on record.
func (c *Client) accept(s policy.Subject, attempt Attempt) (*ssh.Permissions, error) {
	if err := c.report(attempt); err != nil {
		return nil, &refusal{key: attempt.Key, line: attempt.KeyLine, reason: "the attempt can't be put on record"}
	}
	return &ssh.Permissions{ExtraData: map[any]any{subjectKey{}: s}}, nil
}

// decided is told of every attempt with its outcome; a question about a key that would serve is
// none. The method none isn't either: with it a client asks for the list of methods.
func (c *Client) decided(meta ssh.ConnMetadata, method string, err error) {
	c.offered = nil
	if err == nil || method == "none" {
		return
	}
	attempt := Attempt{User: clip(meta.User()), Method: clip(method), Reason: clip(err.Error())}
	var r *refusal
	if errors.As(err, &r) {
		attempt.Key, attempt.KeyLine, attempt.Reason = r.key, r.line, r.reason
	}
	_ = c.report(attempt) // it is refused anyway, and report does what else is to be done
}

// Failed tells the Client that the handshake ended with err. A key that was named and came
// with a signature that is not its own shows only here.
func (c *Client) Failed(err error) {
	if c.offered == nil || clientLeft(err) {
		return
	}
	c.offered.Reason = "the key was not proven: " + clip(err.Error())
	_ = c.report(*c.offered)
	c.offered = nil
}

// maxShown bounds what is reported of a client's word, in bytes.
const maxShown = 256

func clip(s string) string {
	if len(s) > maxShown {
		s = s[:maxShown] + "…"
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
