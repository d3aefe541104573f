//go:build unix

package standing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/culvert-ssh/culvert/client"
)

func TestTunnelsComeUpAndGoDown(t *testing.T) {
	x := startProcess(t, nil)
	x.want(up("a", "b"), "a up", "b up")
	a, b := x.at("a"), x.at("b")
	wantOpen(t, a, true)
	wantOpen(t, b, true)
	x.want(up("a"), "a already")
	if again := x.at("a"); again != a {
		t.Errorf("a tunnel that was up: got it at %s, want it left at %s", again, a)
	}
	x.want(down("a", "c"), "a down", "c not up")
	wantOpen(t, a, false)
	wantOpen(t, b, true)
	x.want(Request{Down: &Down{All: true}}, "b down")
	if err := x.end(); err != nil {
		t.Errorf("Serve: got %v, want that it ends with the last tunnel", err)
	}
	wantOpen(t, b, false)
	if _, err := x.call(up("a"), Person{}); !errors.Is(err, ErrNotRunning) {
		t.Errorf("a call after the end: got %v, want that nobody is there", err)
	}
}

func TestTunnelsShareTheMemoryOfStripes(t *testing.T) {
	x := startProcess(t, nil)
	x.want(up("a", "b"), "a up", "b up")
	x.mu.Lock()
	defer x.mu.Unlock()
	have := make(map[*client.Budget]int)
	for _, cfg := range x.read {
		have[cfg.StripesBudget]++
	}
	shared := 0
	for _, n := range have {
		shared = max(shared, n)
	}
	if shared != 2 { // others were read to compare
		t.Errorf("got %d configurations with one budget, of %d, want those of both tunnels", shared, len(x.read))
	}
}

func TestTunnelWhoseConfigurationHasChanged(t *testing.T) {
	x := startProcess(t, nil)
	x.set("a", "LocalForward 0:db.corp:5432", "QueueTimeout 1h")
	x.want(up("a", "b"), "a up", "b up")
	x.set("b", "LocalForward ftp/0:other.corp:21")
	x.want(up("b"), "b replaced")

	c, err := net.Dial("tcp", x.at("a")) // which waits for the bastion from now on
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for x.sessions("a") == 0 { // until it was accepted
	}
	x.set("a", "LocalForward 0:db.corp:5433")
	x.want(up("a"), "a in use")
	if got := x.forwards("a"); got != "db.corp:5432" {
		t.Errorf("a tunnel that is used leads to %s, want it as it was", got)
	}
}

func (x *process) tunnel(name string) Tunnel {
	x.t.Helper()
	reply, err := x.call(Request{Status: &Status{}}, Person{})
	if err != nil {
		x.t.Fatal(err)
	}
	for _, t := range reply.Tunnels {
		if t.Name == name {
			return t
		}
	}
	x.t.Fatalf("%s is not up", name)
	return Tunnel{}
}

func (x *process) sessions(name string) int    { return x.tunnel(name).Link.Sessions }
func (x *process) forwards(name string) string { return x.tunnel(name).Forwards[0].Target }

func TestWhatIsWrongIsSaidOfEachTunnel(t *testing.T) {
	x := startProcess(t, nil)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	x.set("a", fmt.Sprintf("LocalForward %s:db.corp:1", taken.Addr()), "ExitOnForwardFailure yes")
	reply := x.want(up("a", "b"), "a failed", "b up")
	if !strings.Contains(reply.Results[0].Error, "the port is already used") {
		t.Errorf("got %q, want that the port is used", reply.Results[0].Error)
	}
	x.set("a", fmt.Sprintf("LocalForward %s:db.corp:1", taken.Addr()), "LocalForward 0:db.corp:2")
	for _, want := range []string{"a up", "a already"} {
		reply = x.want(up("a"), want)
		if r := reply.Results[0]; !strings.Contains(r.Error, "the port is already used") || len(r.Ready) != 1 {
			t.Errorf("%s: got %+v, want one forward, and why the other isn't there", want, r)
		}
	}
	if got := x.tunnel("a").Forwards[1]; !strings.Contains(got.Error, "the port is already used") {
		t.Errorf("status: got %+v, want why it isn't there", got)
	}
	if _, err := x.call(up("b", "nobody"), Person{}); err == nil || !strings.Contains(err.Error(), `there is no tunnel "nobody"`) {
		t.Errorf("a tunnel that doesn't exist: got %v", err)
	}
}

func TestLoginSaysWhyItFails(t *testing.T) {
	x := startProcess(t, nil)
	reply, err := x.call(Request{Up: &Up{All: true, Login: true}}, Person{})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range reply.Results {
		if r.Outcome != Failed || !strings.Contains(r.Error, "connection refused") || len(r.Ready) == 0 {
			t.Errorf("got %+v, want that the bastion refuses, and a tunnel that stands nevertheless", r)
		}
	}
	wantOpen(t, x.at("a"), true)
}

