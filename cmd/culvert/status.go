package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/culvert-ssh/culvert/activity"
	"github.com/culvert-ssh/culvert/screen"
	"github.com/culvert-ssh/culvert/standing"
)

// watchEvery is how often a status is looked at that goes on.
const watchEvery = time.Second

// statusJSON is a status for programs.
type statusJSON struct {
	Running bool `json:"running"` // there is a background process
	*standing.Reply
	Tunnels []standing.Tunnel `json:"tunnels"`
}

// showStatus shows how the tunnels are that are up.
func showStatus(c *call) error {
	t, err := c.tunnels("json", "watch")
	if err != nil {
		return err
	}
	if t.watch {
		return t.watchStatus()
	}
	reply, err := t.status()
	if err != nil {
		return err
	}
	if t.json {
		return t.writeJSON(statusJSON{Running: reply.PID != 0, Reply: reply, Tunnels: append([]standing.Tunnel{}, reply.Tunnels...)})
	}
	return t.show(reply, activity.Style{Unicode: showsUnicode(os.Getenv), Color: colorful(t.stdout)})
}

// status asks how the tunnels are that were named, or all. If there is no process, none is up.
func (t *tunnels) status() (*standing.Reply, error) {
	reply, err := t.ask(standing.Request{Status: &standing.Status{}})
	if errors.Is(err, standing.ErrNotRunning) {
		reply, err = &standing.Reply{}, nil
	}
	if err != nil {
		return nil, err
	}
	for _, name := range t.names {
		if !slices.ContainsFunc(reply.Tunnels, func(x standing.Tunnel) bool { return x.Name == name }) {
			return nil, fmt.Errorf("%s is not up: culvert up %s brings it up", name, name)
		}
	}
	if len(t.names) > 0 {
		other := func(name string) bool { return !slices.Contains(t.names, name) }
		reply.Tunnels = slices.DeleteFunc(reply.Tunnels, func(x standing.Tunnel) bool { return other(x.Name) })
		a := reply.Activity
		a.Links = slices.DeleteFunc(a.Links, func(x activity.Link) bool { return other(x.Name) })
		a.Tunnels = slices.DeleteFunc(a.Tunnels, func(x activity.Tunnel) bool { return other(x.Link) })
		a.Ended = slices.DeleteFunc(a.Ended, func(x activity.Ended) bool { return other(x.Link) })
	}
	return reply, nil
}

// lines are a status for people.
func lines(reply *standing.Reply, st activity.Style) []string {
	if len(reply.Tunnels) == 0 || reply.Activity == nil {
		return []string{"no tunnel is up"}
	}
	return reply.Activity.Lines(st)
}

func (t *tunnels) show(reply *standing.Reply, st activity.Style) error {
	for _, line := range lines(reply, st) {
		if _, err := fmt.Fprintln(t.stdout, line); err != nil {
			return err
		}
	}
	return nil
}

// watchStatus goes on showing it: on a terminal in place, otherwise again and again.
func (t *tunnels) watchStatus() error {
	ctx, stop := untilSignal()
	defer stop()
	look := func(reply *standing.Reply) error { return t.again(reply) }
	if f, ok := t.stdout.(*os.File); ok && !t.json {
		if s, err := screen.Open(f); err == nil { // where that fails, there are lines
			defer s.Leave() // what was seen last stays
			look = func(reply *standing.Reply) error {
				width, height := s.Size()
				st := activity.Style{Unicode: showsUnicode(os.Getenv), Color: colorful(t.stdout), Width: width}
				s.Draw(st.Clip(lines(reply, st), height))
				return nil
			}
		}
	}
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		reply, err := t.status()
		if err == nil {
			err = look(reply)
		}
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// again writes the next status of several.
func (t *tunnels) again(reply *standing.Reply) error {
	if t.json { // one a line
		return t.writeJSONLine(statusJSON{Running: reply.PID != 0, Reply: reply, Tunnels: append([]standing.Tunnel{}, reply.Tunnels...)})
	}
	if err := t.show(reply, activity.Style{Unicode: showsUnicode(os.Getenv)}); err != nil {
		return err
	}
	_, err := fmt.Fprintln(t.stdout)
	return err
}

// listed is one tunnel that there is.
type listed struct {
	Name    string `json:"name"`
	Bastion string `json:"bastion"`
	From    string `json:"from"` // file:line
	Up      bool   `json:"up"`
}

// listTunnels shows the tunnels that there are.
func listTunnels(c *call) error {
	t, err := c.tunnels("file", "json")
	if err != nil {
		return err
	}
	if len(t.names) > 0 {
		return &usageError{"culvert list takes no names"}
	}
	all, err := profiles(t.file)
	if err != nil {
		return err
	}
	reply, err := t.status()
	if err != nil {
		return err
	}
	found := []listed{}
	for _, p := range all {
		found = append(found, listed{p.Name, p.Bastion, p.At.String(), slices.ContainsFunc(reply.Tunnels, func(x standing.Tunnel) bool { return x.Name == p.Name })})
	}
	if t.json {
		return t.writeJSON(found)
	}
	if len(found) == 0 {
		t.out.line("there are no tunnels yet: culvert_config(5) says how to write one")
	}
	w := tabwriter.NewWriter(t.stdout, 0, 0, 2, ' ', 0)
	for _, l := range found {
		state := "down"
		if l.Up {
			state = "up"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", l.Name, state, l.Bastion, l.From)
	}
	return w.Flush()
}

// profiles adds the names of tunnels that there are.
func (s *suggestions) profiles(typed string) {
	all, err := profiles("")
	if err != nil {
		return // the command itself will say so
	}
	for _, p := range all {
		s.add(typed, p.Name, p.Bastion)
	}
}
