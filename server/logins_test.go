package server

import (
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/auth"
	"github.com/culvert-ssh/culvert/policy"
)

// close ends a connection, and returns when the server has noticed.
func (b *bastion) close(client *ssh.Client) {
	b.t.Helper()
	client.Close()
	b.events.wait("connection.closed", "client", client.LocalAddr().String())
}

// refusedFull wants a login refused because of MaxConnections.
func (b *bastion) refusedFull(user string, methods ...ssh.AuthMethod) {
	b.t.Helper()
	var told string
	cfg := b.clientConfig(user, methods...)
	cfg.BannerCallback = func(text string) error {
		told += text
		return nil
	}
	client, err := ssh.Dial("tcp", b.addr, cfg)
	if err == nil {
		client.Close()
		b.t.Fatalf("%s got in", user)
	}
	if told != wordsMaxConnections {
		b.t.Errorf("%s was told %q, want %q (%v)", user, told, wordsMaxConnections, err)
	}
}

func TestUserHasNoMoreThanMaxConnections(t *testing.T) {
	b := penalising(t)
	key, _ := b.user("alice")
	other, _ := b.user("bob")
	_, foreign := newKey(t)
	b.all.MaxConnections = 2
	b.start()
	first, second := b.mustDial("alice", ssh.PublicKeys(key)), b.mustDial("alice", ssh.PublicKeys(key))
	b.refusedFull("alice", ssh.PublicKeys(foreign, key), ssh.Password("a guess"))
	e := b.events.wait("authentication", "result", "refused", "reason", "MaxConnections is reached")
	if e["user"] != "alice" || e["rule"] != "sshd_config:9 MaxConnections of alice" ||
		e["key"] != ssh.FingerprintSHA256(key.PublicKey()) {
		t.Errorf("got %v, want alice's key refused by the line", e)
	}
	closed := b.events.wait("connection.closed")
	if closed["conn"] != e["conn"] || !closed.has([]string{"reason", errMaxConnections.Error()}) {
		t.Errorf("got %v, want connection %v closed for what it is", closed, e["conn"])
	}
	if got := b.events.count("authentication", "result", "accepted"); got != 2 {
		t.Errorf("accepted: got %d, want 2", got)
	}
	b.mustDial("bob", ssh.PublicKeys(other))
	// A place is given back by the end of a connection, whoever ends it.
	b.close(first)
	third := b.mustDial("alice", ssh.PublicKeys(key))
	b.refusedFull("alice", ssh.PublicKeys(key))
	all := b.Connections()
	i := slices.IndexFunc(all, func(c Info) bool { return c.Client.String() == second.LocalAddr().String() })
	b.Kill(all[i].ID)
	b.events.wait("connection.closed", "conn", all[i].ID)
	b.mustDial("alice", ssh.PublicKeys(key))
	if _, _, err := third.SendRequest("any", true, nil); err != nil {
		t.Errorf("another connection: %v", err)
	}
	if n := b.events.count("penalty"); n != 0 {
		t.Errorf("%d penalties for who has proven to be alice", n)
	}
}

func TestMaxConnectionsIsExact(t *testing.T) {
	const limit, clients, rounds = 3, 12, 5
	b := newBastion(t)
	key, _ := b.user("alice")
	b.all.MaxConnections = limit
	b.start()
	// Of many that come at once, and stay, so many get in.
	together := func() (in []*ssh.Client) {
		var (
			mu     sync.Mutex
			coming sync.WaitGroup
		)
		for range clients {
			coming.Go(func() {
				if c, err := ssh.Dial("tcp", b.addr, b.clientConfig("alice", ssh.PublicKeys(key))); err == nil {
					mu.Lock()
					defer mu.Unlock()
					in = append(in, c)
				}
			})
		}
		coming.Wait()
		if len(in) != limit {
			t.Errorf("logged in: got %d, want %d", len(in), limit)
		}
		return in
	}
	for _, c := range together() {
		b.close(c)
	}
	// Of many that come and go, never more are in.
	var (
		in     atomic.Int64
		moving sync.WaitGroup
	)
	for range clients {
		moving.Go(func() {
			for range rounds {
				c, err := ssh.Dial("tcp", b.addr, b.clientConfig("alice", ssh.PublicKeys(key)))
				if err != nil {
					continue
				}
				if n := in.Add(1); n > limit {
					t.Errorf("logged in: %d, want %d at most", n, limit)
				}
				_, _, _ = c.SendRequest("any", true, nil)
				in.Add(-1)
				c.Close()
			}
		})
	}
	moving.Wait()
	alone := func() bool { return len(b.Connections()) == 0 }
	eventually(t, "nobody is there", alone)
	for _, c := range together() {
		c.Close()
	}
	eventually(t, "nobody is there again", alone)
	b.logins.mu.Lock()
	defer b.logins.mu.Unlock()
	if len(b.logins.of) != 0 {
		t.Errorf("left: got %v, want nobody", b.logins.of)
	}
}

