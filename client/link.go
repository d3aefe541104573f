package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// link is a way to the bastion that is made when it is needed: its uplink comes with the first session, goes when there has been none for
// a while, and comes again, after a delay, when it breaks. A session stays with its uplink and ends with it.
type link struct {
	linkConfig

	mu      sync.Mutex
	changed chan struct{} // closed, and replaced, when something below has changed

	users    int       // sessions
	waiting  int       // those of them that wait for an uplink
	lastUsed time.Time // when the last session has ended
	broken   bool      // its uplink has ended by itself, and has not come again
	hurry    bool      // somebody wants to be told of the next attempt, at once

	over     bool   // run has returned, or is about to
	up       uplink // nil if there is none
	trying   bool   // an uplink is being made
	since    time.Time
	attempts int   // to make one, so far
	failed   error // why there is none; nil if nobody has needed it
	refused  bool  // by something that does not pass by itself, so that nobody is kept waiting
	backoff  backoff
	failedAt time.Time

	wg sync.WaitGroup // of uplinks
}

type linkConfig struct {
	name     string // of the bastion, for people
	connect  func(context.Context) (uplink, error)
	passing  func(error) bool              // the error of connect may pass by itself
	arrived  func(context.Context, uplink) // is told of each uplink; returns when the context is done. If nil, nobody is
	always   bool                          // it is needed without sessions, too
	idle     time.Duration                 // how long an uplink stays without a session; if 0, as long as it lives
	patience time.Duration                 // how long a session waits for an uplink
	log      *slog.Logger
}

func newLink(cfg linkConfig, random func() float64) *link {
	return &link{linkConfig: cfg, changed: make(chan struct{}), backoff: backoff{random: random}, since: time.Now()}
}

// run keeps the link until ctx is done. Everything that it started has ended when it returns.
func (l *link) run(ctx context.Context) {
	defer l.wg.Wait()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.over, l.failed = true, errClosed
		l.tell()
	}()
	for l.await(ctx, func() (bool, time.Time) { need, _ := l.needed(); return need, time.Time{} }) == nil {
		if up := l.establish(ctx); up != nil {
			l.keep(ctx, up)
		}
	}
}

// errClosed is why there is no uplink in the end.
var errClosed = errors.New("the tunnel has been closed")

