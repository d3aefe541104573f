package server

import (
	"testing"

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

func TestStartupIsReleasedOnce(t *testing.T) {
	s := startups{limit: Startups{1, 100, 1}, random: func(int) int { return 0 }}
	release, _, ok := s.admit()
	if !ok {
		t.Fatal("the first is refused")
	}
	release()
	release()
	if s.pending != 0 {
		t.Errorf("pending: got %d, want 0", s.pending)
	}
}
