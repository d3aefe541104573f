package client

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"

	"github.com/culvert-ssh/culvert/internal/peers"
	"github.com/culvert-ssh/culvert/relay"
	"github.com/culvert-ssh/culvert/stripe"
)

// stripedBastion is a bastion that takes part in stripes, and can be watched and disturbed.
type stripedBastion struct {
	t       *testing.T
	host    ssh.Signer
	granted uint32        // side connections; 0 refuses them
	alone   bool          // no stream may be spread
	delay   time.Duration // of answers to global requests, as on a long line

	mu       sync.Mutex
	changed  chan struct{}
	turnAway error                           // what side connections are refused by; nil if they are let in
	key      ssh.PublicKey                   // of the first connection
	streams  map[stripe.Token]*stripe.Stream // that may have stripes
	first    *ssh.ServerConn
	sides    []*ssh.ServerConn       // that live, in the order in which they came
	tried    int                     // attempts to log in as one
	logins   int                     // those that were let in
	opened   map[*ssh.ServerConn]int // stripes, so far
	carried  []ssh.Channel           // those on side connections, in the order in which they came
	full     int                     // so many more stripes are refused
	turned   int                     // stripes that were refused, so far
}

// sideVersion is how a side connection identifies itself.
const sideVersion = "SSH-2.0-culvert stripe@culvert"

// startStriped starts one, and returns it with a Config that connects to it.
func startStriped(t *testing.T, granted uint32) (*stripedBastion, *Config) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &stripedBastion{
		t: t, granted: granted, changed: make(chan struct{}),
		streams: make(map[stripe.Token]*stripe.Stream), opened: make(map[*ssh.ServerConn]int),
	}
	if b.host, err = ssh.NewSignerFromKey(private); err != nil {
		t.Fatal(err)
	}
	at := peers.TestTCPServer(t, 2*patience, b.serve) // what is waited for must not come of its deadline
	cfg := NewConfig("", "alice")
	cfg.Host, cfg.Port = at.Addr().String(), at.Port()
	cfg.GlobalKnownHosts = nil
	cfg.UserKnownHosts = []string{filepath.Join(t.TempDir(), "known_hosts")}
	line := xknownhosts.Line([]string{at.String()}, b.host.PublicKey()) + "\n"
	if err := os.WriteFile(cfg.UserKnownHosts[0], []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	return b, cfg
}

// with does something with b.mu held, and tells those who wait.
func (b *stripedBastion) with(do func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	do()
	close(b.changed)
	b.changed = make(chan struct{})
}

// wait waits until look, which is called with b.mu held, reports true.
func (b *stripedBastion) wait(what string, look func() bool) {
	b.t.Helper()
	late := time.After(patience)
	for {
		b.mu.Lock()
		done, changed := look(), b.changed
		b.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-late:
			b.t.Fatalf("it never came to this: %s", what)
		}
	}
}

// stripes are how many were opened so far on side connections, and on the first.
func (b *stripedBastion) stripes() (sides, first int) {
	for conn, n := range b.opened {
		if conn == b.first {
			first += n
		} else {
			sides += n
		}
	}
	return sides, first
}

// config has whoever says that it is a side connection show the key; all others need nothing.
func (b *stripedBastion) config() *ssh.ServerConfig {
	isSide := func(m ssh.ConnMetadata) bool { return string(m.ClientVersion()) == sideVersion }
	config := &ssh.ServerConfig{
		NoClientAuth: true,
		NoClientAuthCallback: func(m ssh.ConnMetadata) (*ssh.Permissions, error) {
			if isSide(m) {
				return nil, errors.New("a key is needed")
			}
			return nil, nil
		},
		PublicKeyCallback: func(m ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			b.with(func() { b.tried++ })
			b.mu.Lock()
			defer b.mu.Unlock()
			if b.turnAway == nil && (!isSide(m) || b.key == nil || string(key.Marshal()) != string(b.key.Marshal())) {
				return nil, errors.New("unknown key")
			}
			return nil, b.turnAway
		},
	}
	config.AddHostKey(b.host)
	return config
}

