package client

import (
	"crypto/ed25519"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/stripe"
)

// testSides has so many side connections to a bastion of ours that grants so many.
func testSides(asked Stripes, n int) *sides {
	s := &sides{asked: asked, most: n, changed: make(chan struct{}), random: func() float64 { return 0 }}
	s.first = &connection{done: make(chan struct{})}
	for range n {
		s.there = append(s.there, &side{&connection{done: make(chan struct{})}})
	}
	return s
}

// spreads is one more stream that moves.
func (s *sides) spreads() *spreading {
	x := &spreading{sides: s, reserve: &side{s.first}, settled: make(chan struct{}, 1)}
	x.starts()
	s.join(&x.user)
	return x
}

// chosen has x choose, and have what it has chosen, and returns on how many side connections more it is, and which.
func (x *spreading) chosen() []*side {
	next := x.choose().next
	for _, at := range next {
		x.sit(at)
	}
	return slices.DeleteFunc(next, func(at *side) bool { return at == x.reserve })
}

// Of as many streams at once as there are side connections, each new one is on fewer.
func TestManyStreamsShareTheSideConnections(t *testing.T) {
	s := testSides(AutoStripes, 4)
	var got []int
	for range 5 {
		got = append(got, len(s.spreads().chosen()))
	}
	if want := []int{4, 2, 2, 1, 1}; !slices.Equal(got, want) {
		t.Errorf("got %v side connections for each, want %v", got, want)
	}
	for x, l := range s.loads(time.Now()) {
		if l.all > 3 && slices.Contains(s.there, x) {
			t.Errorf("a side connection carries %d of 10 stripes, want that all carry nearly the same", l.all)
		}
	}
}

func TestReserveIsOneOfTheMostStripesThatThereMayBe(t *testing.T) {
	s := testSides(stripe.Max, stripe.Max)
	x := s.spreads()
	got := len(x.chosen())
	x.chosen()
	if all := x.choose(); got != stripe.Max-1 || len(x.on) != stripe.Max || len(all.next) != 0 {
		t.Errorf("got %d side connections and %d stripes, and %d to be opened still; want %d of %d, and none", got, len(x.on), len(all.next), stripe.Max-1, stripe.Max)
	}
}

func TestStreamThatStandsStillLeavesItsShareToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := testSides(AutoStripes, 8)
		var idle []*spreading
		for range 16 {
			x := s.spreads()
			x.chosen()
			idle = append(idle, x)
		}
		time.Sleep(quiet + time.Second)
		for _, x := range idle {
			more := len(x.chosen())
			if after := x.choose().after; more != 0 || after != 0 {
				t.Fatalf("one that stands still wants %d side connections more, and to look again in %v; want nothing", more, after)
			}
		}
		x := s.spreads()
		if got := len(x.chosen()); got != 8 {
			t.Errorf("a new stream is on %d side connections, want 8", got)
		}
		woken := idle[len(idle)-1]
		had := woken.seats()
		if !woken.move(earlyBytes) {
			t.Error("that a stream moves again is no news")
		}
		if got := had + len(woken.chosen()); had != 1 || got != 4 {
			t.Errorf("one that moves again is on %d side connections in place of %d, want 4 in place of 1", got, had)
		}
	})
}

func TestStreamGetsMoreWhenAnotherHasBecomeQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := testSides(AutoStripes, 4)
		s.spreads().chosen()
		x := s.spreads()
		x.chosen()
		after := x.choose().after
		if got := x.seats(); got != 2 || after != quiet {
			t.Fatalf("got %d side connections, and another look after %v; want 2 and %v", got, after, quiet)
		}
		time.Sleep(after + time.Millisecond)
		x.move(earlyBytes)
		x.chosen()
		if got := x.seats(); got != 4 {
			t.Errorf("got %d side connections when the other is quiet, want 4", got)
		}
		if after := x.choose().after; after != 0 {
			t.Errorf("one that has all looks again after %v, want never", after)
		}
	})
}

func TestWhatStandsStillIsNoLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := testSides(AutoStripes, 2)
		on := func(i int) {
			u := &user{on: map[*side]*seat{s.there[i]: {taken: true}}}
			u.starts()
			s.join(u)
		}
		for range 3 {
			on(0)
		}
		time.Sleep(quiet + time.Second)
		on(1)
		any := func(*side) bool { return true }
		if x := leastOf(s.there, s.loads(time.Now()), any); x != s.there[0] {
			t.Errorf("got the side connection that carries %+v, want the one where nothing moves", s.loads(time.Now())[x])
		}
		time.Sleep(quiet + time.Second)
		if x := leastOf(s.there, s.loads(time.Now()), any); x != s.there[1] {
			t.Errorf("got the side connection that carries %+v, want the one with the fewest when nothing moves at all", s.loads(time.Now())[x])
		}
	})
}

// A bastion that refuses a stripe is asked a few times.
func TestStripeIsTriedAgainAFewTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := testSides(1, 1)
		x := s.spreads()
		began, asked := time.Now(), 0
		for {
			p := x.choose()
			for _, at := range p.next {
				asked++
				x.lose(at)
			}
			if len(p.next) > 0 {
				continue
			}
			if p.after == 0 {
				break
			}
			time.Sleep(p.after)
		}
		if took := time.Since(began); asked != stripeTries || took < 5*time.Second || took > 15*time.Second {
			t.Errorf("got %d attempts in %v, want %d in some seconds", asked, took, stripeTries)
		}
	})
}

func TestStripeThatHasLivedHasItsAttemptsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := testSides(1, 1)
		x := s.spreads()
		for range 3 * stripeTries {
			if got := len(x.chosen()); got != 1 {
				t.Fatalf("got %d stripes, want one", got)
			}
			time.Sleep(steady)
			x.lose(s.there[0])
			time.Sleep(x.choose().after)
		}
	})
}

// TestStripeThatHasEndedIsOpenedAgainWhereItWas has the bastion close one, as when it is stuck, while the connection goes on.
func TestStripeThatHasEndedIsOpenedAgainWhereItWas(t *testing.T) {
	b, cfg := startStriped(t, 2)
	cfg.Stripes = 2
	c := connectTo(t, cfg)
	s := openTo(t, c, echo(t))
	wantEcho(t, s, 1<<20)
	b.mu.Lock()
	_ = b.carried[0].Close()
	b.mu.Unlock()
	b.wait("a third stripe", func() bool { sides, _ := b.stripes(); return sides == 3 })
	wantEcho(t, s, 1<<20)
	b.mu.Lock()
	if len(b.sides) != 2 || b.logins != 2 {
		t.Errorf("got %d logins, and %d side connections now; want the two that there were", b.logins, len(b.sides))
	}
	b.mu.Unlock()
	wantEnds(t, s)
}

func TestStripeThatIsRefusedIsOpenedALittleLater(t *testing.T) {
	b, cfg := startStriped(t, 2)
	cfg.Stripes = 2
	b.full = 3
	c := connectTo(t, cfg)
	s := openTo(t, c, echo(t))
	wantEcho(t, s, 1<<20)
	b.wait("two stripes", func() bool { sides, _ := b.stripes(); return sides == 2 && b.turned == 3 })
	wantEcho(t, s, 1<<20)
	wantEnds(t, s)
}

