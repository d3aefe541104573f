package server

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/audit"
	"github.com/culvert-ssh/culvert/policy"
)

// The environment of a process of the clients, which is this test's program.
const (
	clientsOf  = "CULVERT_TEST_CLIENTS_OF"  // address of the server
	clientsKey = "CULVERT_TEST_CLIENTS_KEY" // path of alice's private key
)

// clients does what it reads, a line each, and says when it is done: "connections N", "channels N" on the first of them, "traffic N", which sends
// a MiB there and back on the first N channels, and "stall N", which sends on them and never reads what comes back.
// It is a process of its own, so that what the server holds can be told from what they do. What their channels lead to is there as well.
func clients() error {
	text, err := os.ReadFile(os.Getenv(clientsKey))
	if err != nil {
		return err
	}
	key, err := ssh.ParsePrivateKey(text)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go io.Copy(c, struct{ io.Reader }{c})
		}
	}()
	var (
		all  []*ssh.Client
		open []net.Conn
	)
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		what, count, _ := strings.Cut(in.Text(), " ")
		n, err := strconv.Atoi(count)
		if err != nil {
			return err
		}
		for i := range n {
			switch what {
			case "connections":
				c, err := ssh.Dial("tcp", os.Getenv(clientsOf), &ssh.ClientConfig{
					User: "alice", Auth: []ssh.AuthMethod{ssh.PublicKeys(key)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(),
				})
				if err != nil {
					return err
				}
				all = append(all, c)
			case "channels":
				c, err := all[0].Dial("tcp", l.Addr().String())
				if err != nil {
					return err
				}
				open = append(open, c)
			case "traffic":
				go open[i].Write(make([]byte, 1<<20))
				if _, err := io.ReadFull(open[i], make([]byte, 1<<20)); err != nil {
					return err
				}
			case "stall":
				go open[i].Write(make([]byte, 64<<20))
			default:
				return errors.New("it isn't known how to do " + what)
			}
		}
		fmt.Println("done")
	}
	return nil
}

// crowd is a process with clients of a bastion.
type crowd struct {
	t   testing.TB
	in  io.Writer
	out *bufio.Scanner
}

func newCrowd(b *bastion, key string) *crowd {
	b.t.Helper()
	self, err := os.Executable()
	if err != nil {
		b.t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), clientsOf+"="+b.addr, clientsKey+"="+key)
	cmd.Stderr = b.t.Output()
	in, err := cmd.StdinPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			b.t.Errorf("the clients: %v", err)
		}
	})
	return &crowd{b.t, in, bufio.NewScanner(out)}
}

func (c *crowd) do(what string, n int) {
	c.t.Helper()
	if _, err := fmt.Fprintf(c.in, "%s %d\n", what, n); err != nil {
		c.t.Fatal(err)
	}
	if !c.out.Scan() {
		c.t.Fatalf("the clients have ended at %s", what)
	}
}

// held is what this process needs: bytes of its heap and of its stacks, and goroutines.
type held struct {
	heap, stacks int
	goroutines   float64
}

func holds() held {
	for range 6 { // a stack that was deep once shrinks by half each time, and a pool lets go
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return held{int(m.HeapAlloc), int(m.StackInuse), float64(runtime.NumGoroutine())}
}

// since is what came since before, for each of n.
func (h held) since(before held, n int) held {
	return held{(h.heap - before.heap) / n, (h.stacks - before.stacks) / n, (h.goroutines - before.goroutines) / float64(n)}
}

// TestWhatIsIdleNeedsLittle counts what the server holds for connections and channels on which nothing happens, and for those on which nobody reads any
// more. docs/performance.md says what a whole process needs.
func TestWhatIsIdleNeedsLittle(t *testing.T) {
	const connections, channels, busy, stuck = 100, 200, 50, 10
	b := newBastion(t)
	_, path := b.user("alice")
	b.cfg.Audit = audit.New(io.Discard, time.Now)
	b.cfg.Log = slog.New(slog.DiscardHandler)
	b.all.MaxChannels = channels
	b.policy.Global = policy.Rules{
		AllowTCPForwarding: &policy.Line[policy.Forwarding]{Value: policy.ForwardLocal},
		PermitOpen:         &policy.Line[[]policy.OpenPattern]{Source: "sshd_config:9", Value: []policy.OpenPattern{policy.AnyOpen()}},
	}
	b.cfg.Decide = func(r policy.Request) policy.Decision { return b.policy.Decide(r) }
	b.start()
	c := newCrowd(b, path)
	c.do("connections", 1) // what the first one makes is for all
	c.do("channels", 1)

	// The patched library holds less, and has fewer goroutines.
	type bound struct {
		most    int // bytes for each
		threads float64
	}
	connection, channel, used, stalled := bound{42 << 10, 5}, bound{22 << 10, 3}, bound{278 << 10, 0}, bound{3 << 20, 0}
	if patched() {
		connection, channel, used = bound{33 << 10, 4}, bound{16 << 10, 2}, bound{40 << 10, 0}
	}
	for _, step := range []struct {
		what string
		n    int
		bound
	}{
		{"connections", connections, connection},
		{"channels", channels - 1, channel},
		{"traffic", busy, used},
		{"stall", stuck, stalled},
	} {
		before, moved := holds(), b.traffic.up.Load()
		c.do(step.what, step.n)
		if step.what == "stall" {
			b.standsStill(moved + stuck*4<<20) // two windows: the one that comes back is the clients' to hold
		}
		got := holds().since(before, step.n)
		t.Logf("%s: %d bytes of heap, %d of stacks and %.1f goroutines for each", step.what, got.heap, got.stacks, got.goroutines)
		if most := step.most * raceFactor; got.heap+got.stacks > most {
			t.Errorf("%s: %d bytes are held for each, want %d at most", step.what, got.heap+got.stacks, most)
		}
		if got.goroutines > step.threads+0.1 {
			t.Errorf("%s: %.1f goroutines for each, want %.0f", step.what, got.goroutines, step.threads)
		}
	}
}

// standsStill waits until so much has come from clients in all, and then no more for a while.
func (b *bastion) standsStill(most int64) {
	b.t.Helper()
	deadline := time.Now().Add(patience)
	for still, last := 0, int64(0); still < 5; time.Sleep(50 * time.Millisecond) {
		now := b.traffic.up.Load()
		if still++; now != last || now < most {
			still, last = 0, now
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("%d bytes have come, and they still come or are less than %d", now, most)
		}
	}
}

// patched reports whether x/crypto/ssh is built with our patches.
func patched() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.ContainsFunc(info.Deps, func(m *debug.Module) bool { return m.Path == "golang.org/x/crypto" && m.Replace != nil })
}
