package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/culvert-ssh/culvert/heap"
	"github.com/culvert-ssh/culvert/processors"
	"github.com/culvert-ssh/culvert/profile"
	"github.com/culvert-ssh/culvert/standing"
)

// bringUp brings tunnels up, in the background process, which it starts if there is none.
func bringUp(c *call) error {
	ready := standing.Background()
	t, err := c.tunnels("all", "file", "foreground", "json", "login")
	if err != nil {
		return err
	}
	if ready != nil {
		return t.serve(nil, ready)
	}
	if err := t.chosen("up"); err != nil {
		return err
	}
	first := &standing.Up{File: t.file, Names: t.names, All: t.all, Login: t.login, Environment: environment()}
	if err := t.exist(); err != nil {
		return err
	}
	if t.foreground {
		return t.serve(first, nil)
	}
	p, err := place()
	if err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	ctx, stop := untilSignal()
	defer stop()
	reply, err := p.CallOrStart(ctx, standing.Request{Version: version, Up: first}, standing.Person{Notice: c.out.line, Ask: asker().Ask},
		func(ctx context.Context) error { return p.Start(ctx, program, "up") })
	if err != nil {
		return err
	}
	if reply.Version != version {
		c.out.line(fmt.Sprintf("culvert: the background process is still of culvert %s, and this one is %s: culvert down --all ends it, and culvert up begins anew",
			reply.Version, version))
	}
	return t.results(reply)
}

// exist checks the profiles before anything is started: the error of a file is best told where it was typed.
func (t *tunnels) exist() error {
	all, err := profiles(t.file)
	if err != nil {
		return err
	}
	for _, name := range t.names {
		if _, err := profile.Find(all, name); err != nil {
			return err
		}
	}
	return nil
}

// results shows what has become of each tunnel.
func (t *tunnels) results(reply *standing.Reply) error {
	failed := false
	for _, r := range reply.Results {
		switch r.Outcome {
		case standing.Failed, standing.InUse, standing.WasDown:
			failed = true
		}
		if !t.json {
			t.result(r)
		}
	}
	if t.json {
		if err := t.writeJSON(reply.Results); err != nil {
			return err
		}
	}
	if failed {
		return exitError(exitSSH)
	}
	return nil
}

func (t *tunnels) result(r standing.Result) {
	said := map[standing.Outcome]string{
		standing.WasUp:    "it was up already",
		standing.Replaced: "it is up as its configuration is now",
		standing.InUse:    "its configuration has changed, but it is being used as it was: culvert down " + r.Name + " ends that",
		standing.WasDown:  "it is not up",
		standing.WentDown: "it is down",
	}[r.Outcome]
	if said != "" {
		t.out.line(r.Name + ": " + said)
	}
	for _, line := range r.Ready {
		t.out.line(r.Name + ": " + line)
	}
	if r.Error != "" {
		t.out.failure(fmt.Errorf("%s: %s", r.Name, r.Error))
	}
}

// serve is the process that holds the tunnels: in the background, where somebody waits to hear that it is ready, or in the foreground.
func (t *tunnels) serve(first *standing.Up, ready func(error)) error {
	ctx, stop := untilSignal()
	defer stop()
	heap.Keep()
	processors.Keep()
	err := t.serveUntil(ctx, first, ready)
	if ready != nil {
		ready(err) // unless it was
	}
	return err
}

func (t *tunnels) serveUntil(ctx context.Context, first *standing.Up, ready func(error)) error {
	p, err := place()
	if err != nil {
		return err
	}
	out := t.out
	if ready != nil {
		log, err := p.OpenLog()
		if err != nil {
			return err
		}
		defer log.Close()
		out = &printer{w: &stamped{log, time.Now}}
	}
	log := slog.New(&handler{out: out, level: slog.LevelInfo})
	defer tell(log, daemon.SdNotifyStopping)
	return standing.Serve(ctx, standing.Config{
		Place: p, Version: version, Load: standable, Environment: adopt, Log: log, First: first,
		Ask: func(ctx context.Context, question string, echo bool) (string, error) {
			return asker().Ask(ctx, question, echo)
		},
		Ready: func(up []standing.Result) {
			for _, r := range up {
				t.result(r)
			}
			if ready != nil {
				ready(nil)
			}
			tell(log, fmt.Sprintf("%s\nSTATUS=%d tunnels", daemon.SdNotifyReady, len(up)))
		},
	})
}

// tell tells the service manager, if there is one (sd_notify(3)).
func tell(log *slog.Logger, what string) {
	if _, err := daemon.SdNotify(false, what); err != nil {
		log.Warn("the service manager is not told", "err", err)
	}
}

// stamped writes each line with its time before it.
type stamped struct {
	io.Writer
	now func() time.Time
}

func (s *stamped) Write(line []byte) (int, error) {
	if _, err := s.Writer.Write(append([]byte(s.now().Format(time.DateTime)+" "), line...)); err != nil {
		return 0, err
	}
	return len(line), nil
}

// takeDown takes tunnels down.
func takeDown(c *call) error {
	t, err := c.tunnels("all", "json")
	if err != nil {
		return err
	}
	if err := t.chosen("down"); err != nil {
		return err
	}
	reply, err := t.ask(standing.Request{Down: &standing.Down{Names: t.names, All: t.all}})
	if errors.Is(err, standing.ErrNotRunning) && t.all {
		return nil
	}
	if err != nil {
		return err
	}
	return t.results(reply)
}

func (t *tunnels) ask(r standing.Request) (*standing.Reply, error) {
	p, err := place()
	if err != nil {
		return nil, err
	}
	ctx, stop := untilSignal()
	defer stop()
	r.Version = version
	return p.Call(ctx, r, standing.Person{})
}
