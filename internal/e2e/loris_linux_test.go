package e2e

import (
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestSlowClientsLeaveNothingBehind has clients stop wherever one can stop: in the middle of a command, before they connect to what was
// announced to them, before they send what they have, and in the middle of what they are sent. Each may keep its place while it is there.
// When all have gone, both programs hold what they held before, and nobody waits for them.
func TestSlowClientsLeaveNothingBehind(t *testing.T) {
	t.Parallel()
	server := newPuppet(t)
	stop := server.played(func(x *puppetTransfer) {
		x.say("150 Here it comes")
		if x.verb == "RETR" {
			server.serving.Go(func() { // until nobody takes more, and then until there is nobody
				for more := make([]byte, 1<<20); ; {
					if _, err := x.data.Write(more); err != nil {
						x.data.Close()
						return
					}
				}
			})
			return
		}
		server.serving.Go(func() { _, _ = x.data.Read(make([]byte, 1)); x.data.Close() })
	})
	defer stop()
	tun := culvertCulvertd.open(t, server.FTP, nil, nil, "MaxChannels 200")
	before := map[*program]int{tun.client: descriptors(t, tun.client), tun.bastion.program: descriptors(t, tun.bastion.program)}

	stops := []func(d *dialog) io.Closer{
		func(d *dialog) io.Closer { fmt.Fprint(d.W, "RETR fi"); d.W.Flush(); return nil },
		func(d *dialog) io.Closer { d.endpoint(); return nil },
		func(d *dialog) io.Closer { return tun.connect(t, d.endpoint()) },
		func(d *dialog) io.Closer { return d.transfer(tun, "STOR") },
		func(d *dialog) io.Closer { return d.transfer(tun, "RETR") },
	}
	const clients = 50
	var (
		all   sync.WaitGroup
		slots = make([][]io.Closer, clients)
	)
	for i := range clients {
		d := login(t, tun.connect(t, 0), server.FTP)
		slots[i] = append(slots[i], d)
		if data := stops[i%len(stops)](d); data != nil {
			slots[i] = append(slots[i], data)
		}
	}
	for p, n := range before {
		if now := descriptors(t, p); now < n+clients {
			t.Errorf("%s holds %d files with %d clients, and %d without: the test proves nothing", p.name, now, clients, n)
		}
	}
	for _, open := range slots {
		all.Go(func() {
			for _, c := range open {
				if data, ok := c.(*net.TCPConn); ok {
					reset(data) // an end in order has the other half wait for the server, for 30 seconds
				}
				c.Close()
			}
		})
	}
	all.Wait()
	for p, n := range before {
		p.settles(n)
	}
	// What waits in a goroutine that holds no file is in the stacks.
	for p := range before {
		p.signal(syscall.SIGQUIT)
		p.ended()
		for _, busy := range []string{"control.Run(", "relay.Join(", "control.(*DataListener).Accept("} {
			if strings.Contains(p.Output(), busy) {
				t.Errorf("%s is in %s) after all clients have gone", p.name, busy)
			}
		}
		if !strings.Contains(p.Output(), "goroutine 1 ") {
			t.Errorf("%s shows no stacks: the test proves nothing", p.name)
		}
	}
}

// transfer begins a transfer over a data connection, and returns that.
func (d *dialog) transfer(tun *tunnel, verb string) io.Closer {
	d.t.Helper()
	data := tun.connect(d.t, d.endpoint())
	d.command(150, verb+" file")
	return data
}

// settles waits until the program holds no more files than n.
func (p *program) settles(n int) {
	p.t.Helper()
	for late := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) { // there is nobody who says it
		now := descriptors(p.t, p)
		if now <= n {
			return
		}
		if time.Now().After(late) {
			p.t.Errorf("%s holds %d files %v after all clients have gone, and %d before they came", p.name, now, patience, n)
			return
		}
	}
}

// descriptors counts what a program holds open.
func descriptors(t *testing.T, p *program) int {
	t.Helper()
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.PID()))
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}
