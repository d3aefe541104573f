package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// KiB and MiB of memory, in KiB.
const (
	kib = 1
	mib = 1024
)

func memoryMeasurements(o options) []measurement {
	both := func(id, what, unit string, fill func(c *contender, hold func(closer)) (float64, error)) measurement {
		return measurement{
			id: id, at: fresh, who: tunnelsOnly, fill: fill,
			rows: []row{
				{ID: id + "-client", Name: "memory of the client for " + what, Unit: unit, LessBetter: true},
				{ID: id + "-server", Name: "memory of the server for " + what, Unit: unit, LessBetter: true},
			},
		}
	}
	connections := both("idle-connection", "an idle connection", "KiB", func(c *contender, hold func(closer)) (float64, error) {
		return c.logIn(o.connections, hold)
	})
	connections.rows = connections.rows[1:] // a client has one
	connections.who = oneOfEachServer
	return []measurement{
		connections,
		both("idle-channel", "an idle channel", "KiB", func(c *contender, hold func(closer)) (float64, error) {
			return kib * float64(o.channels), shared(o.channels, 4, func(int) error { return c.openIdle(hold) })
		}),
		both("used-channel", fmt.Sprintf("a channel that is idle after %d MiB", o.traffic>>20), "KiB", func(c *contender, hold func(closer)) (float64, error) {
			return kib * float64(o.channels), shared(o.channels, 4, func(int) error { return c.openUsed(o.traffic, hold) })
		}),
		both("stalled-stream", "a stream that nobody reads", "MiB", func(c *contender, hold func(closer)) (float64, error) {
			return mib * float64(o.stalled), shared(o.stalled, 4, func(int) error { return c.openStalled(hold) })
		}),
	}
}

type closer interface{ Close() error }

// logIn opens connections that do nothing, and returns how many.
func (c *contender) logIn(n int, hold func(closer)) (float64, error) {
	if c.server == "sshd" {
		n = min(n, 50) // each is two processes
	}
	return kib * float64(n), shared(n, 4, func(int) error {
		conn, err := ssh.Dial("tcp", c.sshd.String(), c.login)
		if err == nil {
			hold(conn)
		}
		return err
	})
}

// openIdle opens a channel on which a byte has gone there and back.
func (c *contender) openIdle(hold func(closer)) error {
	conn, err := c.dial(c.echo)
	if err != nil {
		return err
	}
	hold(conn)
	return touch(conn)
}

// openUsed opens a channel, and has so many bytes come by it.
func (c *contender) openUsed(traffic int64, hold func(closer)) error {
	conn, err := c.ask(-traffic)
	if err != nil {
		return err
	}
	hold(conn)
	return exactly(&limited{conn, traffic}, traffic)
}

// openStalled asks for bytes without an end, and reads none.
func (c *contender) openStalled(hold func(closer)) error {
	conn, err := c.ask(endless)
	if err == nil {
		hold(conn)
	}
	return err
}

// limited reads so many bytes, and then the end.
type limited struct {
	net.Conn
	left int64
}

func (l *limited) Read(b []byte) (int, error) {
	if l.left == 0 {
		return 0, io.EOF
	}
	n, err := l.Conn.Read(b[:min(int64(len(b)), l.left)])
	l.left -= int64(n)
	return n, err
}

// crowd is a contender in a scene of its own, with what it was filled with.
type crowd struct {
	*contender
	scene  *scene
	ours   map[int]process // the processes of client and server
	before [2]float64      // what they needed empty: client, server
	now    [2]float64
	parts  float64 // how many connections, channels or streams there are, in units of memory
	held   []closer
	failed error
}

