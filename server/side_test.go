package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/audit"
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
	s := stripe.New(ch, requests, stripe.Config{ChannelConfig: relay.ChannelConfig{EndOfData: true}})
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

// Side connections end with the first, however it ends, and its key with it.
func TestSideConnectionsEndWithTheFirst(t *testing.T) {
	for name, end := range map[string]func(b *bastion, f *first){
		"closed by the client": func(_ *bastion, f *first) { f.Close() },
		"killed": func(b *bastion, f *first) {
			if !b.Kill(b.events.wait("stripes.granted")["conn"].(string)) {
				b.t.Error("the first connection isn't there")
			}
		},
		"no longer permitted": func(b *bastion, f *first) {
			b.policy.Global.DenyUsers = denyUsers(b.t, "alice")
			b.Recheck()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := striping(t)
			key, _ := b.user("alice")
			b.start()
			f := b.first("alice", ssh.PublicKeys(key))
			_, token := f.offered(sink(t))
			sides := []*ssh.Client{b.mustAside(f), b.mustAside(f)}
			ch, requests, err := sides[0].OpenChannel(stripe.ChannelType, token.Payload())
			if err != nil {
				t.Fatal(err)
			}
			go ssh.DiscardRequests(requests)
			end(b, f)
			for _, side := range sides {
				b.endsFor(side, errFirstEnded.Error())
			}
			if _, err := ch.Write([]byte("late")); err == nil {
				t.Error("the stripe is open")
			}
			b.endsFor(f.Client, "")
			b.wantNotAside("afterwards", errNoSideKey.Error(), "alice", "", ssh.PublicKeys(f.key))
			eventually(t, "nobody is there", func() bool { return len(b.Connections()) == 0 })
			if n := len(b.sideKeys.of); n != 0 {
				t.Errorf("keys left: got %d, want none", n)
			}
		})
	}
}

// A side connection that ends, ends alone.
func TestSideConnectionIsKilledAlone(t *testing.T) {
	b := striping(t)
	key, _ := b.user("alice")
	b.start()
	f := b.first("alice", ssh.PublicKeys(key))
	side, other := b.mustAside(f), b.mustAside(f)
	all := b.Connections()
	if len(all) != 3 || all[0].First != "" || all[1].First != all[0].ID || all[1].User != "alice" || all[2].First != all[0].ID || len(all[1].Channels) != 0 {
		t.Fatalf("connections: got %+v, want alice's and two that belong to it", all)
	}
	b.Kill(b.events.wait("side.accepted", "client", side.LocalAddr().String())["conn"].(string))
	b.endsFor(side, errKilled.Error())
	for _, c := range []ssh.Conn{f, other} {
		if _, _, err := c.SendRequest("any", true, nil); err != nil {
			t.Errorf("another connection: %v", err)
		}
	}
	b.mustAside(f) // the key serves on
}

// There are MaxStripes of them at once, as it is now, and they count for nothing else.
func TestSideConnectionsAreCountedForTheirFirst(t *testing.T) {
	b := striping(t)
	key, _ := b.user("alice")
	b.all.MaxConnections = 2
	b.start()
	f := b.first("alice", ssh.PublicKeys(key))
	if f.most != 4 {
		t.Errorf("granted: got %d, want MaxStripes, 4", f.most)
	}
	var (
		mu     sync.Mutex
		in     []*ssh.Client
		coming sync.WaitGroup
	)
	for range 12 {
		coming.Go(func() {
			if c, err := b.aside("alice", "", ssh.PublicKeys(f.key)); err == nil {
				mu.Lock()
				defer mu.Unlock()
				in = append(in, c)
			}
		})
	}
	coming.Wait()
	if len(in) != 4 {
		t.Fatalf("side connections: got %d, want MaxStripes, 4", len(in))
	}
	b.mustDial("alice", ssh.PublicKeys(key)) // the second of MaxConnections
	in[0].Close()
	b.endsFor(in[0], "")
	b.mustAside(f)
	b.wantNotAside("one too many", errSidesFull.Error(), "alice", "", ssh.PublicKeys(f.key))
}

func TestSidesAreRefusedToWhoMayNotHaveThem(t *testing.T) {
	b := striping(t)
	key, _ := b.user("alice")
	none, _ := b.user("none")
	four := b.all
	b.cfg.Settings = func(s policy.Subject) Settings {
		settings := four
		if s.User == "none" {
			settings.MaxStripes = 0
		}
		return settings
	}
	b.start()
	f := b.first("alice", ssh.PublicKeys(key))
	_, another := newKey(t)
	good := another.PublicKey().Marshal()
	if ok, _ := askSides(t, f, good); ok {
		t.Error("a second request was granted")
	}
	b.wantNotAside("the key of the second request", errNoSideKey.Error(), "alice", "", ssh.PublicKeys(another))
	plain := b.mustDial("alice", ssh.PublicKeys(key))
	if ok, _ := askSides(t, plain, good); ok {
		t.Errorf("granted to a client that doesn't say %s", relay.EndOfDataRequest)
	}
	_, _, _ = plain.SendRequest(relay.EndOfDataRequest, true, nil)
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ofCurve, err := ssh.NewPublicKey(curve.Public())
	if err != nil {
		t.Fatal(err)
	}
	for what, blob := range map[string][]byte{
		"nothing": nil, "an ECDSA key": ofCurve.Marshal(), "a certificate": certifiedKey(t, another).PublicKey().Marshal(), "a part": good[:len(good)-1],
		"more": append(append([]byte{}, good...), 0), "the key of another connection": f.key.PublicKey().Marshal(),
	} {
		if ok, _ := askSides(t, plain, blob); ok {
			t.Errorf("granted for %s", what)
		}
	}
	if ok, _, _ := plain.SendRequest(stripe.Request, true, append(ssh.Marshal(struct{ K []byte }{good}), 1)); ok {
		t.Error("granted with something behind it")
	}
	if ok, _ := askSides(t, plain, good); !ok {
		t.Error("not granted in the end")
	}
	stranger := b.mustDial("none", ssh.PublicKeys(none))
	_, _, _ = stranger.SendRequest(relay.EndOfDataRequest, true, nil)
	if ok, _ := askSides(t, stranger, good); ok {
		t.Error("granted by MaxStripes 0")
	}
	b.mustAside(f)
}

