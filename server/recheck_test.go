package server

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/auth"
	"github.com/culvert-ssh/culvert/policy"
)

func TestRecheckEndsWhoIsNotLetInAnyMore(t *testing.T) {
	b := newBastion(t)
	alice, _ := b.user("alice")
	mallory, _ := b.user("mallory")
	b.start()
	stays := b.mustDial("alice", ssh.PublicKeys(alice))
	idle := b.mustDial("mallory", ssh.PublicKeys(mallory)) // without a channel
	busy := b.mustDial("mallory", ssh.PublicKeys(mallory))
	session, err := busy.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	session.Stderr = &said
	if err := session.Shell(); err != nil {
		t.Fatal(err)
	}
	b.Recheck()
	if _, _, err := busy.SendRequest("any", true, nil); err != nil {
		t.Fatalf("nothing has changed, and mallory is gone: %v", err)
	}

	if err := os.Remove(filepath.Join(b.dir, "mallory.keys")); err != nil {
		t.Fatal(err)
	}
	b.Recheck()
	_ = idle.Wait()
	_ = busy.Wait()
	_ = session.Wait()
	if want := "no longer permitted to log in"; !strings.Contains(said.String(), want) {
		t.Errorf("the session was told %q, want %q", said.String(), want)
	}
	b.events.wait("connection.closed", "conn", "2", "user", "mallory", "reason", "no longer permitted to log in: ")
	b.events.wait("connection.closed", "conn", "3", "user", "mallory", "reason", "no longer permitted to log in: ")
	if _, _, err := stays.SendRequest("any", true, nil); err != nil {
		t.Errorf("alice: %v", err)
	}
}

func TestRecheckAsksByTheGroupsOfToday(t *testing.T) {
	b := newBastion(t)
	key, _ := b.user("alice")
	if err := auth.SetGroups(b.auth.PasswordFile, "alice", []string{"staff"}); err != nil {
		t.Fatal(err)
	}
	staff, err := policy.MatchGroup("staff")
	if err != nil {
		t.Fatal(err)
	}
	b.policy.Blocks = []policy.Block{{Source: "sshd_config:8", Criteria: policy.Criteria{staff}, Rules: policy.Rules{
		AllowTCPForwarding: &policy.Line[policy.Forwarding]{Value: policy.ForwardLocal},
		PermitOpen:         &policy.Line[[]policy.OpenPattern]{Source: "sshd_config:9", Value: []policy.OpenPattern{policy.AnyOpen()}},
	}}}
	b.cfg.Decide = func(r policy.Request) policy.Decision { return b.policy.Decide(r) }
	b.start()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	busy, idle := b.mustDial("alice", ssh.PublicKeys(key)), b.mustDial("alice", ssh.PublicKeys(key))
	open, err := busy.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	if err := auth.SetGroups(b.auth.PasswordFile, "alice", nil); err != nil {
		t.Fatal(err)
	}
	b.Recheck()
	b.events.wait("channel.closed", "type", "direct-tcpip", "reason", "the policy changed")
	for name, client := range map[string]*ssh.Client{"with a channel before": busy, "without one": idle} {
		if c, err := client.Dial("tcp", l.Addr().String()); err == nil {
			t.Errorf("%s: alice, who is in no group any more, opened a channel that only staff may have", name)
			c.Close()
		}
	}
}

// Whoever logs in while the rules change is let in by the old ones or the new ones, and stays by the new ones
// only.
func TestNobodySlipsInWhileTheRulesChange(t *testing.T) {
	b := newBastion(t)
	key, _ := b.user("alice")
	var closed atomic.Bool
	between := make(chan struct{})
	var once sync.Once
	b.authFor = func(policy.Subject) auth.Settings {
		s := b.auth
		s.PubkeyAuthentication = !closed.Load()
		return s
	}
	wait := b.events.fail
	b.events.fail = func(e event) error {
		if e["event"] == "authentication" { // alice is let in, and nobody knows it yet
			once.Do(func() {
				closed.Store(true)
				b.Recheck()
				close(between)
			})
		}
		if wait != nil {
			return wait(e)
		}
		return nil
	}
	b.start()
	client, err := b.dial("alice", ssh.PublicKeys(key))
	<-between
	if err == nil {
		_ = client.Wait()
	}
	b.events.wait("connection.closed", "reason", "no longer permitted to log in: PubkeyAuthentication is no")
}

func TestRechecksRaceWithLogins(t *testing.T) {
	b := newBastion(t)
	alice, _ := b.user("alice")
	mallory, _ := b.user("mallory")
	var closed atomic.Bool // to mallory
	b.authFor = func(s policy.Subject) auth.Settings {
		set := b.auth
		set.PubkeyAuthentication = s.User == "alice" || !closed.Load()
		return set
	}
	b.start()
	var users sync.WaitGroup
	for range 8 {
		users.Go(func() {
			if c, err := b.dial("alice", ssh.PublicKeys(alice)); err != nil {
				t.Errorf("alice: %v", err)
			} else if _, _, err := c.SendRequest("any", true, nil); err != nil {
				t.Errorf("alice: %v", err)
			}
		})
		users.Go(func() {
			if c, err := b.dial("mallory", ssh.PublicKeys(mallory)); err == nil {
				_ = c.Wait()
			}
		})
	}
	for range 20 {
		if err := b.Update(b.cfg.Live); err != nil {
			t.Error(err)
		}
		b.Recheck()
	}
	closed.Store(true)
	b.Recheck()
	users.Wait() // mallory's connections end, whenever they came
}

