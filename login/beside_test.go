package login

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/internal/peers"
)

// sideGate is a gate that takes a password for the first connection, and for others a key.
type sideGate struct {
	gate
	signer  ssh.Signer
	mu      sync.Mutex
	said    []string // identifications of who has got in
	changed func()   // has the gate show another host key from now on
}

func startSideGate(t *testing.T) *sideGate {
	t.Helper()
	g := &sideGate{signer: newSigner(t)}
	config := &ssh.ServerConfig{
		PasswordCallback: func(c ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
			if string(password) != "right" {
				return nil, errors.New("wrong")
			}
			g.enter(c)
			return nil, nil
		},
		PublicKeyCallback: func(c ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			if string(key.Marshal()) != string(g.signer.PublicKey().Marshal()) {
				return nil, errors.New("unknown key")
			}
			return nil, nil
		},
		VerifiedPublicKeyCallback: func(c ssh.ConnMetadata, _ ssh.PublicKey, p *ssh.Permissions, _ string) (*ssh.Permissions, error) {
			g.enter(c)
			return p, nil
		},
	}
	g.gate = startGate(t, config)
	g.changed = func() { config.AddHostKey(newSigner(t)) } // of the same type, which it takes the place of
	return g
}

func (g *sideGate) enter(c ssh.ConnMetadata) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.said = append(g.said, c.User()+" "+string(c.ClientVersion()))
}

// first connects with the password.
func (g *sideGate) first(t *testing.T) (*Conn, *answers) {
	t.Helper()
	person := &answers{give: []string{"right"}}
	cfg := g.config(t)
	cfg.Ask = person.ask
	c, err := tryConn(t, cfg)
	if err != nil {
		t.Fatal(err)
	}
	serving(t, c)
	return c, person
}

func TestConnectionBesideLogsInByItsKeyAlone(t *testing.T) {
	g := startSideGate(t)
	c, person := g.first(t)
	side, err := c.Beside(t.Context(), g.signer, "for@this")
	if err != nil {
		t.Fatal(err)
	}
	serving(t, side)
	g.mu.Lock()
	defer g.mu.Unlock()
	if got, want := strings.Join(g.said, ", "), "alice SSH-2.0-culvert, alice SSH-2.0-culvert for@this"; got != want {
		t.Errorf("got in: %s; want %s", got, want)
	}
	if len(person.asked) != 1 {
		t.Errorf("the person was asked %q, want one question, for the first connection", person.asked)
	}
	if a, b := c.LocalAddr().(*net.TCPAddr), side.LocalAddr().(*net.TCPAddr); !a.IP.Equal(b.IP) || c.RemoteAddr().String() != side.RemoteAddr().String() {
		t.Errorf("got a connection from %v to %v, want the addresses of the first, %v and %v", b, side.RemoteAddr(), a, c.RemoteAddr())
	}
}

func TestConnectionBesideIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		key    func(*testing.T, *sideGate) ssh.Signer
		before func(*sideGate)
		want   string
	}{
		"for another key":      {key: func(t *testing.T, _ *sideGate) ssh.Signer { return newSigner(t) }, want: "isn't taken there"},
		"with nothing to show": {key: func(*testing.T, *sideGate) ssh.Signer { return nil }, want: "no key to offer"},
		"by another host key": {
			key:    func(_ *testing.T, g *sideGate) ssh.Signer { return g.signer },
			before: func(g *sideGate) { g.changed() }, want: "another host key",
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := startSideGate(t)
			c, person := g.first(t)
			if test.before != nil {
				test.before(g)
			}
			side, err := c.Beside(t.Context(), test.key(t, g), "")
			if err == nil {
				serving(t, side)
				t.Fatal("it was made")
			}
			if !strings.Contains(err.Error(), test.want) || errors.Is(err, ErrUnreachable) {
				t.Errorf("got %v (passing: %v), want one with %q that doesn't pass", err, errors.Is(err, ErrUnreachable), test.want)
			}
			if len(person.asked) != 1 {
				t.Errorf("the person was asked %q, want nothing after the first connection", person.asked)
			}
		})
	}
}

func TestConnectionBesideGoesThroughTheSameJumpHost(t *testing.T) {
	f := peers.TestTCPServer(t, patience, func(c *net.TCPConn) { _, _ = c.Write([]byte("hello")) })
	c := newChain(t, "a", "b")
	first, err := c.connect(t, "b", "a")
	if err != nil {
		t.Fatal(err)
	}
	serving(t, first)
	var sides []*Conn
	for range 2 {
		side, err := first.Beside(t.Context(), nil, "")
		if err != nil {
			t.Fatal(err)
		}
		serving(t, side)
		sides = append(sides, side)
	}
	_ = sides[0].Close()
	reaches(t, sides[1], net.TCPAddrFromAddrPort(f))
	reaches(t, first, net.TCPAddrFromAddrPort(f))
	if a, b := c.logins("a"), c.logins("b"); a != 1 || b != 3 {
		t.Errorf("got %d logins to the jump host and %d to the bastion, want 1 and 3", a, b)
	}
	_ = first.Close()
	if err := sides[1].Wait(); err == nil {
		t.Error("the connection beside has ended in order, want that it was lost with the jump host")
	}
}

func TestConnectionBesideIsGivenUpWhenTheContextEnds(t *testing.T) {
	g := startSideGate(t)
	c, _ := g.first(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if side, err := c.Beside(ctx, g.signer, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, %v; want that it was cancelled", side, err)
	}
}
