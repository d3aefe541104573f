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
	"time"

	"golang.org/x/crypto/ssh"
)

func memoryMeasurements(o options) []measurement {
	const rounds = 2 // everything is started anew for each: there is little noise
	one := func(id, name, unit string, who func(*contender) bool, f func(ctx context.Context, c *contender) (float64, error)) measurement {
		return measurement{
			id: id, at: fresh, who: who, rounds: rounds,
			rows: []row{{ID: id, Name: name, Unit: unit, LessBetter: true}},
			run: func(ctx context.Context, _ *scene, c *contender) ([]float64, error) {
				v, err := f(ctx, c)
				return []float64{v}, err
			},
		}
	}
	return []measurement{
		one("idle-connection", "memory of the server for an idle connection", "KiB", oneOfEachServer,
			func(ctx context.Context, c *contender) (float64, error) { return c.idleConnection(ctx, o) }),
		one("idle-channel", "memory of client and server for an idle channel", "KiB", tunnelsOnly,
			func(ctx context.Context, c *contender) (float64, error) { return c.idleChannel(ctx, o.channels, 0) }),
		one("used-channel", fmt.Sprintf("the same after %d MiB", o.traffic>>20), "KiB", tunnelsOnly,
			func(ctx context.Context, c *contender) (float64, error) {
				return c.idleChannel(ctx, o.channels, o.traffic)
			}),
		one("stalled-stream", "memory of client and server for a stream that nobody reads", "MiB", tunnelsOnly,
			func(ctx context.Context, c *contender) (float64, error) { return c.stalledStream(ctx, o.stalled) }),
	}
}

// idleConnection opens connections that do nothing, and returns how many KiB the server needs for each.
func (c *contender) idleConnection(ctx context.Context, o options) (float64, error) {
	n := o.connections
	if c.server == "sshd" {
		n = min(n, 50) // each is two processes
	}
	kib, err := c.grown(ctx, []string{c.server}, func(hold func(closer)) error {
		return shared(n, 4, func(int) error {
			conn, err := ssh.Dial("tcp", c.sshd.String(), c.login)
			if err == nil {
				hold(conn)
			}
			return err
		})
	})
	return kib / float64(n), err
}

// idleChannel opens channels, has so many bytes go through each if that is not 0, and returns how many KiB client and server need for each.
func (c *contender) idleChannel(ctx context.Context, n int, traffic int64) (float64, error) {
	kib, err := c.grown(ctx, c.processes(), func(hold func(closer)) error {
		return shared(n, 4, func(int) error {
			if traffic == 0 {
				conn, err := c.dial(c.echo)
				if err != nil {
					return err
				}
				hold(conn)
				return touch(conn)
			}
			conn, err := c.ask(-traffic)
			if err != nil {
				return err
			}
			hold(conn)
			return exactly(&limited{conn, traffic}, traffic)
		})
	})
	return kib / float64(n), err
}

// stalledStream asks for bytes without an end, reads none, and returns how many MiB client and server need for each.
func (c *contender) stalledStream(ctx context.Context, n int) (float64, error) {
	kib, err := c.grown(ctx, c.processes(), func(hold func(closer)) error {
		return shared(n, 4, func(int) error {
			conn, err := c.ask(endless)
			if err == nil {
				hold(conn)
			}
			return err
		})
	})
	return kib / 1024 / float64(n), err
}

func (c *contender) processes() []string { return append(slices.Clone(c.client), c.server) }

type closer interface{ Close() error }

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

// grown returns by how many KiB the processes of these names have grown when fill is done, and lets go what fill holds.
func (c *contender) grown(ctx context.Context, names []string, fill func(hold func(closer)) error) (float64, error) {
	before, err := settled(ctx, names)
	if err != nil {
		return 0, err
	}
	held := make(chan closer, 1<<16)
	defer func() {
		close(held)
		for h := range held {
			_ = h.Close() // nobody needs it any more
		}
	}()
	if err := fill(func(h closer) { held <- h }); err != nil {
		return 0, err
	}
	after, err := settled(ctx, names)
	return after - before, err
}

const (
	settlePause = 500 * time.Millisecond
	settleLong  = 10 // pauses
)

// settled returns how many KiB our descendants of these names need, once that changes by less than a hundredth in half a second, or after
// five seconds.
func settled(ctx context.Context, names []string) (float64, error) {
	last := -1.0
	for range settleLong {
		now, err := memoryOf(names)
		if err != nil || last >= 0 && now > 0.99*last && now < 1.01*last {
			return now, err
		}
		last = now
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(settlePause):
		}
	}
	return last, nil
}

// pss is the memory that is a process's own, and its share of what it has in common with others (proc(5), smaps_rollup). So the pages that
// sshd's many processes have together are counted once.
var pss = regexp.MustCompile(`(?m)^Pss: +(\d+) kB$`)

// memoryOf returns how many KiB our descendants of these names need.
func memoryOf(names []string) (float64, error) {
	all, err := processes()
	if err != nil {
		return 0, err
	}
	sum := 0.0
	for pid, p := range all {
		if !slices.Contains(names, p.name) || !descends(pid, all) {
			continue
		}
		text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "smaps_rollup"))
		if errors.Is(err, os.ErrNotExist) {
			continue // it has ended meanwhile
		}
		if err != nil {
			return 0, err
		}
		found := pss.FindSubmatch(text)
		if found == nil {
			continue // it is ending
		}
		kib, err := strconv.ParseFloat(string(found[1]), 64)
		if err != nil {
			return 0, err
		}
		sum += kib
	}
	return sum, nil
}
