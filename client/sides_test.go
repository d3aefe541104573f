package client

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/culvert-ssh/culvert/relay"
)

// connectTo connects with cfg until the test ends.
func connectTo(t *testing.T, cfg *Config) *connection {
	t.Helper()
	c, err := connect(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// openTo opens a stream to f.
func openTo(t *testing.T, c *connection, f Forward) relay.Stream {
	t.Helper()
	s, err := c.Open(t.Context(), f.Host, f.HostPort, netip.AddrPort{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Abort)
	return s
}

// echo is a destination that sends back what it gets.
func echo(t *testing.T) Forward {
	t.Helper()
	return destination(t, func(c *net.TCPConn) { _, _ = io.Copy(c, c); _ = c.CloseWrite() })
}

// wantEcho sends n bytes through s, which leads to echo, and wants them back. The stream goes on.
func wantEcho(t *testing.T, s relay.Stream, n int) {
	t.Helper()
	sent := bytes.Repeat([]byte("culvert!"), n/8)
	failed := make(chan error, 1)
	go func() {
		_, err := s.Write(sent)
		failed <- err
	}()
	got := make([]byte, len(sent))
	if n, err := io.ReadFull(s, got); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("got %d bytes of %d, %v; want what was sent", n, len(sent), err)
	}
	if err := <-failed; err != nil {
		t.Errorf("write: %v", err)
	}
}

// wantEnd ends a stream that leads to echo.
func wantEnds(t *testing.T, s relay.Stream) {
	t.Helper()
	if err := s.CloseWrite(); err != nil {
		t.Error(err)
	}
	if n, err := io.Copy(io.Discard, s); n != 0 || err != nil {
		t.Errorf("got %d bytes and %v after the end, want nothing", n, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestStreamHasTheStripesOfTheirNumberFromItsBeginningOn(t *testing.T) {
	for name, test := range map[string]struct {
		asked   Stripes
		granted uint32
		want    int
	}{
		"as many as are asked for": {asked: 3, granted: 8, want: 3},
		"as many as are granted":   {asked: 4, granted: 2, want: 2},
	} {
		t.Run(name, func(t *testing.T) {
			b, cfg := startStriped(t, test.granted)
			cfg.Stripes = test.asked
			c := connectTo(t, cfg)
			for range 2 {
				s := openTo(t, c, echo(t))
				b.wait("a stripe on each side connection and one on the first", func() bool {
					sides, first := b.stripes()
					return sides >= test.want && first == sides/test.want
				})
				wantEcho(t, s, 1<<20)
				wantEnds(t, s)
			}
			b.mu.Lock()
			defer b.mu.Unlock()
			if sides, first := b.stripes(); sides != 2*test.want || first != 2 || b.logins != test.want {
				t.Errorf("got %d stripes on %d side connections and %d on the first; want %d on %d, and one of each stream", sides, b.logins, first, 2*test.want, test.want)
			}
		})
	}
}

func TestStripesComeWhenAStreamOnALongLineTurnsOutToBeLong(t *testing.T) {
	b, cfg := startStriped(t, 8)
	b.delay = longLine
	c := connectTo(t, cfg)
	s := openTo(t, c, echo(t))
	wantEcho(t, s, earlyBytes/2)
	b.mu.Lock()
	if b.logins != 0 {
		t.Errorf("got %d side connections after %d bytes, want none", b.logins, earlyBytes/2)
	}
	b.mu.Unlock()
	wantEcho(t, s, earlyBytes)
	b.wait("stripes", func() bool { sides, first := b.stripes(); return sides == fewestStripes && first == 1 })
	wantEcho(t, s, 1<<20)
	wantEnds(t, s)
}

func TestNobodyIsAskedForStripesOnAShortLine(t *testing.T) {
	b, cfg := startStriped(t, 8)
	c := connectTo(t, cfg)
	<-c.sides.agreed
	s := openTo(t, c, echo(t))
	wantEcho(t, s, 1<<20)
	wantEnds(t, s)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.key != nil && c.sides.most != 0 { // the request itself may have been needed to find out
		t.Errorf("got %d side connections agreed on, want none", c.sides.most)
	}
	if b.logins != 0 {
		t.Errorf("got %d side connections, want none", b.logins)
	}
}

// TestBastionThatHasNoStripesIsUsedWithout has bastions that refuse, each in its way.
func TestBastionThatHasNoStripesIsUsedWithout(t *testing.T) {
	for name, refuse := range map[string]func(*stripedBastion){
		"the request is refused":           func(b *stripedBastion) { b.granted = 0 },
		"it is another one that answers":   func(b *stripedBastion) { b.turnAway = errors.New("who is that?") },
		"the streams are not to be spread": func(b *stripedBastion) { b.alone = true },
	} {
		t.Run(name, func(t *testing.T) {
			b, cfg := startStriped(t, 8)
			refuse(b)
			cfg.Stripes = 4
			c := connectTo(t, cfg)
			for range 3 {
				s := openTo(t, c, echo(t))
				wantEcho(t, s, 1<<20)
				wantEnds(t, s)
			}
			b.mu.Lock()
			defer b.mu.Unlock()
			if sides, first := b.stripes(); sides != 0 || first != 0 {
				t.Errorf("got %d and %d stripes, want none", sides, first)
			}
			if b.turnAway != nil && b.tried != 1 {
				t.Errorf("got %d attempts to make a side connection, want one", b.tried)
			}
		})
	}
}

func TestSideConnectionThatBreaksOffIsMadeAgain(t *testing.T) {
	b, cfg := startStriped(t, 2)
	cfg.Stripes = 2
	c := connectTo(t, cfg)
	s := openTo(t, c, echo(t))
	wantEcho(t, s, 1<<20)
	b.mu.Lock()
	_ = b.sides[0].Close()
	b.mu.Unlock()
	wantEcho(t, s, 1<<20)
	b.wait("a third side connection, with a stripe", func() bool { sides, _ := b.stripes(); return b.logins == 3 && sides == 3 })
	wantEcho(t, s, 1<<20)
	wantEnds(t, s)
}

func TestSideConnectionsEndWithTheFirst(t *testing.T) {
	b, cfg := startStriped(t, 3)
	cfg.Stripes = 3
	c := connectTo(t, cfg)
	s := openTo(t, c, echo(t))
	wantEcho(t, s, 1<<20)
	b.mu.Lock()
	_ = b.first.Close()
	b.mu.Unlock()
	b.wait("the end of all", func() bool { return len(b.sides) == 0 && b.first == nil })
	if _, err := io.Copy(io.Discard, s); !errors.Is(err, relay.ErrAborted) {
		t.Errorf("got %v of the stream, want that it was aborted", err)
	}
}

func TestSideConnectionsThatNobodyUsesAreLetGoAndComeAgain(t *testing.T) {
	b, cfg := startStriped(t, 2)
	cfg.Stripes = 2
	c := connectTo(t, cfg)
	<-c.sides.agreed
	c.sides.leave(func() { c.sides.idle = time.Millisecond })
	s := openTo(t, c, echo(t))
	wantEcho(t, s, 1<<20)
	b.wait("two side connections under a stream", func() bool { return len(b.sides) == 2 })
	if n := c.sides.count(); n != 2 {
		t.Errorf("got %d side connections in the status, want 2", n)
	}
	wantEnds(t, s)
	b.wait("no side connection", func() bool { return len(b.sides) == 0 })
	s = openTo(t, c, echo(t))
	b.wait("stripes again", func() bool { sides, _ := b.stripes(); return sides == 4 })
	wantEnds(t, s)
}

func TestControlConnectionKeepsToTheFirst(t *testing.T) {
	b, cfg := startStriped(t, 2)
	cfg.Stripes = 2
	c := connectTo(t, cfg)
	f := echo(t)
	s, err := c.OpenControl(t.Context(), f.Host, f.HostPort, netip.AddrPort{})
	if err != nil {
		t.Fatal(err)
	}
	wantEcho(t, s, 1<<20)
	wantEnds(t, s)
	b.wait("side connections for the data to come", func() bool { return len(b.sides) == 2 })
	b.mu.Lock()
	defer b.mu.Unlock()
	if sides, first := b.stripes(); sides != 0 || first != 0 {
		t.Errorf("got %d and %d stripes of a control connection, want none", sides, first)
	}
}

// TestForeignServerIsLoggedInToSeveralTimes is about OpenSSH's sshd, where data connections have logins of their own.
func TestForeignServerIsLoggedInToSeveralTimes(t *testing.T) {
	sshd, cfg := bastion(t)
	cfg.Stripes = 2
	c := connectTo(t, cfg)
	f := echo(t)
	control, err := c.OpenControl(t.Context(), f.Host, f.HostPort, netip.AddrPort{})
	if err != nil {
		t.Fatal(err)
	}
	await := func(n int) {
		late := time.After(patience)
		for {
			c.sides.mu.Lock()
			there, changed := len(c.sides.there), c.sides.changed
			c.sides.mu.Unlock()
			if there == n {
				return
			}
			select {
			case <-changed:
			case <-late:
				t.Fatalf("got %d side connections, want %d", there, n)
			}
		}
	}
	await(2)
	var all []relay.Stream
	for range 4 {
		all = append(all, openTo(t, c, f))
	}
	loads := func() (all []int) {
		c.sides.mu.Lock()
		defer c.sides.mu.Unlock()
		loads := c.sides.loads(time.Now())
		for _, x := range c.sides.there {
			all = append(all, loads[x].all)
		}
		return all
	}
	if got, want := loads(), []int{2, 2}; !slices.Equal(got, want) {
		t.Errorf("got %v streams on the side connections, want %v", got, want)
	}
	for _, s := range append(all, control) {
		wantEcho(t, s, 1<<20)
		wantEnds(t, s)
	}
	if got, want := loads(), []int{0, 0}; !slices.Equal(got, want) {
		t.Errorf("got %v streams on the side connections at the end, want %v", got, want)
	}
	if n := strings.Count(sshd.Log(), "Accepted publickey"); n != 3 {
		t.Errorf("got %d logins, want 3", n)
	}
}

func TestForeignServerIsLoggedInToOnceUnlessTheNumberIsSaid(t *testing.T) {
	sshd, cfg := bastion(t)
	c := connectTo(t, cfg)
	<-c.sides.agreed
	wantEnds(t, openTo(t, c, echo(t)))
	if n := strings.Count(sshd.Log(), "Accepted publickey"); n != 1 {
		t.Errorf("got %d logins, want 1", n)
	}
}

func TestProxyCommandIsStartedAgainOnlyForANumber(t *testing.T) {
	for asked, want := range map[Stripes]bool{AutoStripes: false, 0: false, 4: true} {
		cfg := NewConfig("", "me")
		cfg.Stripes, cfg.ProxyCommand = asked, "nc %h %p"
		s := newSides(cfg, nil)
		if (s != nil) != want {
			t.Errorf("Stripes %d: got side connections %v, want %v", asked, s != nil, want)
		}
		s.close()
	}
}

func TestNumberOfStripes(t *testing.T) {
	for _, test := range []struct {
		asked Stripes
		rtt   time.Duration
		want  int
	}{
		{0, time.Second, 0},
		{5, 0, 5},
		{AutoStripes, 0, 0},
		{AutoStripes, longLine - 1, 0},
		{AutoStripes, longLine, fewestStripes},
		{AutoStripes, time.Hour, mostStripes},
	} {
		if got := test.asked.at(test.rtt); got != test.want {
			t.Errorf("%d at %v: got %d, want %d", test.asked, test.rtt, got, test.want)
		}
	}
}

func TestStripesKeyword(t *testing.T) {
	for value, want := range map[string]Stripes{"auto": AutoStripes, "no": 0, "No": 0, "1": 0, "2": 2, "16": 16} {
		cfg := NewConfig("", "me")
		if err := cfg.Set("Stripes", value); err != nil || cfg.Stripes != want {
			t.Errorf("%q: got %d, %v; want %d", value, cfg.Stripes, err, want)
		}
	}
	for _, value := range []string{"", "0", "17", "-1", "yes", "4.5", "99999999999999999999"} {
		if err := NewConfig("", "me").Set("Stripes", value); err == nil {
			t.Errorf("%q was taken", value)
		}
	}
}