// TestStandingStreamsLeaveStripesToANewTransfer has as many streams as may have stripes because they have once answered with more than a little, and a transfer after
// these.
func TestStandingStreamsLeaveStripesToANewTransfer(t *testing.T) {
	b, cfg := startStriped(t, 8)
	b.delay = 3 * longLine
	c := connectTo(t, cfg)
	<-c.sides.agreed
	most, f := c.sides.most, echo(t)
	for i := range stripe.MaxStreams {
		s := openTo(t, c, f)
		wantEcho(t, s, earlyBytes*3/4)
		wantEcho(t, s, earlyBytes*3/8) // so that it crosses the threshold, and moves nothing worth mentioning after that
		if i == 0 {
			b.wait("stripes of the first", func() bool { sides, _ := b.stripes(); return sides == most })
		}
		if i < lightStreams {
			b.wait("a token for each", func() bool { return len(b.streams) == i+1 })
		}
	}
	c.sides.leave(func() {
		for u := range c.sides.users {
			u.mu.Lock()
			u.moving = time.Time{}
			u.mu.Unlock()
		}
	})
	had := make(map[stripe.Token]bool)
	b.mu.Lock()
	for token := range b.streams {
		had[token] = true
	}
	b.mu.Unlock()
	if len(had) != lightStreams {
		t.Errorf("got %d streams that stripes were asked for, want %d", len(had), lightStreams)
	}
	s := openTo(t, c, f)
	wantEcho(t, s, muchBytes)
	b.wait("all stripes, and the reserve, of the transfer", func() bool {
		for token, stream := range b.streams {
			if !had[token] {
				return stream.Stripes() == most+1
			}
		}
		return false
	})
	wantEcho(t, s, 1<<20)
	wantEnds(t, s)
}

// TestBastionThatWasFullIsAskedAgain has one that refuses the key of side connections for a while.
func TestBastionThatWasFullIsAskedAgain(t *testing.T) {
	b, cfg := startStriped(t, 3)
	b.turnAway = errors.New("full")
	cfg.Stripes = 3
	c := connectTo(t, cfg)
	<-c.sides.agreed
	c.sides.leave(func() { c.sides.denial = time.Millisecond })
	s := openTo(t, c, echo(t))
	b.wait("some attempts", func() bool { return b.tried >= 4 })
	c.sides.mu.Lock()
	if keepers := c.sides.keepers; keepers != 1 {
		t.Errorf("got %d who ask, want one alone", keepers)
	}
	c.sides.mu.Unlock()
	b.with(func() { b.turnAway = nil })
	b.wait("all side connections, with stripes", func() bool { sides, _ := b.stripes(); return len(b.sides) == 3 && sides == 3 })
	wantEcho(t, s, 1<<20)
	wantEnds(t, s)
}

func TestWhoIsTurnedAwayAsksLessAndLess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := testSides(4, 0)
		s.ctx, s.denial, s.idle = t.Context(), leastDenial, sideIdle
		_, private, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		if s.key, err = ssh.NewSignerFromKey(private); err != nil {
			t.Fatal(err)
		}
		x := s.spreads()
		turnedAway := func() (again bool, took time.Duration) {
			began := time.Now()
			s.leave(func() { s.making = 1 })
			again = s.turnedAway()
			return again, time.Since(began)
		}
		var got []time.Duration
		for range 8 {
			again, took := turnedAway()
			if !again {
				t.Fatalf("after %v: nobody asks again, and a stream wants it", got)
			}
			got = append(got, took)
		}
		want := []time.Duration{1, 2, 4, 8, 16, 32, 60, 60}
		for i := range want {
			want[i] *= time.Minute
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %v between the attempts, want %v", got, want)
		}
		s.leave(func() { s.denied = true })
		if again, took := turnedAway(); again || took != 0 {
			t.Errorf("got %v after %v, want that one asks again, not two", again, took)
		}
		s.leave(func() { s.denied = false })
		s.part(&x.user)
		if again, _ := turnedAway(); again {
			t.Error("the bastion is asked again, and nobody needs it")
		}
	})
}

func TestForeignServerThatTurnsUsAwayIsNotAskedAgain(t *testing.T) {
	s := testSides(4, 0)
	s.ctx, s.denial = t.Context(), leastDenial
	s.spreads()
	s.making++
	if s.turnedAway() {
		t.Error("it is asked again")
	}
	s.need()
	if s.keepers != 0 {
		t.Errorf("got %d keepers, want none", s.keepers)
	}
}
