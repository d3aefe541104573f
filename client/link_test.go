package client

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/culvert-ssh/culvert/relay"
)

// fakeUplink is an uplink that a test ends.
type fakeUplink struct {
	number int
	done   chan struct{}
	once   sync.Once
	open   func() error // what Open fails with; if nil, it succeeds

	mu     sync.Mutex
	opened int
}

func (u *fakeUplink) Open(context.Context, string, uint16, netip.AddrPort) (relay.Stream, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if hasEnded(u) {
		return nil, errors.New("EOF")
	}
	if u.open != nil {
		if err := u.open(); err != nil {
			return nil, err
		}
	}
	u.opened++
	return fakeStream{uplink: u}, nil
}

func (u *fakeUplink) OpenControl(ctx context.Context, host string, port uint16, origin netip.AddrPort) (relay.Stream, error) {
	return u.Open(ctx, host, port, origin)
}

func (u *fakeUplink) OpenSocket(ctx context.Context, _ string) (relay.Stream, error) {
	return u.Open(ctx, "", 0, netip.AddrPort{})
}

func (u *fakeUplink) Listen(context.Context, Listening) (Arrival, error) { return nil, nil }
func (u *fakeUplink) ReadsFTP() bool                                     { return true }
func (u *fakeUplink) Done() <-chan struct{}                              { return u.done }
func (u *fakeUplink) Cause() error                                       { return errors.New("cut") }

func (u *fakeUplink) Drop()  { u.once.Do(func() { close(u.done) }) }
func (u *fakeUplink) Close() { u.Drop() }

func (u *fakeUplink) Remote(context.Context, *Config, Forward) (string, error) { return "", nil }

type fakeStream struct {
	relay.Stream
	uplink *fakeUplink
}

func (fakeStream) Abort() {}

// linkTest is a link to a bastion that a test plays, in the time of a synctest bubble.
type linkTest struct {
	*link
	t *testing.T

	mu     sync.Mutex
	fail   error // what connecting fails with
	tried  []time.Time
	up     *fakeUplink // the latest
	delay  time.Duration
	onOpen func() error
}

var errFinal = errors.New("the bastion does not know you")

func startLink(t *testing.T, change func(*linkConfig)) *linkTest {
	t.Helper()
	x := &linkTest{t: t}
	cfg := linkConfig{
		name: "bastion", connect: x.connect, passing: func(err error) bool { return !errors.Is(err, errFinal) },
		idle: 5 * time.Minute, patience: 45 * time.Second, log: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&cfg)
	}
	x.link = newLink(cfg, func() float64 { return 0.5 })
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); x.run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	return x
}

func (x *linkTest) connect(ctx context.Context) (uplink, error) {
	select {
	case <-time.After(x.delay):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.tried = append(x.tried, time.Now())
	if x.fail != nil {
		return nil, x.fail
	}
	x.up = &fakeUplink{number: len(x.tried), done: make(chan struct{}), open: x.onOpen}
	return x.up, nil
}

func (x *linkTest) set(fail error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.fail = fail
}

// tries are the times of the attempts since begin.
func (x *linkTest) tries(begin time.Time) (after []time.Duration) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, at := range x.tried {
		after = append(after, at.Sub(begin))
	}
	return after
}

// open opens a stream in a session, and returns the uplink that carries it.
func (x *linkTest) open(t Transport) (*fakeUplink, error) {
	s, err := t.Open(x.t.Context(), "ftp.corp", 21, netip.AddrPort{})
	if err != nil {
		return nil, err
	}
	return s.(fakeStream).uplink, nil
}

func (x *linkTest) want(state LinkState) {
	x.t.Helper()
	synctest.Wait()
	if got := x.status(); got.State != state {
		x.t.Errorf("got %+v, want %s", got, state)
	}
}

func TestLinkComesWithTheFirstSessionAndGoesAfterTheLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := startLink(t, nil)
		time.Sleep(time.Hour)
		x.want(LinkIdle)
		a, endA := x.begin()
		b, endB := x.begin()
		upA, errA := x.open(a)
		upB, errB := x.open(b)
		if errA != nil || errB != nil || upA != upB {
			t.Fatalf("two sessions: got %v, %v and %v, %v; want one connection", upA, errA, upB, errB)
		}
		endA()
		time.Sleep(time.Hour)
		x.want(LinkConnected) // the other session needs it
		endB()
		time.Sleep(5*time.Minute - time.Second)
		x.want(LinkConnected)
		time.Sleep(2 * time.Second)
		x.want(LinkIdle)
		if !hasEnded(upA) {
			t.Error("the connection that nobody needs was not closed")
		}
		if n := len(x.tries(time.Now())); n != 1 {
			t.Errorf("got %d attempts, want 1", n)
		}
	})
}

func TestLinkWithoutIdleTimeoutStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := startLink(t, func(cfg *linkConfig) { cfg.idle = 0 })
		s, end := x.begin()
		up, err := x.open(s)
		if err != nil {
			t.Fatal(err)
		}
		end()
		time.Sleep(100 * time.Hour)
		x.want(LinkConnected)
		up.Drop()
		time.Sleep(2 * time.Second)
		x.want(LinkConnected) // it has come again
	})
}

func TestSessionEndsWithItsConnectionAndTheNextHasAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := startLink(t, nil)
		s, end := x.begin()
		defer end()
		first, err := x.open(s)
		if err != nil {
			t.Fatal(err)
		}
		first.Drop()
		if up, err := x.open(s); !errors.Is(err, ErrConnectionLost) {
			t.Errorf("a session that has lost its connection: got %v, %v; want that it is lost", up, err)
		}
		next, end := x.begin()
		defer end()
		begin := time.Now()
		second, err := x.open(next)
		if err != nil || second == first {
			t.Fatalf("the next session: got %v, %v; want another connection", second, err)
		}
		if took := time.Since(begin); took != 750*time.Millisecond {
			t.Errorf("the next connection came after %v, want the delay of a first failure", took)
		}
		if up, err := x.open(s); !errors.Is(err, ErrConnectionLost) {
			t.Errorf("the old session when there is another connection: got %v, %v; want that it is lost", up, err)
		}
	})
}

// The first thing of a session may meet a connection that has broken and nobody has noticed.
func TestFirstStreamOfASessionIsTriedOnTheNextConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := startLink(t, nil)
		dies := true
		x.onOpen = func() error {
			if dies {
				dies = false
				go x.up.Drop()
				<-x.up.done
				return errors.New("EOF")
			}
			return nil
		}
		s, end := x.begin()
		defer end()
		up, err := x.open(s)
		if err != nil || up.number != 2 {
			t.Fatalf("got %v, %v; want the stream over the second connection", up, err)
		}
	})
}

func TestRefusalIsNotTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := startLink(t, nil)
		asked := 0
		x.onOpen = func() error { asked++; return errors.New("administratively prohibited") }
		s, end := x.begin()
		defer end()
		if up, err := x.open(s); err == nil || !strings.Contains(err.Error(), "prohibited") || asked != 1 {
			t.Errorf("got %v, %v after %d questions; want the refusal of the first", up, err, asked)
		}
	})
}

func TestSessionWaitsForTheConnectionUpToABound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := startLink(t, nil)
		x.set(errors.New("connection refused"))
		s, end := x.begin()
		begin := time.Now()
		up, err := x.open(s)
		if took := time.Since(begin); err == nil || took != 45*time.Second || !strings.Contains(err.Error(), "there is no SSH connection to bastion: connection refused") {
			t.Errorf("got %v, %v after %v; want the reason after 45s", up, err, took)
		}
		end()
		n := len(x.tries(begin))
		if n < 8 || n > 20 {
			t.Errorf("got %d attempts while somebody waited, want one every few seconds", n)
		}
		time.Sleep(time.Hour)
		if more := len(x.tries(begin)) - n; more > 0 {
			t.Errorf("got %d attempts when nobody waited any more, want none", more)
		}
		x.want(LinkIdle)

		s, end = x.begin()
		defer end()
		time.AfterFunc(20*time.Second, func() { x.set(nil) })
		if up, err := x.open(s); err != nil {
			t.Errorf("a bastion that comes back in time: got %v, %v", up, err)
		}
	})
}

func TestNobodyIsKeptWaitingForWhatDoesNotPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := startLink(t, nil)
		x.set(errFinal)
		begin := time.Now()
		for range 3 {
			s, end := x.begin()
			if up, err := x.open(s); !errors.Is(err, errFinal) || time.Since(begin) != 0 {
				t.Errorf("got %v, %v after %v; want the refusal at once", up, err, time.Since(begin))
			}
			end()
		}
		if n := len(x.tries(begin)); n != 1 {
			t.Errorf("got %d attempts at once, want that the bastion is left alone after the first", n)
		}
		time.Sleep(10 * time.Second)
		x.set(nil) // somebody has done something about it
		s, end := x.begin()
		defer end()
		if up, err := x.open(s); err != nil {
			t.Errorf("later: got %v, %v", up, err)
		}
	})
}

