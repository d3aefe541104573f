package server

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/policy"
	"github.com/culvert-ssh/culvert/relay"
	"github.com/culvert-ssh/culvert/stripe"
)

// striping is a bastion that grants side connections, and opens what is on loopback.
func striping(t testing.TB) *bastion {
	t.Helper()
	b := newBastion(t)
	b.cfg.Penalties = sshdPenalties()
	b.all.MaxStripes = 4
	any, err := policy.ParseOpenPattern("127.0.0.1:*")
	if err != nil {
		t.Fatal(err)
	}
	p := &policy.Policy{Global: policy.Rules{
		AllowTCPForwarding: &policy.Line[policy.Forwarding]{Value: policy.ForwardAll},
		PermitOpen:         &policy.Line[[]policy.OpenPattern]{Source: "sshd_config:1", Value: []policy.OpenPattern{any}},
	}}
	b.cfg.Decide = p.Decide
	return b
}

// first is a connection that may have side connections, by key.
type first struct {
	*ssh.Client
	t    testing.TB
	key  ssh.Signer
	most uint32
}

// first logs in and asks for side connections.
func (b *bastion) first(user string, method ssh.AuthMethod) *first {
	b.t.Helper()
	_, key := newKey(b.t)
	f := &first{Client: b.mustDial(user, method), t: b.t, key: key}
	if ok, _, err := f.SendRequest(relay.EndOfDataRequest, true, nil); !ok || err != nil {
		b.t.Fatalf("%s: got %v, %v", relay.EndOfDataRequest, ok, err)
	}
	ok, answer := askSides(b.t, f, key.PublicKey().Marshal())
	if !ok || len(answer) != 4 {
		b.t.Fatalf("%s: got %v, %x, want it granted with a number", stripe.Request, ok, answer)
	}
	f.most = binary.BigEndian.Uint32(answer)
	return f
}

func askSides(t testing.TB, c ssh.Conn, key []byte) (ok bool, answer []byte) {
	t.Helper()
	ok, answer, err := c.SendRequest(stripe.Request, true, ssh.Marshal(struct{ Key []byte }{key}))
	if err != nil {
		t.Fatal(err)
	}
	return ok, answer
}

// aside says that it is a side connection, and dials from an address if that is given.
func (b *bastion) aside(user, from string, methods ...ssh.AuthMethod) (*ssh.Client, error) {
	b.t.Helper()
	cfg := b.clientConfig(user, methods...)
	cfg.ClientVersion = "SSH-2.0-culvert " + stripe.ChannelType
	var d net.Dialer
	if from != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	c, err := d.Dial("tcp", b.addr)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { c.Close() })
	conn, channels, requests, err := ssh.NewClientConn(c, b.addr, cfg)
	if err != nil {
		return nil, err
	}
	return ssh.NewClient(conn, channels, requests), nil
}

func (b *bastion) mustAside(f *first) *ssh.Client {
	b.t.Helper()
	c, err := b.aside(f.User(), "", ssh.PublicKeys(f.key))
	if err != nil {
		b.t.Fatal(err)
	}
	return c
}

// wantNotAside wants a side connection refused, in the log for a reason.
func (b *bastion) wantNotAside(what, reason string, user, from string, methods ...ssh.AuthMethod) {
	b.t.Helper()
	n := b.events.count("side.refused", "user", user, "reason", reason)
	if c, err := b.aside(user, from, methods...); err == nil {
		c.Close()
		b.t.Errorf("%s: it was let in", what)
		return
	}
	if reason != "" && b.events.count("side.refused", "user", user, "reason", reason) != n+1 {
		b.t.Errorf("%s: not on record as refused for %q", what, reason)
	}
	b.Unban(loopback) // each is a case of its own
}

// endsFor waits for the end of a connection.
func (b *bastion) endsFor(c *ssh.Client, reason string) {
	b.t.Helper()
	b.events.wait("connection.closed", "client", c.LocalAddr().String(), "reason", reason)
	_ = c.Wait() // which it must come back from
}

// open opens a channel to an address.
func (f *first) open(to net.Addr) *stripe.Stream {
	f.t.Helper()
	at := relay.AddrPort(to)
	ch, requests, err := f.OpenChannel("direct-tcpip", ssh.Marshal(struct {
		Host  string
		Port  uint32
		From  string
		FPort uint32
	}{at.Addr().String(), uint32(at.Port()), "127.0.0.1", 1}))
	if err != nil {
		f.t.Fatal(err)
	}
	s := stripe.New(ch, requests, stripe.Config{ChannelConfig: relay.ChannelConfig{Wire: relay.NewWire(nil), EndOfData: true}})
	f.t.Cleanup(s.Abort)
	return s
}

// offered is a stream with its token.
func (f *first) offered(to net.Addr) (*stripe.Stream, stripe.Token) {
	f.t.Helper()
	s := f.open(to)
	token, err := s.Offer()
	if err != nil {
		f.t.Fatalf("offer: %v", err)
	}
	return s, token
}

