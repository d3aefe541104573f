package standing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/culvert-ssh/culvert/activity"
	"github.com/culvert-ssh/culvert/client"
)

// Profile is a tunnel that can be brought up.
type Profile struct {
	Name string
	From string // file:line
	// Config returns the configuration: a new one at each call, without somebody to ask.
	Config func(ctx context.Context, log *slog.Logger) (*client.Config, error)
}

// keeper has the tunnels that are up.
type keeper struct {
	cfg    Config
	board  *activity.Board
	budget *client.Budget

	one sync.Mutex // held by who brings up or takes down

	mu      sync.Mutex
	tunnels []*tunnel // in the order in which they came up
}

// tunnel is one that is up.
type tunnel struct {
	Profile
	since    time.Time
	asked    *client.Config // as it was read; nobody writes to it
	standing *client.Standing
	person   *present
}

// profiles returns those that are asked for.
func (k *keeper) profiles(up *Up) ([]Profile, error) {
	all, err := k.cfg.Load(up.File)
	if err != nil {
		return nil, err
	}
	if up.All {
		if len(all) == 0 {
			return nil, errors.New("there are no tunnels to bring up: culvert_config(5) says how to write one")
		}
		return all, nil
	}
	var chosen []Profile
	for _, name := range up.Names {
		i := slices.IndexFunc(all, func(p Profile) bool { return p.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no tunnel %q: culvert list shows those that there are", name)
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

// maxLogins bounds the SSH connections that are being made at once because somebody waits for them.
const maxLogins = 8

// up brings tunnels up.
func (k *keeper) up(ctx context.Context, up *Up, person Person) ([]Result, error) {
	chosen, err := k.profiles(up)
	if err != nil {
		return nil, err
	}
	results := k.raiseAll(ctx, chosen)
	if up.Login {
		k.logins(ctx, results, person)
	}
	return results, nil
}

func (k *keeper) raiseAll(ctx context.Context, chosen []Profile) (results []Result) {
	k.one.Lock()
	defer k.one.Unlock()
	for _, p := range chosen {
		r := Result{Name: p.Name}
		var err error
		if r.Outcome, err = k.raise(ctx, p); err != nil {
			r.Outcome, r.Error = Failed, err.Error()
			k.cfg.Log.Error("a tunnel did not come up", "tunnel", p.Name, "err", err)
		} else if t := k.find(p.Name); t != nil {
			r.Ready, r.Error = forwards(t.standing.Status())
		}
		results = append(results, r)
	}
	return results
}

// raise brings one tunnel up.
func (k *keeper) raise(ctx context.Context, p Profile) (Outcome, error) {
	asked, err := p.Config(ctx, nil)
	if err != nil {
		return Failed, err
	}
	outcome := CameUp
	if t := k.find(p.Name); t != nil {
		switch {
		case t.asked.Same(asked):
			return WasUp, nil
		case t.standing.Status().Link.Sessions > 0:
			return InUse, nil
		}
		k.lower(t)
		outcome = Replaced
	}
	log := k.cfg.Log.With("tunnel", p.Name)
	cfg, err := p.Config(ctx, log)
	if err != nil {
		return Failed, err
	}
	t := &tunnel{Profile: p, since: time.Now(), asked: asked, person: &present{log: log, askpass: k.cfg.Ask}}
	cfg.Log, cfg.Ask, cfg.Notice = log, t.person.ask, t.person.notice
	cfg.Activity, cfg.LinkName, cfg.StripesBudget = k.board, p.Name, k.budget
	if t.standing, err = client.Stand(cfg); err != nil {
		return Failed, err
	}
	log.Info("the tunnel is up", "from", p.From)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.tunnels = append(k.tunnels, t)
	return outcome, nil
}

// forwards returns what a person needs to use those that are there, and why others aren't.
func forwards(st client.Status) (ready []string, missing string) {
	var errs []string
	for _, f := range st.Forwards {
		if f.Ready != "" {
			ready = append(ready, f.Ready)
		}
		if f.Error != "" {
			errs = append(errs, f.Error)
		}
	}
	return ready, strings.Join(errs, "; ")
}

// logins makes the SSH connections of the tunnels in results, while the person is there.
func (k *keeper) logins(ctx context.Context, results []Result, person Person) {
	person = person.oneAtATime()
	var wg sync.WaitGroup
	room := make(chan struct{}, maxLogins)
	for i := range results {
		t := k.find(results[i].Name)
		if t == nil {
			continue
		}
		wg.Go(func() {
			room <- struct{}{}
			defer func() { <-room }()
			defer t.person.comes(t.Name, person)()
			if err := t.standing.Login(ctx); err != nil {
				results[i].Outcome, results[i].Error = Failed, err.Error()
			}
		})
	}
	wg.Wait()
}

// down takes tunnels down.
func (k *keeper) down(d *Down) (results []Result) {
	k.one.Lock()
	defer k.one.Unlock()
	names := d.Names
	if d.All {
		for _, t := range k.all() {
			names = append(names, t.Name)
		}
	}
	results = make([]Result, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		results[i] = Result{Name: name, Outcome: WasDown}
		if t := k.find(name); t != nil {
			results[i].Outcome = WentDown
			wg.Go(func() { k.lower(t) })
		}
	}
	wg.Wait()
	return results
}

// lower takes one tunnel down, and returns when nothing of it is left.
func (k *keeper) lower(t *tunnel) {
	t.standing.Close()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.tunnels = slices.DeleteFunc(k.tunnels, func(x *tunnel) bool { return x == t })
	k.cfg.Log.Info("the tunnel is down", "tunnel", t.Name)
}

func (k *keeper) find(name string) *tunnel {
	k.mu.Lock()
	defer k.mu.Unlock()
	if i := slices.IndexFunc(k.tunnels, func(t *tunnel) bool { return t.Name == name }); i >= 0 {
		return k.tunnels[i]
	}
	return nil
}

func (k *keeper) all() []*tunnel {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.tunnels)
}

// status tells how all tunnels are.
func (k *keeper) status() (tunnels []Tunnel, running *activity.Snapshot) {
	s := k.board.Snapshot()
	for _, t := range k.all() {
		st := t.standing.Status()
		tunnels = append(tunnels, Tunnel{Name: t.Name, From: t.From, Since: t.since, Status: st})
		s.Links = append(s.Links, linkOf(t.Name, st))
	}
	return tunnels, &s
}

// linkOf says the same in activity's words.
func linkOf(name string, st client.Status) activity.Link {
	l := activity.Link{Name: name, Bastion: st.Bastion, Since: st.Link.Since, Cause: st.Link.Error, Sides: st.Link.Sides}
	if l.Cause == "" {
		_, l.Cause = forwards(st)
	}
	if st.Link.Retry != nil {
		l.Retry = *st.Link.Retry
	}
	switch st.Link.State {
	case client.LinkConnecting:
		l.State = activity.Connecting
	case client.LinkConnected:
		l.State = activity.Connected
	case client.LinkWaiting:
		l.State = activity.Broken
	default:
		l.State = activity.Idle
	}
	return l
}