func TestOneProcessHasThePlace(t *testing.T) {
	x := startProcess(t, nil)
	if err := Serve(t.Context(), Config{Place: x.Place}); !errors.Is(err, ErrTaken) {
		t.Errorf("a second process: got %v, want that the place is taken", err)
	}
	x.want(up("a"), "a up") // it is not disturbed
}

// A process that was killed leaves its socket and its lock's text behind.
func TestProcessThatWasKilledIsInNobodysWay(t *testing.T) {
	x := newProcess(t)
	lock, err := x.take()
	if err != nil {
		t.Fatal(err)
	}
	l, err := x.listen()
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	lock.Close()
	if _, err := os.Lstat(x.Socket); err != nil {
		t.Fatal(err)
	}
	if _, err := x.call(up("a"), Person{}); !errors.Is(err, ErrNotRunning) {
		t.Errorf("a call: got %v, want that nobody is there", err)
	}
	x.start(nil)
	x.want(up("a"), "a up")
}

func TestCallsThatStartAProcessAtOnceShareIt(t *testing.T) {
	x := newProcess(t)
	var starts int
	var starting sync.Mutex
	start := func(context.Context) error { // as Place.Start does, which finds out who was first
		starting.Lock()
		defer starting.Unlock()
		if c, err := x.dial(); err == nil {
			return c.Close()
		}
		starts++
		x.start(nil)
		return nil
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			if _, err := x.CallOrStart(ctx, up("b"), Person{}, start); err != nil {
				t.Errorf("call %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if starts != 1 {
		t.Errorf("%d processes were started, want 1", starts)
	}
	x.want(up("b"), "b already")
}

func TestPersonIsAskedAndTold(t *testing.T) {
	x := newProcess(t)
	p := &present{log: x.logger(), askpass: func(context.Context, string, bool) (string, error) { return "from the screen", nil }}
	if got, err := p.ask(t.Context(), "Password: ", false); got != "from the screen" || err != nil {
		t.Errorf("nobody waits: got %q, %v", got, err)
	}
	near, far := net.Pipe()
	defer near.Close()
	ctx, hangUp := context.WithCancel(t.Context())
	c := &caller{wire: newWire(far, maxAsked), answers: make(chan answer), gone: ctx.Done()}
	var wg sync.WaitGroup
	told := make(chan string, 1)
	wg.Go(func() {
		_, err := newWire(near, maxLine).converse(t.Context(), Request{}, Person{
			Notice: func(line string) { told <- line },
			Ask: func(_ context.Context, question string, echo bool) (string, error) {
				if question != "Password: " || echo {
					return "", fmt.Errorf("asked %q, with echo %v", question, echo)
				}
				return "from the terminal", nil
			},
		})
		if err == nil {
			t.Error("the conversation ended well")
		}
	})
	if err := c.receive(new(Request)); err != nil {
		t.Fatal(err)
	}
	wg.Go(func() { c.listen(ctx, hangUp) })
	gone := p.comes("a", Person{Notice: c.notice, Ask: c.ask})
	p.notice("hello")
	if got := <-told; got != "a: hello" {
		t.Errorf("told %q", got)
	}
	if got, err := p.ask(t.Context(), "Password: ", false); got != "from the terminal" || err != nil {
		t.Errorf("somebody waits: got %q, %v", got, err)
	}
	near.Close()
	if got, err := p.ask(t.Context(), "Password: ", false); err == nil {
		t.Errorf("who has hung up: got %q", got)
	}
	gone()
	if got, err := p.ask(t.Context(), "Password: ", false); got != "from the screen" || err != nil {
		t.Errorf("nobody waits any more: got %q, %v", got, err)
	}
	wg.Wait()
}

func TestWhoHasGoneTakesNobodyElseAlong(t *testing.T) {
	p := &present{log: slog.New(slog.DiscardHandler)}
	person := func(name string) Person {
		return Person{Ask: func(context.Context, string, bool) (string, error) { return name, nil }}
	}
	first := p.comes("a", person("first"))
	second := p.comes("a", person("second"))
	first()
	if got, err := p.ask(t.Context(), "password?", false); got != "second" {
		t.Errorf("asked %q, %v; want the second, who waits still", got, err)
	}
	second()
	if got, err := p.ask(t.Context(), "password?", false); err == nil {
		t.Errorf("asked %q, who has gone", got)
	}
}

func TestProcessOfAnotherProtocolCanBeEnded(t *testing.T) {
	x := startProcess(t, nil)
	x.want(up("a"), "a up")
	for _, test := range []struct {
		line, want string
	}{
		{`{"protocol":99,"version":"9.9","status":{}}`, "of culvert 1.0, and yours of 9.9"},
		{`{"protocol":99,"version":"9.9","down":{"all":true}}`, ""},
	} {
		c, err := x.dial()
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(patience))
		fmt.Fprintln(c, test.line)
		var m message
		if err := newWire(c, maxLine).receive(&m); err != nil {
			t.Fatal(err)
		}
		if test.want == "" && m.Reply == nil || !strings.Contains(m.Error, test.want) {
			t.Errorf("%s: got %+v, want %q", test.line, m, test.want)
		}
		c.Close()
	}
	if err := x.end(); err != nil {
		t.Errorf("Serve: got %v", err)
	}
}

func TestHundredTunnelsInOneProcess(t *testing.T) {
	x := startProcess(t, func(cfg *Config) {
		one := cfg.Load
		cfg.Load = func(file string) (all []Profile, err error) {
			profiles, err := one(file)
			for i := range 100 {
				p := profiles[i%2]
				p.Name = fmt.Sprintf("tunnel%02d", i)
				all = append(all, p)
			}
			return all, err
		}
	})
	reply, err := x.call(Request{Up: &Up{All: true}}, Person{})
	if err != nil {
		t.Fatal(err)
	}
	ports := make(map[string]bool)
	for _, r := range reply.Results {
		if r.Outcome != CameUp || len(r.Ready) != 1 {
			t.Fatalf("got %+v", r)
		}
		ports[r.Ready[0]] = true
	}
	status, err := x.call(Request{Status: &Status{}}, Person{})
	if err != nil {
		t.Fatal(err)
	}
	if len(ports) != 100 || len(status.Tunnels) != 100 || len(status.Activity.Links) != 100 || status.Tunnels[42].Name != "tunnel42" {
		t.Errorf("got %d ports, %d tunnels, %d links, want 100 of each in their order", len(ports), len(status.Tunnels), len(status.Activity.Links))
	}
	for _, name := range []string{"tunnel00", "tunnel99"} {
		wantOpen(t, x.at(name), true)
	}
	if reply, err = x.call(Request{Down: &Down{All: true}}, Person{}); err != nil || len(reply.Results) != 100 {
		t.Errorf("down: got %v, %v", reply, err)
	}
	if err := x.end(); err != nil {
		t.Errorf("Serve: got %v", err)
	}
}

func TestCallsThatMakeNoSenseAreSurvived(t *testing.T) {
	x := startProcess(t, nil)
	x.want(up("a"), "a up")
	for name, text := range map[string]string{
		"nothing":     "",
		"no JSON":     "hello\n",
		"half a line": `{"protocol":1`,
		"another":     "[1,2,3]\n",
		"endless":     strings.Repeat("x", 2*maxAsked),
	} {
		c, err := x.dial()
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(patience))
		_, _ = c.Write([]byte(text)) // it may have hung up in the middle
		_ = c.CloseWrite()
		if n, err := c.Read(make([]byte, 1)); err == nil {
			t.Errorf("%s: got %d bytes, want that it hangs up", name, n)
		}
		c.Close()
	}
	x.want(up("a"), "a already")
}