// A login that was accepted and came to nothing has no place, whatever went wrong.
func TestFailedLoginGivesItsPlaceBack(t *testing.T) {
	for name, wrong := range map[string]func(event) error{
		"it can't be recorded": func(e event) error {
			if e["result"] == "accepted" {
				return os.ErrClosed
			}
			return nil
		},
		"a panic": func(e event) error {
			if e["result"] == "accepted" {
				panic("the disk is on fire")
			}
			return nil
		},
		"a panic, and another at the end": func(e event) error {
			if e["result"] == "accepted" || e["event"] == "penalty" {
				panic("the disk is on fire")
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := penalising(t)
			key, _ := b.user("alice")
			b.all.MaxConnections = 1
			var well atomic.Bool
			b.events.fail = func(e event) error {
				if well.Load() {
					return nil
				}
				return wrong(e)
			}
			b.start()
			if _, _, _, err := ssh.NewClientConn(b.connect(), b.addr, b.clientConfig("alice", ssh.PublicKeys(key))); err == nil {
				t.Fatal("got in")
			}
			eventually(t, "the connection is forgotten", func() bool { return len(b.Connections()) == 0 })
			well.Store(true)
			b.Unban(loopback)
			b.mustDial("alice", ssh.PublicKeys(key))
			b.refusedFull("alice", ssh.PublicKeys(key))
		})
	}
}

func TestChainTakesOnePlaceWithItsLastStep(t *testing.T) {
	b := newBastion(t)
	key, _ := b.user("alice")
	if err := auth.SetPassword(b.auth.PasswordFile, "alice", "open sesame"); err != nil {
		t.Fatal(err)
	}
	b.auth.AuthenticationMethods = [][]string{{"publickey", "password"}}
	b.all.MaxConnections = 1
	b.start()
	asked, goOn := make(chan struct{}), make(chan struct{})
	halfway := make(chan error, 1)
	go func() {
		_, err := b.dial("alice", ssh.PublicKeys(key), ssh.PasswordCallback(func() (string, error) {
			close(asked)
			<-goOn
			return "", errors.New("forgotten")
		}))
		halfway <- err
	}()
	<-asked
	client := b.mustDial("alice", ssh.PublicKeys(key), ssh.Password("open sesame"))
	b.refusedFull("alice", ssh.PublicKeys(key), ssh.Password("open sesame"))
	close(goOn)
	if err := <-halfway; err == nil {
		t.Error("got in without the password")
	}
	b.close(client)
	b.mustDial("alice", ssh.PublicKeys(key), ssh.Password("open sesame"))
}

func TestNewMaxConnectionsHoldsForNewLogins(t *testing.T) {
	b := newBastion(t)
	key, _ := b.user("alice")
	var limit atomic.Int64
	b.cfg.Settings = func(policy.Subject) Settings {
		s := b.all
		s.MaxConnections = int(limit.Load())
		return s
	}
	b.start()
	var clients []*ssh.Client
	for range 3 { // there is no limit
		clients = append(clients, b.mustDial("alice", ssh.PublicKeys(key)))
	}
	limit.Store(2)
	b.Recheck()
	b.refusedFull("alice", ssh.PublicKeys(key))
	for _, c := range clients {
		if _, _, err := c.SendRequest("any", true, nil); err != nil {
			t.Errorf("who was there before: %v", err)
		}
	}
	b.close(clients[0])
	b.refusedFull("alice", ssh.PublicKeys(key))
	b.close(clients[1])
	b.mustDial("alice", ssh.PublicKeys(key))
	limit.Store(3)
	b.mustDial("alice", ssh.PublicKeys(key))
}

// ssh has another key, and a password, and tries neither.
func TestOpenSSHIsToldThatItIsOneTooMany(t *testing.T) {
	b := penalising(t)
	key, identity := b.user("alice")
	another, _ := newKey(t)
	b.all.MaxConnections = 1
	b.start()
	b.mustDial("alice", ssh.PublicKeys(key))
	cmd := b.asked(b.login("-i", identity, "-i", b.identity(another)), "a guess", "")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), strings.TrimSpace(wordsMaxConnections)) || strings.Contains(string(out), "Permission denied") {
		t.Errorf("ssh: got %v and %q, want to be told %q", err, out, wordsMaxConnections)
	}
	b.events.wait("connection.closed", "reason", errMaxConnections.Error())
	if got := b.events.count("authentication", "result", "refused"); got != 1 {
		t.Errorf("refusals: got %d, want 1", got)
	}
	if n := b.events.count("penalty"); n != 0 {
		t.Errorf("%d penalties, want none", n)
	}
}