// sink is a TCP server that takes what comes.
func sink(t testing.TB) net.Addr {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer c.Close()
				_, _ = io.Copy(io.Discard, c)
			})
		}
	})
	t.Cleanup(func() { l.Close(); serving.Wait() })
	return l.Addr()
}

// wantRefused wants a channel refused.
func wantRefused(t testing.TB, c ssh.Conn, kind string, extra []byte) {
	t.Helper()
	ch, requests, err := c.OpenChannel(kind, extra)
	if err == nil {
		go ssh.DiscardRequests(requests)
		ch.Close()
		t.Errorf("%s %.80q: it was opened", kind, extra)
		return
	}
	if _, refused := errors.AsType[*ssh.OpenChannelError](err); !refused {
		t.Errorf("%s %.80q: got %v, want a refusal", kind, extra, err)
	}
}

// Whatever somebody has who isn't the client of the first connection: it isn't let in, and it is told nothing.
func TestSideConnectionNeedsTheKeyOfItsFirst(t *testing.T) {
	b := striping(t)
	key, _ := b.user("alice")
	bobs, _ := b.user("bob")
	b.start()
	f := b.first("alice", ssh.PublicKeys(key))
	_, foreign := newKey(t)
	none := errNoSideKey.Error()
	b.wantNotAside("another key", none, "alice", "", ssh.PublicKeys(foreign))
	b.wantNotAside("another user", none, "bob", "", ssh.PublicKeys(f.key))
	b.wantNotAside("nobody's name", none, "nobody", "", ssh.PublicKeys(f.key))
	b.wantNotAside("no name", none, "", "", ssh.PublicKeys(f.key))
	b.wantNotAside("another address", none, "alice", "127.0.0.2", ssh.PublicKeys(f.key))
	b.wantNotAside("alice's own key", none, "alice", "", ssh.PublicKeys(key))
	b.wantNotAside("bob's own key", none, "bob", "", ssh.PublicKeys(bobs))
	b.wantNotAside("a password", "", "alice", "", ssh.Password("secret"))
	b.wantNotAside("nothing", "", "alice", "")
	b.wantNotAside("the key, as an authority's", "not \"ssh-ed25519-cert-v01@openssh.com\"", "alice", "", ssh.PublicKeys(certifiedKey(t, f.key)))

	for what, methods := range map[string][]ssh.AuthMethod{"alone": {ssh.PublicKeys(f.key)}, "after others": {ssh.PublicKeys(foreign, f.key)}} {
		if c, err := b.dial("alice", methods...); err == nil {
			c.Close()
			t.Errorf("the key %s has let a user in", what)
		}
		b.Unban(loopback)
	}
	if n := b.events.count("authentication", "result", "accepted"); n != 1 {
		t.Errorf("logins: got %d, want alice's", n)
	}

	side := b.mustAside(f)
	e := b.events.wait("side.accepted", "user", "alice", "client", side.LocalAddr().String())
	granted := b.events.wait("stripes.granted", "user", "alice")
	if e["key"] != ssh.FingerprintSHA256(f.key.PublicKey()) || e["key"] != granted["key"] || e["first"] != granted["conn"] || e["conn"] == e["first"] {
		t.Errorf("got %v, want it to be the side connection of %v", e, granted)
	}
}