// Whoever agrees on nothing has no stripes on the first connection either.
func TestNoTokenWithoutAgreement(t *testing.T) {
	b := striping(t)
	key, _ := b.user("alice")
	b.start()
	c := b.mustDial("alice", ssh.PublicKeys(key))
	_, _, _ = c.SendRequest(relay.EndOfDataRequest, true, nil)
	f := &first{Client: c, t: t}
	if _, err := f.open(sink(t)).Offer(); err == nil {
		t.Error("a token was taken")
	}
}

// MaxStripes and LoginGraceTime, MaxStartups and penalties hold for side connections that haven't proven anything; honest ones have no penalty that
// keeps them out.
func TestSideConnectionsHaveTheLimitsOfStrangers(t *testing.T) {
	b := striping(t)
	key, _ := b.user("alice")
	b.start()
	f := b.first("alice", ssh.PublicKeys(key))
	f.Close()
	b.endsFor(f.Client, "")
	for range 4 {
		if _, err := b.aside("alice", "", ssh.PublicKeys(f.key)); err == nil {
			t.Fatal("let in without a first connection")
		}
	}
	again := b.first("alice", ssh.PublicKeys(key)) // a bastion that doesn't know the key isn't angry with its owner
	b.mustAside(again)
	for n := 0; len(b.Penalised()) == 0 || !b.Penalised()[0].Active; n++ {
		if n > 100 {
			t.Fatal("whoever guesses goes on without a penalty")
		}
		_, guess := newKey(t)
		_, _ = b.aside("alice", "", ssh.PublicKeys(guess))
	}
	b.wantBanned(classNoAuth)
	if n := b.events.count("penalty", "class", classAuthFail); n != 0 {
		t.Errorf("penalties for failed logins: got %d, want none", n)
	}
}

func TestSideConnectionHasLoginGraceTime(t *testing.T) {
	b := striping(t)
	b.cfg.LoginGraceTime = 100 * time.Millisecond
	b.start()
	c := b.connect()
	if _, err := io.WriteString(c, "SSH-2.0-culvert "+stripe.ChannelType+"\r\n"); err != nil {
		t.Fatal(err)
	}
	gone(t, c)
	b.events.wait("connection.closed", "reason", errGrace.Error())
	b.events.wait("penalty", "class", classGraceExceeded)
}

// Thousands of opens that are refused cost whoever sends them, and nobody else.
func TestFloodOfStripesIsRefused(t *testing.T) {
	b := striping(t)
	key, _ := b.user("alice")
	b.start()
	f := b.first("alice", ssh.PublicKeys(key))
	side, bystander := b.mustAside(f), b.mustAside(f)
	var flooding sync.WaitGroup
	for range 16 {
		flooding.Go(func() {
			for range 200 {
				wantRefused(t, side, stripe.ChannelType, stripe.NewToken().Payload())
			}
		})
	}
	for range 20 {
		if _, _, err := bystander.SendRequest("any", true, nil); err != nil {
			t.Fatal(err)
		}
	}
	flooding.Wait()
	if n := b.events.count("channel.refused", "client", side.LocalAddr().String()); n != 3200 {
		t.Errorf("on record: got %d, want each of 3200", n)
	}
	_, token := f.offered(sink(t))
	ch, requests, err := side.OpenChannel(stripe.ChannelType, token.Payload())
	if err != nil {
		t.Fatal(err)
	}
	go ssh.DiscardRequests(requests)
	ch.Close()
}

// BenchmarkLogin compares what it takes to come in, both ends together.
func BenchmarkLogin(bench *testing.B) {
	b := striping(bench)
	key, _ := b.user("alice")
	b.cfg.Log, b.cfg.Audit = slog.New(slog.DiscardHandler), audit.New(io.Discard, time.Now)
	b.all.MaxStripes = 1000 // one that has closed may still be there
	b.start()
	f := b.first("alice", ssh.PublicKeys(key))
	for name, come := range map[string]func() (*ssh.Client, error){
		"user": func() (*ssh.Client, error) { return ssh.Dial("tcp", b.addr, b.clientConfig("alice", ssh.PublicKeys(key))) },
		"side": func() (*ssh.Client, error) { return b.aside("alice", "", ssh.PublicKeys(f.key)) },
	} {
		bench.Run(name, func(bench *testing.B) {
			for bench.Loop() {
				c, err := come()
				if err != nil {
					bench.Fatal(err)
				}
				c.Close()
			}
		})
	}
}
