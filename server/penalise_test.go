package server

import (
	"context"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/auth"
	"github.com/culvert-ssh/culvert/policy"
)

var loopback = netip.MustParseAddr("127.0.0.1")

// penalising is a bastion with sshd's penalties.
func penalising(t *testing.T) *bastion {
	b := newBastion(t)
	b.cfg.Penalties = sshdPenalties()
	return b
}

// wantBanned wants the next connection refused before anything is said of SSH, and that it is put on record.
func (b *bastion) wantBanned(class string) {
	b.t.Helper()
	if got, want := gone(b.t, b.connect()), "Not allowed at this time\r\n"; got != want {
		b.t.Errorf("got %q, want %q", got, want)
	}
	b.events.wait("connection.refused", "reason", "PerSourcePenalties: "+class)
}

func TestRealSSHIsBannedAfterWrongUsersAndLetInAgain(t *testing.T) {
	b := penalising(t)
	key, identity := b.user("alice")
	b.start()
	for n := range 5 {
		out, err := b.openSSH("-l", "nobody", "-i", identity, "-o", "BatchMode=yes", "-W", "192.0.2.1:1").CombinedOutput()
		if err == nil {
			t.Fatalf("attempt %d: nobody got in: %s", n, out)
		}
		if denied := strings.Contains(string(out), "Permission denied"); denied != (n < 4) {
			t.Errorf("attempt %d: got %q, want it refused by penalty from the fifth on", n+1, out)
		}
	}
	b.wantBanned("")
	if got := b.Penalised(); len(got) != 1 || !got[0].Active || got[0].Source != netip.PrefixFrom(loopback, 32) {
		t.Errorf("penalised: got %+v, want the loopback address", got)
	}
	b.events.wait("penalty", "source", "127.0.0.1/32")
	if !b.Unban(loopback) || b.Unban(loopback) {
		t.Error("want it unbanned, once")
	}
	b.mustDial("alice", ssh.PublicKeys(key))
}

func TestPenaltyEndsWithTime(t *testing.T) {
	b := penalising(t)
	b.cfg.Penalties.Min, b.cfg.Penalties.NoAuth = time.Millisecond, time.Second
	key, _ := b.user("alice")
	b.start()
	b.leave()
	b.wantBanned(classNoAuth)
	deadline := time.Now().Add(patience)
	for {
		if _, err := b.dial("alice", ssh.PublicKeys(key)); err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the penalty doesn't end")
		}
		<-time.After(50 * time.Millisecond) // it is a second
	}
}

// leave connects, sends these lines, and leaves; it returns when the server has noticed.
func (b *bastion) leave(sends ...string) {
	b.t.Helper()
	c := b.connect()
	b.events.waitFor(c)
	for _, line := range sends {
		if _, err := c.Write([]byte(line)); err != nil {
			b.t.Fatal(err)
		}
	}
	c.Close()
	b.events.wait("connection.closed", "client", c.LocalAddr().String())
}

func TestClassesOfMisbehaviour(t *testing.T) {
	for _, tt := range []struct {
		class   string
		prepare func(*bastion)
		do      func(*bastion)
	}{
		{classNoAuth, nil, func(b *bastion) { b.leave() }},
		{classNoAuth, nil, func(b *bastion) { b.leave("SSH-2.0-scanner\r\n") }},
		{classNoAuth, nil, func(b *bastion) { b.leave("GET / HTTP/1.0\r\n\r\n") }},
		{classAuthFail, nil, func(b *bastion) {
			_, foreign := newKey(b.t)
			if _, err := b.dial("alice", ssh.PublicKeys(foreign)); err == nil {
				b.t.Error("a foreign key got in")
			}
		}},
		{classGraceExceeded, func(b *bastion) { b.cfg.LoginGraceTime = 10 * time.Millisecond }, func(b *bastion) { gone(b.t, b.connect()) }},
		{classCrash, func(b *bastion) { b.authFor = func(policy.Subject) auth.Settings { panic("a bug") } }, func(b *bastion) {
			key, _ := b.user("alice")
			if _, err := b.dial("alice", ssh.PublicKeys(key)); err == nil {
				b.t.Error("a client got in")
			}
		}},
		{classCrash, func(b *bastion) { b.cfg.Permitted = func(policy.Subject) []string { panic("a bug") } }, func(b *bastion) {
			key, _ := b.user("alice")
			_, _, _ = b.mustDial("alice", ssh.PublicKeys(key)).OpenChannel("session", nil)
		}},
	} {
		t.Run(tt.class, func(t *testing.T) {
			b := penalising(t)
			b.user("alice")
			b.cfg.Penalties.Min = 0
			if tt.prepare != nil {
				tt.prepare(b)
			}
			b.start()
			tt.do(b)
			b.events.wait("penalty", "class", tt.class, "source", "127.0.0.1/32")
			b.wantBanned(tt.class)
		})
	}
}