// certifiedKey is a key with a certificate for everything that it has signed itself.
func certifiedKey(t *testing.T, key ssh.Signer) ssh.Signer {
	t.Helper()
	cert := &ssh.Certificate{Key: key.PublicKey(), CertType: ssh.UserCert, ValidPrincipals: []string{"alice"}, ValidBefore: ssh.CertTimeInfinity}
	if err := cert.SignCert(rand.Reader, key); err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewCertSigner(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// Mallory shares an account and an address with Bob, and hands in the public key that he logs in with. He notices nothing of it.
func TestKeyOfSomebodyElseSpoilsNothingForThem(t *testing.T) {
	b := striping(t)
	bobs, _ := b.user("shared")
	_, mallorys := newKey(t)
	keys := append(ssh.MarshalAuthorizedKey(bobs.PublicKey()), ssh.MarshalAuthorizedKey(mallorys.PublicKey())...)
	if err := os.WriteFile(filepath.Join(b.dir, "shared.keys"), keys, 0o600); err != nil {
		t.Fatal(err)
	}
	b.start()
	mallory := b.mustDial("shared", ssh.PublicKeys(mallorys))
	_, _, _ = mallory.SendRequest(relay.EndOfDataRequest, true, nil)
	if ok, _ := askSides(t, mallory, bobs.PublicKey().Marshal()); !ok {
		t.Fatal("the key isn't taken, which tells whose keys serve here")
	}
	bob := b.mustDial("shared", ssh.PublicKeys(bobs))
	open, err := bob.Dial("tcp", sink(t).String())
	if err != nil {
		t.Fatalf("bob opens something: %v", err)
	}
	open.Close()
	if n := b.events.count("authentication", "result", "accepted"); n != 2 {
		t.Errorf("logins: got %d, want 2", n)
	}
}

// A side connection of somebody who may open everything opens nothing.
func TestSideConnectionOpensStripesAndNothingElse(t *testing.T) {
	b := striping(t)
	key, _ := b.user("alice")
	b.start()
	f := b.first("alice", ssh.PublicKeys(key))
	to := sink(t)
	_, token := f.offered(to)
	side := b.mustAside(f)
	at := relay.AddrPort(to)
	target := ssh.Marshal(struct {
		Host  string
		Port  uint32
		From  string
		FPort uint32
	}{at.Addr().String(), uint32(at.Port()), "127.0.0.1", 1})
	for _, kind := range []string{
		"direct-tcpip", "session", "forwarded-tcpip", "direct-streamlocal@openssh.com", "x11", "auth-agent@openssh.com", "tun@openssh.com",
		"", "stripe@culvert ", strings.Repeat("x", 1000),
	} {
		wantRefused(t, side, kind, target)
		wantRefused(t, side, kind, token.Payload())
	}
	bind := ssh.Marshal(struct {
		Host string
		Port uint32
	}{"127.0.0.1", 0})
	_, another := newKey(t)
	for name, payload := range map[string][]byte{
		"tcpip-forward": bind, "ftp-forward@culvert": bind, "cancel-tcpip-forward": bind, "streamlocal-forward@openssh.com": nil,
		relay.EndOfDataRequest: nil, stripe.Request: ssh.Marshal(struct{ Key []byte }{another.PublicKey().Marshal()}),
		proveRequest: ssh.Marshal(struct{ Key []byte }{b.host.PublicKey().Marshal()}), "no-more-sessions@openssh.com": nil, "keepalive@openssh.com": nil, "": nil,
	} {
		if ok, _, err := side.SendRequest(name, true, payload); ok || err != nil {
			t.Errorf("%q: got %v, %v, want it refused", name, ok, err)
		}
	}
	b.events.wait("channel.refused", "client", side.LocalAddr().String(), "type", "direct-tcpip", "reason", errNotStriped)
	for _, e := range []string{"channel.opened", "channel.asked", "session.started", "listen.opened"} {
		if n := b.events.count(e, "client", side.LocalAddr().String()); n != 0 {
			t.Errorf("%s: got %d of the side connection, want none", e, n)
		}
	}
	ch, requests, err := side.OpenChannel(stripe.ChannelType, token.Payload())
	if err != nil {
		t.Fatalf("a stripe: %v", err)
	}
	go ssh.DiscardRequests(requests)
	ch.Close()
}

const errNotStriped = "a side connection carries stripes and nothing else"

// A token is good for stripes of its stream, as long as that is open, on the side connections of its own login.
func TestTokenServesItsOwnLoginAlone(t *testing.T) {
	b := striping(t)
	key, _ := b.user("alice")
	bobs, _ := b.user("bob")
	b.start()
	to := sink(t)
	alice, bob, again := b.first("alice", ssh.PublicKeys(key)), b.first("bob", ssh.PublicKeys(bobs)), b.first("alice", ssh.PublicKeys(key))
	stream, token := alice.offered(to)
	_, of := bob.offered(to)
	aside, bobside, againside := b.mustAside(alice), b.mustAside(bob), b.mustAside(again)
	for what, c := range map[string]ssh.Conn{
		"bob": bob, "bob's side connection": bobside, "another login of alice": again, "its side connection": againside,
	} {
		t.Log(what)
		wantRefused(t, c, stripe.ChannelType, token.Payload())
	}
	wantRefused(t, aside, stripe.ChannelType, of.Payload())
	wantRefused(t, aside, stripe.ChannelType, stripe.NewToken().Payload())
	wantRefused(t, aside, stripe.ChannelType, stripe.Token{}.Payload())
	wantRefused(t, aside, stripe.ChannelType, nil)
	wantRefused(t, aside, stripe.ChannelType, token.Payload()[:20])
	wantRefused(t, aside, stripe.ChannelType, append(token.Payload(), 0))
	wantRefused(t, aside, stripe.ChannelType, ssh.Marshal(struct{ T []byte }{token[:31]}))
	for what, c := range map[string]ssh.Conn{"aside": aside, "first": alice} {
		ch, requests, err := c.OpenChannel(stripe.ChannelType, token.Payload())
		if err != nil {
			t.Fatalf("%s: a stripe: %v", what, err)
		}
		go ssh.DiscardRequests(requests)
		defer ch.Close()
	}
	stream.Abort()
	b.events.wait("channel.closed", "user", "alice")
	wantRefused(t, aside, stripe.ChannelType, token.Payload())
	wantRefused(t, alice, stripe.ChannelType, token.Payload())
	var closed event
	b.events.each("channel.closed", func(e event) { closed = e })
	if closed["stripes"] != 2.0 {
		t.Errorf("channel.closed: got %v, want 2 stripes", closed)
	}
}
