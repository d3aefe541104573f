//go:build unix

package standing

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/culvert-ssh/culvert/client"
)

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// process is a Serve that a test runs, with tunnels to a bastion that doesn't exist.
type process struct {
	Place
	t     *testing.T
	log   *logBuffer
	stop  context.CancelFunc
	ended chan error

	mu    sync.Mutex
	lines map[string][]string // of each tunnel's configuration
	read  []*client.Config    // so far
	env   map[string]string   // what the last caller has brought
}

// testPlace is a place of the test's own. Its path is short enough for a socket.
func testPlace(t *testing.T) Place {
	t.Helper()
	p, err := Find(t.TempDir(), func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func newProcess(t *testing.T) *process {
	t.Helper()
	return &process{
		t: t, Place: testPlace(t), log: new(logBuffer), ended: make(chan error, 1),
		lines: map[string][]string{
			"a": {"LocalForward 0:db.corp:5432"},
			"b": {"LocalForward ftp/0:ftp.corp:21"},
		},
	}
}

// startProcess starts a process with tunnels a and b, and with change, if that isn't nil, made to its configuration.
func startProcess(t *testing.T, change func(*Config)) *process {
	t.Helper()
	x := newProcess(t)
	x.start(change)
	return x
}

func (x *process) start(change func(*Config)) {
	x.t.Helper()
	ready := make(chan struct{})
	cfg := Config{
		Place: x.Place, Version: "1.0", Load: x.load, Log: slog.New(slog.NewTextHandler(x.log, nil)),
		Environment: func(env map[string]string) { x.mu.Lock(); defer x.mu.Unlock(); x.env = env },
		Ready:       func([]Result) { close(ready) },
	}
	if change != nil {
		change(&cfg)
	}
	ctx, stop := context.WithCancel(context.Background())
	x.stop = stop
	go func() { x.ended <- Serve(ctx, cfg) }()
	x.t.Cleanup(func() {
		stop()
		x.end()
		if x.t.Failed() {
			x.t.Logf("log:\n%s", x.log)
		}
	})
	select {
	case <-ready:
	case err := <-x.ended:
		x.t.Fatalf("Serve: %v", err)
	case <-time.After(patience):
		x.t.Fatal("the process is not ready")
	}
}

// end waits for the end of Serve.
func (x *process) end() error {
	x.t.Helper()
	select {
	case err := <-x.ended:
		x.ended <- err
		return err
	case <-time.After(patience):
		x.t.Fatal("Serve doesn't end")
		return nil
	}
}

func (x *process) load(string) (profiles []Profile, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, name := range []string{"a", "b", "c"} {
		lines, ok := x.lines[name]
		if !ok {
			continue
		}
		profiles = append(profiles, Profile{Name: name, From: "config:" + name, Config: func(context.Context, *slog.Logger) (*client.Config, error) {
			cfg := client.NewConfig(filepath.Join(x.Dir, "home"), "alice")
			cfg.Host, cfg.Port = "127.0.0.1", 9
			for _, line := range lines {
				if err := cfg.SetOption(line); err != nil {
					return nil, err
				}
			}
			x.mu.Lock()
			defer x.mu.Unlock()
			x.read = append(x.read, cfg)
			return cfg, nil
		}})
	}
	return profiles, nil
}

func (x *process) set(name string, lines ...string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.lines[name] = lines
}

// call asks the process.
func (x *process) call(r Request, p Person) (*Reply, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r.Version = "1.0"
	return x.Call(ctx, r, p)
}

// want asks the process, and compares what has become of the tunnels.
func (x *process) want(r Request, want ...string) *Reply {
	x.t.Helper()
	reply, err := x.call(r, Person{})
	if err != nil {
		x.t.Fatal(err)
	}
	var got []string
	for _, r := range reply.Results {
		got = append(got, fmt.Sprintf("%s %s", r.Name, r.Outcome))
	}
	if strings.Join(got, ", ") != strings.Join(want, ", ") {
		x.t.Errorf("got %q, want %q", got, want)
	}
	return reply
}

func up(names ...string) Request   { return Request{Up: &Up{Names: names}} }
func down(names ...string) Request { return Request{Down: &Down{Names: names}} }

// at is where the first forward of a tunnel listens.
func (x *process) at(name string) string {
	x.t.Helper()
	reply, err := x.call(Request{Status: &Status{}}, Person{})
	if err != nil {
		x.t.Fatal(err)
	}
	for _, t := range reply.Tunnels {
		if t.Name == name {
			return fmt.Sprint(t.Forwards[0].At[0])
		}
	}
	x.t.Fatalf("%s is not up", name)
	return ""
}

// wantOpen checks whether somebody listens.
func wantOpen(t *testing.T, at string, want bool) {
	t.Helper()
	c, err := net.DialTimeout("tcp", at, patience)
	if err == nil {
		_ = c.Close()
	}
	if open := err == nil; open != want {
		t.Errorf("%s: got open %v (%v), want %v", at, open, err, want)
	}
}

// logBuffer is a log that may be read while it is written.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func (x *process) logger() *slog.Logger { return slog.New(slog.NewTextHandler(x.log, nil)) }
