package server

import (
	"net/netip"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

func TestMaxStartups(t *testing.T) {
	b := newBastion(t)
	key, _ := b.user("alice")
	b.cfg.MaxStartups = Startups{1, 100, 1}
	b.start()
	// A place is given back by authentication ...
	b.mustDial("alice", ssh.PublicKeys(key))
	first := b.connect()
	b.events.wait("connection.opened", "client", first.LocalAddr().String())
	if got, want := gone(t, b.connect()), "Exceeded MaxStartups\r\n"; got != want {
		t.Errorf("second: got %q, want %q", got, want)
	}
	if got := b.events.count("connection.opened"); got != 2 {
		t.Errorf("connections: got %d, want 2", got)
	}
	// ... and by the end of a connection.
	first.Close()
	b.events.wait("connection.closed", "client", first.LocalAddr().String())
	b.mustDial("alice", ssh.PublicKeys(key))
}

func TestEarlyDrop(t *testing.T) {
	for _, tt := range []struct {
		limit   Startups
		others  int
		percent int // refused
	}{
		{Startups{10, 30, 100}, 0, 0},
		{Startups{10, 30, 100}, 9, 0},
		{Startups{10, 30, 100}, 10, 30},
		{Startups{10, 30, 100}, 55, 65},
		{Startups{10, 30, 100}, 99, 99},
		{Startups{10, 30, 100}, 100, 100},
		{Startups{10, 30, 100}, 1000, 100},
		{Startups{5, 100, 5}, 4, 0},
		{Startups{5, 100, 5}, 5, 100},
		{Startups{5, 0, 10}, 5, 0},
	} {
		refused := 0
		for random := range 100 {
			if tt.limit.refuses(tt.others, random) {
				refused++
			}
		}
		if refused != tt.percent {
			t.Errorf("%v with %d: got %d%% refused, want %d%%", tt.limit, tt.others, refused, tt.percent)
		}
	}
}

func TestPlaceThatIsLostBeforeItIsOccupiedPutsItsConnectionOut(t *testing.T) {
	s := startups{random: func(int) int { return 0 }, pending: newPending()}
	rules := &sharing{startups: Startups{2, 100, 2}, blocks: blocks{32, 128}}
	attacker, now := netip.MustParseAddr("192.0.2.1"), time.Now()
	first, _ := s.admit(rules, attacker, now)
	s.admit(rules, attacker, now)
	if got, reason := s.admit(rules, netip.MustParseAddr("198.51.100.1"), now); got == nil {
		t.Fatalf("the newcomer is refused: %s", reason)
	}
	out := false
	s.occupy(first, func() { out = true })
	if !out {
		t.Error("it isn't put out")
	}
	s.leave(first)
	s.leave(first)
	if s.pending.places != 2 {
		t.Errorf("places: got %d, want 2", s.pending.places)
	}
}