func TestWhoBehavesIsNotPenalised(t *testing.T) {
	b := penalising(t)
	key, _ := b.user("alice")
	b.cfg.Penalties.Min = 0
	b.start()
	_, foreign := newKey(t)
	for range 3 {
		client := b.mustDial("alice", ssh.PublicKeys(foreign, key)) // as an agent with several keys has it
		client.Close()
		_ = client.Wait()
	}
	// Nor is who was connected when the server stopped.
	b.events.waitFor(b.connect())
	if err := b.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := b.Penalised(); len(got) != 0 {
		t.Errorf("got %+v, want nobody penalised", got)
	}
}

func TestExemptSourceIsNotPenalised(t *testing.T) {
	b := penalising(t)
	b.cfg.Penalties.Min = 0
	var err error
	if b.cfg.PenaltyExempt, err = policy.ParseAddressList("127.0.0.0/8"); err != nil {
		t.Fatal(err)
	}
	b.start()
	for range 3 {
		b.leave("nonsense\r\n")
	}
	if got := b.Penalised(); len(got) != 0 || b.events.count("penalty") != 0 {
		t.Errorf("got %+v, want nobody penalised", got)
	}
}

func TestPenaltyOfOneSourceIsNotAnothers(t *testing.T) {
	b := penalising(t)
	key, _ := b.user("alice")
	b.cfg.Penalties.Min = 0
	b.start()
	b.leave()
	b.wantBanned(classNoAuth)
	from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.0.0.2")}}
	client, _, _, err := ssh.NewClientConn(mustDialFrom(t, &from, b.addr), b.addr, b.clientConfig("alice", ssh.PublicKeys(key)))
	if err != nil {
		t.Fatalf("another source: %v", err)
	}
	client.Close()
}

func TestNewcomerGetsThePlaceOfAnAttacker(t *testing.T) {
	b := newBastion(t)
	key, _ := b.user("alice")
	b.cfg.MaxStartups = Startups{4, 100, 4}
	b.start()
	from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.0.0.2")}}
	for range 4 {
		b.events.waitFor(mustDialFrom(t, &from, b.addr))
	}
	b.mustDial("alice", ssh.PublicKeys(key))
	b.events.wait("connection.closed", "client", "127.0.0.2:", "reason", "put out")
	if got := b.events.count("connection.closed"); got != 1 {
		t.Errorf("closed: got %d connections, want 1", got)
	}
}

// Whoever guesses must not get away with it by pushing out those connections of his own that have guessed wrong.
func TestWhoIsPutOutAfterAWrongGuessIsPenalised(t *testing.T) {
	b := penalising(t)
	b.user("alice")
	b.cfg.Penalties.Min = 0
	b.cfg.MaxStartups = Startups{2, 100, 2}
	b.start()
	from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.0.0.2")}}
	guessed := make(chan struct{})
	for range 2 {
		guesser := mustDialFrom(t, &from, b.addr)
		tries := 0
		guess := ssh.RetryableAuthMethod(ssh.PasswordCallback(func() (string, error) {
			if tries++; tries == 2 {
				guessed <- struct{}{}
				<-t.Context().Done()
			}
			return "wrong", nil
		}), 2)
		go func() { _, _, _, _ = ssh.NewClientConn(guesser, b.addr, b.clientConfig("alice", guess)) }() // nobody is let in
	}
	<-guessed
	<-guessed
	b.connect()
	b.events.wait("connection.closed", "client", "127.0.0.2:", "reason", "put out")
	b.events.wait("penalty", "class", classAuthFail, "source", "127.0.0.2/32")
}

func mustDialFrom(t *testing.T, from *net.Dialer, addr string) net.Conn {
	t.Helper()
	c, err := from.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestTooManyTriesOfOneUserAreAFailedAuthentication(t *testing.T) {
	b := penalising(t)
	b.user("alice")
	b.cfg.MaxAuthTries = 6
	b.cfg.Settings = func(s policy.Subject) Settings {
		own := b.all
		if s.User == "alice" {
			own.MaxAuthTries = 1
		}
		return own
	}
	b.start()
	_, foreign := newKey(t)
	if _, err := b.dial("alice", ssh.PublicKeys(foreign)); err == nil {
		t.Error("a foreign key got in")
	}
	b.events.wait("penalty", "class", classAuthFail)
}

func TestPanicAtAcceptClosesItsConnectionAlone(t *testing.T) {
	b := newBastion(t)
	key, _ := b.user("alice")
	first := true
	b.cfg.Random = func(int) int {
		if first {
			first = false
			panic("a bug")
		}
		return 0
	}
	b.start()
	if got := gone(t, b.connect()); got != "" {
		t.Errorf("got %q, want nothing", got)
	}
	b.mustDial("alice", ssh.PublicKeys(key))
	if got := b.Panics(); got != 1 {
		t.Errorf("panics: got %d, want 1", got)
	}
}

func TestDrainWaitsForClientsThatAProxyIsToName(t *testing.T) {
	b := proxied(t)
	b.start()
	c := b.through("PRO")
	for deadline := time.Now().Add(patience); b.waitingForHeaders() == 0; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("nobody waits for a header")
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := b.Drain(ctx); err == nil {
		t.Error("it is drained while a client waits")
	}
	c.Close()
	if err := b.Drain(t.Context()); err != nil {
		t.Error(err)
	}
}
