package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"

	"github.com/culvert-ssh/culvert/internal/lan"
)

// The two ends of a line: whoever measures is at the near one, the servers are at the far one.
const (
	nearAddr = "10.99.0.1"
	farAddr  = "10.99.0.2"
)

// apart marks the process that has a network of its own, in its environment.
const apart = "CULVERT_BENCH_APART"

// again runs this program once more, with the same arguments, where it has a network of its own and may make lines, and returns how that ended.
func again() error {
	runtime.LockOSThread() // lan.Start says why
	defer runtime.UnlockOSThread()
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the own program: %w", err)
	}
	cmd, err := lan.Start(func() *exec.Cmd {
		cmd := exec.Command(self, os.Args[1:]...)
		cmd.Env = append(os.Environ(), apart+"=1")
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		return cmd
	})
	if err != nil {
		return err
	}
	return cmd.Wait()
}

// line is a network of two places: this one, and another one a round trip away.
type line struct {
	near, far *lan.Namespace
	stretched interface{ Close() error }
}

// newLine stretches one. The caller must close it.
func newLine(w lan.Way) (*line, error) {
	l := new(line)
	if err := l.stretch(w); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func (l *line) stretch(w lan.Way) (err error) {
	if l.near, err = lan.Here(); err != nil {
		return err
	}
	if l.far, err = lan.NewNamespace(); err != nil {
		return err
	}
	s, err := lan.Stretch(
		lan.End{Namespace: l.near, Name: "line0", Addrs: []string{nearAddr + "/24"}},
		lan.End{Namespace: l.far, Name: "line0", Addrs: []string{farAddr + "/24"}}, w)
	if err == nil {
		l.stretched = s
	}
	return err
}

// Close takes the line down. Nobody may use it any more.
func (l *line) Close() error {
	var errs []error
	if l.stretched != nil {
		errs = append(errs, l.stretched.Close())
	}
	for _, n := range []*lan.Namespace{l.near, l.far} {
		if n != nil {
			errs = append(errs, n.Close())
		}
	}
	return errors.Join(errs...)
}

const lineUsage = `usage: bench line RTT[,WHAT=VALUE…] COMMAND [ARGUMENT…], as in: bench line 50ms,loss=0.1%,rate=20M sh -c '$FAR sshd …; curl …'
In either direction:
	loss=0.1%	of all packets are lost
	rate=20M	bits a second go over the line; what comes faster waits
	queue=250K	bytes wait at most, and what comes beyond is lost (as many as go in 100 ms)
	bad=4		each fourth TCP connection, as they begin, is on a bad path:
	badloss=5%	of its packets are lost besides
	badrate=1M	bits a second of it go; what comes faster is lost`

// runLine runs a command at the near end of a line.
func runLine(ctx context.Context, args []string) error {
	if len(args) < 2 {
		return errors.New(lineUsage)
	}
	way, err := lan.ParseWay(args[0])
	if err != nil {
		return fmt.Errorf("%w\n%s", err, lineUsage)
	}
	if os.Getenv(apart) == "" {
		return again()
	}
	l, err := newLine(way)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, args[1], args[2:]...)
	cmd.Env = slices.Concat(os.Environ(), []string{"FAR=nsenter --net=" + l.far.Path(), "NEAR_ADDR=" + nearAddr, "FAR_ADDR=" + farAddr})
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err = cmd.Run()
	if failed := l.Close(); failed != nil {
		return failed
	}
	return err
}