// serve serves one connection.
func (b *stripedBastion) serve(c *net.TCPConn) {
	wire := relay.NewWire(c)
	conn, chans, reqs, err := ssh.NewServerConn(wire, b.config())
	if err != nil {
		return
	}
	side := string(conn.ClientVersion()) == sideVersion
	b.with(func() {
		if !side {
			b.first = conn
			return
		}
		b.sides = append(b.sides, conn)
		b.logins++
	})
	var wg sync.WaitGroup
	wg.Go(func() { b.requests(side, reqs) })
	for nc := range chans {
		switch {
		case nc.ChannelType() == stripe.ChannelType:
			b.stripe(conn, nc)
		case nc.ChannelType() == "direct-tcpip" && !side:
			wg.Go(func() { b.forward(wire, nc) })
		default:
			_ = nc.Reject(ssh.Prohibited, "not here")
		}
	}
	b.with(func() {
		b.sides = slices.DeleteFunc(b.sides, func(c *ssh.ServerConn) bool { return c == conn })
		if conn == b.first {
			b.first = nil
		}
	})
	_ = conn.Close()
	wg.Wait()
}

func (b *stripedBastion) requests(side bool, reqs <-chan *ssh.Request) {
	for r := range reqs {
		time.Sleep(b.delay)
		var m struct{ Key []byte }
		switch {
		case r.Type == relay.EndOfDataRequest && !side:
			_ = r.Reply(true, nil)
		case r.Type == stripe.Request && !side && b.granted > 0 && ssh.Unmarshal(r.Payload, &m) == nil:
			key, err := ssh.ParsePublicKey(m.Key)
			if err != nil || key.Type() != ssh.KeyAlgoED25519 {
				b.t.Errorf("got the key %x, %v; want one of %s", m.Key, err, ssh.KeyAlgoED25519)
			}
			b.with(func() { b.key = key })
			_ = r.Reply(true, ssh.Marshal(struct{ Most uint32 }{b.granted}))
		case r.WantReply:
			_ = r.Reply(false, nil)
		}
	}
}

// stripe attaches a stripe to its stream.
func (b *stripedBastion) stripe(conn *ssh.ServerConn, nc ssh.NewChannel) {
	token, err := stripe.ParseToken(nc.ExtraData())
	b.mu.Lock()
	s, reserve := b.streams[token], conn == b.first
	full := b.full > 0 && !reserve
	b.mu.Unlock()
	if err != nil || s == nil {
		_ = nc.Reject(ssh.Prohibited, "no such stream")
		return
	}
	if full {
		b.with(func() { b.full--; b.turned++ })
		_ = nc.Reject(ssh.ResourceShortage, "full")
		return
	}
	ch, reqs, err := nc.Accept()
	if err != nil {
		return
	}
	if err := s.Attach(ch, reqs, reserve, nil); err != nil {
		b.t.Logf("attach: %v", err)
		return
	}
	b.with(func() {
		b.opened[conn]++
		if !reserve {
			b.carried = append(b.carried, ch)
		}
	})
}

// forward carries one stream, which may be spread.
func (b *stripedBastion) forward(wire *relay.Wire, nc ssh.NewChannel) {
	var to directTCPIP
	if err := ssh.Unmarshal(nc.ExtraData(), &to); err != nil {
		b.t.Error(err)
	}
	far, err := relay.Dial(context.Background(), netip.Addr{}, net.JoinHostPort(to.Host, fmt.Sprint(to.Port)), patience)
	if err != nil {
		_ = nc.Reject(ssh.ConnectionFailed, err.Error())
		return
	}
	ch, reqs, err := nc.Accept()
	if err != nil {
		far.Abort()
		return
	}
	var token stripe.Token
	made := make(chan *stripe.Stream, 1)
	s := stripe.New(ch, reqs, stripe.Config{
		ChannelConfig: relay.ChannelConfig{Wire: wire, EndOfData: true},
		Ask: func(t stripe.Token) bool {
			if b.alone {
				return false
			}
			b.with(func() { token, b.streams[t] = t, <-made })
			return true
		},
	})
	made <- s
	_ = relay.Join(context.Background(), s, far, nil) // the other end tells
	b.with(func() { delete(b.streams, token) })
}