func TestDrainEndsWithTheLastConnection(t *testing.T) {
	b := newBastion(t)
	key, _ := b.user("alice")
	b.start()
	client := b.mustDial("alice", ssh.PublicKeys(key))
	if !b.Ready() {
		t.Error("it is not ready")
	}
	drained := make(chan error, 1)
	go func() { drained <- b.Drain(t.Context()) }()
	for end := time.Now().Add(patience); b.Ready(); {
		if time.Now().After(end) {
			t.Fatal("it stays ready")
		}
	}
	if c, err := net.Dial("tcp", b.addr); err == nil {
		t.Error("it still listens")
		c.Close()
	}
	if _, _, err := client.SendRequest("any", true, nil); err != nil {
		t.Errorf("the connection ended: %v", err)
	}
	select {
	case err := <-drained:
		t.Fatalf("Drain returned %v with a connection left", err)
	default:
	}
	client.Close()
	if err := <-drained; err != nil {
		t.Errorf("Drain: %v", err)
	}
}

func TestDrainWaitsForWhoComesByAProxy(t *testing.T) {
	b := proxied(t)
	key, _ := b.user("alice")
	b.start()
	c := b.connect()
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		b.mu.Lock()
		n := len(b.nameless)
		b.mu.Unlock()
		if n == 1 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the connection doesn't come")
		}
	}
	drained := make(chan error, 1)
	go func() { drained <- b.Drain(t.Context()) }()
	for b.Ready() {
		time.Sleep(time.Millisecond)
	}
	if _, err := io.WriteString(c, header(t, 2, "203.0.113.7:7000")); err != nil {
		t.Fatal(err)
	}
	conn, chans, reqs, err := ssh.NewClientConn(c, b.addr, b.clientConfig("alice", ssh.PublicKeys(key)))
	if err != nil {
		t.Fatal(err)
	}
	client := ssh.NewClient(conn, chans, reqs)
	select {
	case err := <-drained:
		t.Errorf("Drain returned %v with a connection left", err)
	default:
	}
	client.Close()
	if err := <-drained; err != nil {
		t.Errorf("Drain: %v", err)
	}
}

func TestDrainThatIsBrokenOffLetsItServeAgain(t *testing.T) {
	b := newBastion(t)
	key, _ := b.user("alice")
	b.start()
	b.mustDial("alice", ssh.PublicKeys(key))
	ctx, stop := context.WithCancelCause(t.Context())
	why := errors.New("serving again")
	stop(why)
	if err := b.Drain(ctx); !errors.Is(err, why) {
		t.Fatalf("Drain: got %v, want %v", err, why)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- b.Serve(l) }()
	b.ContinueAfter(100)
	b.addr = l.Addr().String()
	b.mustDial("alice", ssh.PublicKeys(key))
	b.events.wait("connection.opened", "conn", "101")
	if err := b.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-served; !errors.Is(err, ErrServerClosed) {
		t.Errorf("Serve: got %v, want ErrServerClosed", err)
	}
}

func TestRecheckTellsOfWhatItCloses(t *testing.T) {
	b := newBastion(t)
	key, _ := b.user("alice")
	place, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer place.Close()
	word, err := policy.ParseOpenPattern(place.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	var rules atomic.Pointer[policy.Policy]
	rules.Store(&policy.Policy{Global: policy.Rules{
		AllowTCPForwarding: &policy.Line[policy.Forwarding]{Value: policy.ForwardAll},
		PermitOpen:         &policy.Line[[]policy.OpenPattern]{Source: "sshd_config:1", Value: []policy.OpenPattern{word}},
	}})
	b.cfg.Decide = func(r policy.Request) policy.Decision { return rules.Load().Decide(r) }
	b.start()
	client := b.mustDial("alice", ssh.PublicKeys(key))
	session, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	told, err := session.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := session.Shell(); err != nil {
		t.Fatal(err)
	}
	open, err := client.Dial("tcp", place.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	rules.Store(&policy.Policy{Global: policy.Rules{
		AllowTCPForwarding: &policy.Line[policy.Forwarding]{Source: "sshd_config:2", Value: policy.ForwardNone},
	}})
	b.Recheck()
	if _, err := open.Read(make([]byte, 1)); err == nil {
		t.Error("the channel lives on")
	}
	b.events.wait("channel.closed", "rule", "sshd_config:2", "reason", "the policy changed: ")
	line, err := bufio.NewReader(told).ReadString('\n')
	if want := "the policy has changed, and 1 of what was open here is closed"; err != nil || !strings.Contains(line, want) {
		t.Errorf("the session was told %q, %v; want %q", line, err, want)
	}
	if _, _, err := client.SendRequest("any", true, nil); err != nil {
		t.Errorf("the connection: %v", err)
	}
}