// fillAll fills a scene of its own for each contender, and returns by how much each has grown, of those that could be filled: all at once, as
// garbage needs some seconds to go.
func (b *bench) fillAll(ctx context.Context, m measurement, all []*contender) map[string][]float64 {
	var crowds []*crowd
	defer func() {
		for _, k := range crowds {
			k.disperse()
		}
	}()
	for _, c := range all {
		k, err := b.gather(ctx, m.at, c.name)
		if err != nil {
			b.failed = append(b.failed, fmt.Errorf("%s, %s: %w", m.id, c.name, err))
			continue
		}
		crowds = append(crowds, k)
	}
	err := settle(ctx, crowds)
	for _, k := range crowds {
		k.before = k.now
		if err == nil {
			if k.failed = k.fill(m.fill); k.failed != nil {
				b.failed = append(b.failed, fmt.Errorf("%s, %s: %w", m.id, k.name, k.failed))
			}
		}
	}
	if err == nil {
		err = settle(ctx, crowds)
	}
	if err != nil {
		b.failed = append(b.failed, fmt.Errorf("%s: %w", m.id, err))
		return nil
	}
	grown := map[string][]float64{}
	for _, k := range crowds {
		if k.failed == nil {
			client, server := (k.now[0]-k.before[0])/k.parts, (k.now[1]-k.before[1])/k.parts
			grown[k.name] = []float64{client, server}[2-len(m.rows):] // the server's alone, if there is one row
		}
	}
	return grown
}

// gather stages one contender.
func (b *bench) gather(ctx context.Context, at place, name string) (*crowd, error) {
	others, err := processes()
	if err != nil {
		return nil, err
	}
	s, in, err := b.stage(ctx, at, slices.DeleteFunc(specs(), func(c spec) bool { return c.name != name }))
	if err != nil {
		return nil, err
	}
	k := &crowd{contender: in[0], scene: s, ours: map[int]process{}}
	if err := k.find(others); err != nil {
		k.disperse()
		return nil, err
	}
	return k, nil
}

// fill fills it, while nobody else is filled.
func (k *crowd) fill(with func(c *contender, hold func(closer)) (float64, error)) error {
	others, err := processes()
	if err != nil {
		return err
	}
	var mu sync.Mutex
	k.parts, err = with(k.contender, func(h closer) {
		mu.Lock()
		defer mu.Unlock()
		k.held = append(k.held, h)
	})
	return errors.Join(err, k.find(others)) // each connection is a process more of sshd's
}

// find adds those processes of client and server that weren't there before.
func (k *crowd) find(others map[int]process) error {
	all, err := processes()
	if err != nil {
		return err
	}
	for pid, p := range all {
		_, old := others[pid]
		if !old && (p.name == k.server || slices.Contains(k.client, p.name)) && descends(pid, all) {
			k.ours[pid] = p
		}
	}
	return nil
}

// disperse ends it all.
func (k *crowd) disperse() {
	for _, h := range k.held {
		_ = h.Close() // nobody needs it any more
	}
	_ = k.scene.Close()
}

const (
	settlePause = time.Second
	settleQuiet = 15 // pauses
	settleLong  = 60 // pauses
)

// settle waits until none of them needs more or less by a hundredth for a quarter of a minute: programs in Go give garbage back when nothing happens for
// some seconds.
func settle(ctx context.Context, all []*crowd) error {
	for quiet, n := 0, 0; quiet < settleQuiet && n < settleLong; n++ {
		quiet++
		for _, k := range all {
			now, err := k.memory()
			if err != nil {
				return err
			}
			if change := (now[0] + now[1]) / (k.now[0] + k.now[1]); n == 0 || change < 0.99 || change > 1.01 {
				quiet, k.now = 0, now
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(settlePause):
		}
	}
	return nil
}

// pss is the memory that is a process's own, and its share of what it has in common with others (proc(5), smaps_rollup). So the pages that
// sshd's many processes have together are counted once.
var pss = regexp.MustCompile(`(?m)^Pss: +(\d+) kB$`)

// memory returns how many KiB the client's and the server's processes need.
func (k *crowd) memory() (needs [2]float64, err error) {
	for pid, p := range k.ours {
		text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "smaps_rollup"))
		if errors.Is(err, os.ErrNotExist) {
			continue // it has ended meanwhile
		}
		if err != nil {
			return needs, err
		}
		found := pss.FindSubmatch(text)
		if found == nil {
			continue // it is ending
		}
		n, err := strconv.ParseFloat(string(found[1]), 64)
		if err != nil {
			return needs, err
		}
		if p.name == k.server {
			needs[1] += n
		} else {
			needs[0] += n
		}
	}
	return needs, nil
}