func TestLoginIsTriedAtOnceAndSaysWhyItFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := startLink(t, nil)
		for _, fail := range []error{errFinal, errors.New("connection refused")} {
			x.set(fail)
			begin := time.Now()
			if err := x.login(t.Context()); !errors.Is(err, fail) || time.Since(begin) != 0 {
				t.Errorf("got %v after %v, want %v at once", err, time.Since(begin), fail)
			}
			x.want(LinkIdle)
		}
		x.set(nil)
		if err := x.login(t.Context()); err != nil {
			t.Errorf("got %v", err)
		}
		x.want(LinkConnected)
		tried := len(x.tries(time.Now()))
		if err := x.login(t.Context()); err != nil || len(x.tries(time.Now())) != tried {
			t.Errorf("a login that is there already: got %v and %d more attempts", err, len(x.tries(time.Now()))-tried)
		}
	})
}

func TestBrokenLinkComesAgainWithDelaysUntilNobodyWouldNeedIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := startLink(t, nil)
		s, end := x.begin()
		up, err := x.open(s)
		if err != nil {
			t.Fatal(err)
		}
		x.set(errors.New("no route to host"))
		time.Sleep(time.Hour) // it was steady
		end()
		begin := time.Now()
		up.Drop()
		x.want(LinkWaiting)
		time.Sleep(time.Hour)
		x.want(LinkIdle)
		got := x.tries(begin)[1:]
		want := []time.Duration{750, 2250, 5250, 11250, 23250, 47250, 92250, 137250, 182250, 227250, 272250}
		if len(got) != len(want) {
			t.Fatalf("got attempts after %v, want %d, up to 5 minutes", got, len(want))
		}
		for i := range want {
			if got[i] != want[i]*time.Millisecond {
				t.Errorf("attempt %d: got %v, want %v", i, got[i], want[i]*time.Millisecond)
			}
		}
	})
}

// A bastion that lets in and throws out again is not hurried.
func TestConnectionsThatBreakAtOnceAreDelayedMoreAndMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := startLink(t, func(cfg *linkConfig) {
			cfg.always = true
			cfg.arrived = func(ctx context.Context, up uplink) { up.Drop(); <-ctx.Done() }
		})
		begin := time.Now()
		time.Sleep(10 * time.Minute)
		if n := len(x.tries(begin)); n < 10 || n > 20 {
			t.Errorf("got %d attempts in 10 minutes, want 10 to 20", n)
		}
	})
}

func TestNobodyWaitsForALinkThatHasBeenClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := &linkTest{t: t}
		x.link = newLink(linkConfig{connect: x.connect, patience: time.Hour, log: slog.New(slog.DiscardHandler)}, func() float64 { return 0 })
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		x.run(ctx)
		if err := x.login(t.Context()); !errors.Is(err, errClosed) {
			t.Errorf("login: got %v, want that it is closed", err)
		}
		s, end := x.begin()
		defer end()
		if up, err := x.open(s); !errors.Is(err, errClosed) {
			t.Errorf("a session: got %v, %v, want that it is closed", up, err)
		}
	})
}

func TestStreamOfItsOwnIsASession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := startLink(t, nil)
		s, err := x.Open(t.Context(), "ftp.corp", 50000, netip.AddrPort{})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		x.want(LinkConnected)
		s.Abort()
		s.Abort()
		time.Sleep(6 * time.Minute)
		x.want(LinkIdle)
		x.set(errFinal)
		if s, err := x.Open(t.Context(), "ftp.corp", 50000, netip.AddrPort{}); err == nil {
			t.Fatalf("got %v", s)
		}
		if n := x.status().Sessions; n != 0 {
			t.Errorf("got %d sessions at the end, want none", n)
		}
	})
}

func TestLinkEndsInTheMiddleOfAnything(t *testing.T) {
	for name, delay := range map[string]time.Duration{"connecting": time.Hour, "waiting for the next attempt": 0} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := &linkTest{t: t, delay: delay, fail: errors.New("connection refused")}
				x.link = newLink(linkConfig{
					connect: x.connect, passing: func(error) bool { return true }, always: true, log: slog.New(slog.DiscardHandler),
				}, func() float64 { return 0 })
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(time.Minute, cancel)
				begin := time.Now()
				x.run(ctx)
				if took := time.Since(begin); took != time.Minute {
					t.Errorf("it ended after %v, want at once", took)
				}
			})
		})
	}
}
