package auth

import (
	"context"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/policy"
)

// meta is what x/crypto/ssh tells a callback of a connection.
type meta struct{ user string }

func (m meta) User() string          { return m.user }
func (m meta) SessionID() []byte     { return nil }
func (m meta) ClientVersion() []byte { return nil }
func (m meta) ServerVersion() []byte { return nil }
func (m meta) RemoteAddr() net.Addr  { return nil }
func (m meta) LocalAddr() net.Addr   { return nil }

func newClient(t *testing.T, b *bastion) (*ssh.ServerConfig, *[]Attempt) {
	t.Helper()
	a, err := New(b.cfg)
	if err != nil {
		t.Fatal(err)
	}
	var attempts []Attempt
	c := a.Client(context.Background(), netip.MustParseAddrPort("192.0.2.7:50000"), netip.AddrPort{}, func(at Attempt) error {
		attempts = append(attempts, at)
		return nil
	})
	cfg := &ssh.ServerConfig{}
	c.Install(cfg)
	return cfg, &attempts
}

// Stock clients keep one user name; the protocol lets a client change it with each attempt (RFC 4252, section 5).
func TestUserSwitchBetweenAttempts(t *testing.T) {
	b := newBastion(t)
	hers, his := newKey(t), newKey(t)
	b.authorize("alice", line(hers))
	b.authorize("bob", `permitopen="a.corp:1" `+line(his))
	cfg, attempts := newClient(t, b)

	// alice's key is found good for alice; then bob is named.
	if _, err := cfg.PublicKeyCallback(meta{"alice"}, hers.PublicKey()); err != nil {
		t.Fatalf("alice's key for alice: %v", err)
	}
	if perms, err := cfg.VerifiedPublicKeyCallback(meta{"bob"}, hers.PublicKey(), nil, ssh.KeyAlgoED25519); err == nil {
		t.Errorf("alice's key for bob: got %+v, want a refusal", perms)
	}
	if _, err := cfg.PublicKeyCallback(meta{"bob"}, hers.PublicKey()); err == nil {
		t.Error("alice's key was found good for bob")
	}
	// What was written while alice was refused or approved isn't in bob's identity.
	perms, err := cfg.VerifiedPublicKeyCallback(meta{"bob"}, his.PublicKey(), nil, ssh.KeyAlgoED25519)
	if err != nil {
		t.Fatal(err)
	}
	s := perms.ExtraData[subjectKey{}].(policy.Subject)
	if s.User != "bob" || s.Key != fingerprint(his) || len(s.KeyRules.PermitOpen) != 1 {
		t.Errorf("got %+v, want bob", s)
	}
	again, err := cfg.VerifiedPublicKeyCallback(meta{"bob"}, his.PublicKey(), nil, ssh.KeyAlgoED25519)
	if err != nil {
		t.Fatal(err)
	}
	if again == perms {
		t.Error("two identities share their Permissions")
	}
	if got := (*attempts)[0]; got.User != "bob" || !got.Accepted {
		t.Errorf("attempt: got %+v, want bob accepted", got)
	}
}

func TestEveryCallbackIsInstalled(t *testing.T) {
	b := newBastion(t)
	b.cfg.Offered = func() Offered { return Offered{} }
	cfg, _ := newClient(t, b)
	if cfg.PasswordCallback != nil || cfg.KeyboardInteractiveCallback != nil || cfg.GSSAPIWithMICConfig != nil {
		t.Error("a method is offered that is switched off")
	}
	if perms, err := cfg.NoClientAuthCallback(meta{"alice"}); perms != nil || err == nil {
		t.Errorf("none: got %v, %v, want a refusal", perms, err)
	}
}

func TestReportIsBounded(t *testing.T) {
	b := newBastion(t)
	cfg, attempts := newClient(t, b)
	long := strings.Repeat("\xff", 100_000)
	_, err := cfg.PublicKeyCallback(meta{long}, newKey(t).PublicKey())
	cfg.AuthLogCallback(meta{long}, long, err)
	cert := certify(t, newKey(t), newKey(t), func(c *ssh.Certificate) {
		c.KeyId, c.ValidPrincipals = long, []string{long, long}
		critical(long, "")(c)
	})
	_, err = cfg.PublicKeyCallback(meta{"alice"}, cert.PublicKey())
	cfg.AuthLogCallback(meta{"alice"}, "publickey", err)
	b.settings.TrustedUserCAKeys = b.write("authorities", line(newKey(t)))
	named := certify(t, newKey(t), newKey(t), func(c *ssh.Certificate) { c.ValidPrincipals = []string{long, long} })
	_, err = cfg.PublicKeyCallback(meta{"alice"}, named.PublicKey())
	cfg.AuthLogCallback(meta{"alice"}, "publickey", err)
	for _, got := range *attempts {
		words := []string{got.User, got.Method, got.Reason}
		if got.Certificate != nil {
			words = append(words, got.Certificate.ID)
		}
		for _, word := range words {
			if len(word) > 4*maxShown {
				t.Errorf("%d bytes of a client's word are reported: %.80q", len(word), word)
			}
		}
	}
}

func TestClientThatLeavesMadeNoAttempt(t *testing.T) {
	b := newBastion(t)
	key := newKey(t)
	b.authorize("alice", line(key))
	a, err := New(b.cfg)
	if err != nil {
		t.Fatal(err)
	}
	c := a.Client(context.Background(), netip.MustParseAddrPort("192.0.2.7:50000"), netip.AddrPort{}, func(at Attempt) error {
		t.Errorf("attempt: got %+v, want none", at)
		return nil
	})
	for _, err := range []error{io.EOF, net.ErrClosed, &ssh.ServerAuthError{}, &net.OpError{Op: "read", Err: net.UnknownNetworkError("")}} {
		if _, err := c.publicKeyOffered(meta{"alice"}, key.PublicKey()); err != nil {
			t.Fatal(err)
		}
		c.Failed(err)
	}
}

func TestNewChecksItsConfig(t *testing.T) {
	if _, err := New(Config{}); err == nil {
		t.Error("got no error")
	}
}

func TestSubjectOfNobody(t *testing.T) {
	for name, conn := range map[string]*ssh.ServerConn{
		"no connection":     nil,
		"no permissions":    {},
		"empty permissions": {Permissions: &ssh.Permissions{}},
		"somebody else's":   {Permissions: &ssh.Permissions{ExtraData: map[any]any{"subject": policy.Subject{User: "root"}}}},
		"the zero subject":  {Permissions: &ssh.Permissions{ExtraData: map[any]any{subjectKey{}: policy.Subject{}}}},
	} {
		if s, err := SubjectOf(conn); err == nil {
			t.Errorf("%s: got %+v, want an error", name, s)
		}
	}
}