// tell wakes everybody who waits for a change. It needs l.mu.
func (l *link) tell() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// await returns when look reports true, or ctx is done, which is an error. look is called with l.mu held: now, at each change, and at the
// time that it returns, if it returns one.
func (l *link) await(ctx context.Context, look func() (done bool, again time.Time)) error {
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		l.mu.Lock()
		done, again := look()
		changed := l.changed
		l.mu.Unlock()
		if done {
			return nil
		}
		var late <-chan time.Time
		if !again.IsZero() {
			late = time.After(time.Until(again))
		}
		select {
		case <-changed:
		case <-late:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// needed reports whether there should be an uplink, and until when if that passes by itself. It needs l.mu.
func (l *link) needed() (need bool, until time.Time) {
	switch {
	case l.always || l.users > 0 || l.hurry, l.broken && l.idle == 0:
		return true, time.Time{}
	case l.broken: // as long as it would have stayed
		until = l.lastUsed.Add(l.idle)
	}
	return time.Now().Before(until), until
}

// establish makes an uplink, however often that must be tried. It returns nil if it isn't needed any more.
func (l *link) establish(ctx context.Context) uplink {
	for l.next(ctx) {
		up, err := l.connect(ctx)
		if ctx.Err() != nil {
			if err == nil {
				up.Close()
			}
			return nil
		}
		l.mu.Lock()
		l.trying = false
		if err == nil {
			l.up, l.since, l.failed, l.broken = up, time.Now(), nil, false
			l.lastUsed = l.since
			l.tell()
			l.mu.Unlock()
			l.log.Info("connected to the bastion")
			return up
		}
		l.fail(err, !l.passing(err))
		wait := l.backoff.delay(false)
		l.mu.Unlock()
		l.log.Error("there is no SSH connection", "err", err, "again", wait.Round(time.Second))
	}
	return nil
}

// next waits until it is time for an attempt, which then has begun. It reports false if none is needed.
func (l *link) next(ctx context.Context) bool {
	var need bool
	err := l.await(ctx, func() (bool, time.Time) {
		var until time.Time
		if need, until = l.needed(); !need {
			l.letGo()
			return true, time.Time{}
		}
		at := l.retry()
		if l.hurry || !time.Now().Before(at) {
			l.trying, l.hurry, l.refused, l.since = true, false, false, time.Now()
			l.attempts++
			l.tell()
			return true, time.Time{}
		}
		if !until.IsZero() && until.Before(at) {
			at = until
		}
		return false, at
	})
	return need && err == nil
}

// retry is when the next attempt may be made. It needs l.mu.
func (l *link) retry() time.Time { return l.failedAt.Add(l.backoff.delay(l.waiting > 0 && !l.refused)) }

// fail notes that there is no uplink, and why. It needs l.mu.
func (l *link) fail(err error, refused bool) {
	l.up, l.failed, l.refused = nil, err, refused
	l.failedAt, l.since = time.Now(), time.Now()
	l.backoff.failed()
	l.tell()
}

// keep returns when the uplink has ended, or nobody has needed it for so long that it was let go.
func (l *link) keep(ctx context.Context, up uplink) {
	began := time.Now()
	serving, cancel := context.WithCancel(ctx)
	l.wg.Go(func() {
		<-up.Done()
		l.mu.Lock()
		defer l.mu.Unlock()
		l.tell()
	})
	l.wg.Go(func() {
		if l.arrived != nil {
			l.arrived(serving, up)
		}
	})
	defer l.wg.Go(func() { // whoever comes next needn't wait for it
		cancel()
		up.Close()
	})

	lost := false
	err := l.await(ctx, func() (bool, time.Time) {
		if lost = hasEnded(up); lost {
			l.backoff.recovered(time.Since(began))
			l.fail(lostError(up), false)
			l.broken = true
			return true, time.Time{}
		}
		if l.always || l.idle == 0 || l.users > 0 {
			return false, time.Time{}
		}
		end := l.lastUsed.Add(l.idle)
		if time.Now().Before(end) {
			return false, end
		}
		l.backoff.failures = 0
		l.letGo()
		return true, time.Time{}
	})
	switch {
	case err != nil:
		l.mu.Lock()
		l.letGo()
		l.mu.Unlock()
	case lost:
		l.log.Warn("the SSH connection was lost", "err", up.Cause())
	default:
		l.log.Info("the SSH connection was closed, as nobody has needed it", "for", l.idle)
	}
}

// letGo notes that there is no uplink because none is needed. What failed before, and when, is not forgotten: whoever comes next may not
// hurry because of that. It needs l.mu.
func (l *link) letGo() {
	l.up, l.broken, l.since = nil, false, time.Now()
	l.tell()
}

// hasEnded reports whether a Transport that may end has done so.
func hasEnded(t Transport) bool {
	up, ends := t.(interface{ Done() <-chan struct{} })
	if !ends {
		return false
	}
	select {
	case <-up.Done():
		return true
	default:
		return false
	}
}

// login makes an uplink now, if there is none, and returns why it can't be made, whatever the reason.
func (l *link) login(ctx context.Context) error {
	l.enter()
	defer l.leave()
	l.mu.Lock()
	attempt := l.attempts
	if l.up == nil && !l.trying {
		l.hurry = true
		attempt++
	}
	l.tell()
	l.mu.Unlock()
	var failed error
	err := l.await(ctx, func() (bool, time.Time) {
		failed = nil
		if l.up == nil {
			failed = l.failed
		}
		return l.up != nil || l.over || l.attempts >= attempt && !l.trying, time.Time{}
	})
	return errors.Join(err, failed)
}

// enter begins a use of the link.
func (l *link) enter() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.users++
	l.tell()
}

// leave ends one.
func (l *link) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.users--
	l.lastUsed = time.Now()
	l.tell()
}

// wait returns an uplink, as soon as there is one. It is for one of l.users.
func (l *link) wait(ctx context.Context, deadline time.Time) (up uplink, err error) {
	l.mu.Lock()
	l.waiting++
	if l.refused && !time.Now().Before(l.retry()) {
		l.refused = false // somebody may have done something about it
	}
	l.tell()
	l.mu.Unlock()
	var failed error
	err = l.await(ctx, func() (bool, time.Time) {
		up, failed = l.up, l.failed
		return up != nil && !hasEnded(up) || l.refused || l.over || !time.Now().Before(deadline), deadline
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting--
	switch {
	case err != nil:
		return nil, err
	case up != nil && !hasEnded(up):
		return up, nil
	case failed != nil:
		return nil, fmt.Errorf("there is no SSH connection to %s: %w", l.name, failed)
	}
	return nil, fmt.Errorf("there was no SSH connection to %s within %v", l.name, l.patience)
}
