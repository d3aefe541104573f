package server

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/audit"
	"github.com/culvert-ssh/culvert/policy"
	"github.com/culvert-ssh/culvert/relay"
	"github.com/culvert-ssh/culvert/stripe"
)

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

// refusedSides counts in a log what was refused to those who asked for side connections.
type refusedSides struct {
	testLog
	refused atomic.Int64
}

func (l *refusedSides) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(`msg="no stripes"`)) {
		l.refused.Add(1)
	}
	return l.testLog.Write(p)
}

func TestSidesAreRefusedToWhoMayNotHaveThem(t *testing.T) {
	b := striping(t)
	key, _ := b.user("alice")
	none, _ := b.user("none")
	log := &refusedSides{testLog: testLog{t}}
	b.cfg.Log = slog.New(slog.NewTextHandler(log, nil))
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
	for range 100 {
		if ok, _ := askSides(t, stranger, good); ok {
			t.Error("granted by MaxStripes 0")
		}
	}
	if n := log.refused.Load(); n < maxSideAsks || n > 2*maxSideAsks {
		t.Errorf("in the log: got %d refusals of more than 100, want some", n)
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
func TestSideConnectionsAreAlwaysAskedForASignOfLife(t *testing.T) {
	for _, x := range []struct {
		name                string
		interval, wantEvery time.Duration
		count, wantCount    int
	}{
		{"the bastion asks nobody", 0, sideAliveInterval, 3, 3},
		{"and disconnects nobody", 0, sideAliveInterval, 0, sideAliveCountMax},
		{"it asks, and disconnects nobody", time.Minute, time.Minute, 0, sideAliveCountMax},
		{"it has its own clock", time.Minute, time.Minute, 5, 5},
	} {
		t.Run(x.name, func(t *testing.T) {
			got := watched(Settings{ClientAliveInterval: x.interval, ClientAliveCountMax: x.count})
			if got.ClientAliveInterval != x.wantEvery || got.ClientAliveCountMax != x.wantCount {
				t.Errorf("got %v and %d, want %v and %d", got.ClientAliveInterval, got.ClientAliveCountMax, x.wantEvery, x.wantCount)
			}
		})
	}
}

func TestSilentSideConnectionIsDisconnectedAlone(t *testing.T) {
	b := striping(t)
	key, _ := b.user("alice")
	b.start()
	f := b.first("alice", ssh.PublicKeys(key))
	b.all.ClientAliveInterval, b.all.ClientAliveCountMax = 20*time.Millisecond, 2 // from here on, and the first has come
	cfg := b.clientConfig("alice", ssh.PublicKeys(f.key))
	cfg.ClientVersion = "SSH-2.0-culvert " + stripe.ChannelType
	side, _, _, err := ssh.NewClientConn(b.connect(), b.addr, cfg)
	if err != nil {
		t.Fatal(err)
	}
	_ = side.Wait() // nobody answers its requests
	b.events.wait("connection.closed", "reason", "didn't answer")
	if _, _, err := f.SendRequest("keepalive@openssh.com", true, nil); err != nil {
		t.Errorf("the first connection: got %v, want it alive", err)
	}
}

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

// First connections end while their side connections come, at every moment. None is left behind, and no key.
func TestSideConnectionsComeWhileTheFirstEnds(t *testing.T) {
	b := striping(t)
	key, _ := b.user("alice")
	b.cfg.Penalties = Penalties{}
	b.cfg.Log = slog.New(slog.DiscardHandler)
	b.all.ConnectTimeout = patience
	b.start()
	to := sink(t)
	var coming sync.WaitGroup
	for round := range 12 {
		f := b.first("alice", ssh.PublicKeys(key))
		_, token := f.offered(to)
		coming.Go(func() {
			var sides sync.WaitGroup
			for range 6 {
				sides.Go(func() {
					side, err := b.aside("alice", "", ssh.PublicKeys(f.key))
					if err != nil {
						return // it was too late, or there were four
					}
					if ch, requests, err := side.OpenChannel(stripe.ChannelType, token.Payload()); err == nil {
						go ssh.DiscardRequests(requests)
						_, _ = ch.Write([]byte("x"))
					}
					f.Close()
					_ = side.Wait()
				})
			}
			if round%2 == 0 {
				f.Close()
			}
			sides.Wait()
			f.Close() // if none was let in
		})
	}
	coming.Wait()
	eventually(t, "nobody is there", func() bool { return len(b.Connections()) == 0 })
	b.sideKeys.mu.Lock()
	defer b.sideKeys.mu.Unlock()
	if n := len(b.sideKeys.of); n != 0 {
		t.Errorf("keys left: got %d, want none", n)
	}
	b.logins.mu.Lock()
	defer b.logins.mu.Unlock()
	if n := len(b.logins.of); n != 0 {
		t.Errorf("users left: got %d, want none", n)
	}
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
		"user": func() (*ssh.Client, error) {
			return ssh.Dial("tcp", b.addr, b.clientConfig("alice", ssh.PublicKeys(key)))
		},
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