func TestSignalEndsEverything(t *testing.T) {
	x := startProcess(t, func(cfg *Config) { cfg.First = &Up{All: true} })
	a := x.at("a")
	x.stop()
	if err := x.end(); err != nil {
		t.Errorf("Serve: got %v", err)
	}
	wantOpen(t, a, false)
	if _, err := os.Lstat(x.Socket); !os.IsNotExist(err) {
		t.Errorf("the socket is left behind: %v", err)
	}
}

func TestProcessWithoutATunnelDoesNotBegin(t *testing.T) {
	x := newProcess(t)
	x.set("a", "LocalForward 0:db.corp:1", "Bogus yes")
	err := Serve(t.Context(), Config{
		Place: x.Place, Load: x.load, Log: x.logger(), Environment: func(map[string]string) {}, First: &Up{Names: []string{"a"}},
	})
	if err == nil || !strings.HasPrefix(err.Error(), "a: ") {
		t.Errorf("got %v, want what is wrong with a", err)
	}
}

func TestEnvironmentOfTheCallerIsTaken(t *testing.T) {
	x := startProcess(t, nil)
	if _, err := x.call(Request{Up: &Up{Names: []string{"a"}, Environment: map[string]string{"DISPLAY": ":7"}}}, Person{}); err != nil {
		t.Fatal(err)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.env["DISPLAY"] != ":7" {
		t.Errorf("got %q", x.env)
	}
}
