// Package audit writes what happened, one JSON line an event, in the order in which it
// happened, and reads it again: it proves that nothing is missing, finds events, and shows a
// session to a person. It decides nothing, and it knows no secret to keep back.
package audit

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"
)

// Event is one thing that happened. Its kinds are the types of this package; EventName is the
// stable name under which a reader finds it.
type Event interface{ EventName() string }

// Log writes events. It may be used from any goroutine.
type Log struct {
	mu     sync.Mutex
	out    sink
	now    func() time.Time
	goOn   bool
	watch  func(Event)
	log    *slog.Logger
	closed bool

	behind []stamped   // see Later
	soon   *time.Timer // writes them; nil until there were some
	armed  bool        // soon runs

	// What could not be written since the last event that could.
	lost  uint64
	since time.Time
	why   error
	said  time.Time // when the log was last told
	retry *time.Timer
}

// sink is where a Log's lines go. It is used by one goroutine at a time.
type sink interface {
	// append puts events on record, all or none.
	append(now time.Time, events ...Event) error
	io.Closer
}

// Options say how a file is written. The zero value is the strictest.
type Options struct {
	// Now stamps the events. If nil, time.Now does.
	Now func() time.Time

	// Continue is AuditFailure continue, see [Log.SetContinue].
	Continue bool

	// Log is told at once when events are lost, and when lines are gone from the file. If nil, nobody is.
	Log *slog.Logger
}

// New returns a Log that writes to w, one Write an event, stamped by now. Its lines have no chain, as
// nothing is known of what else is written to w.
func New(w io.Writer, now func() time.Time) *Log { return newLog(&stream{w: w}, Options{Now: now}) }

// Open returns a Log that appends to a file, which is made if it isn't there. Other processes may append to it at
// the same time, and it may be moved away for rotation (see [Log.Reopen]). The caller must call Close.
//
// If path is something else than a file, such as a pipe, the lines have no chain.
func Open(path string, o Options) (*Log, error) {
	f, err := openFile(path)
	if err != nil {
		return nil, err
	}
	return newLog(f, o), nil
}

func newLog(out sink, o Options) *Log {
	l := &Log{out: out, now: o.Now, goOn: o.Continue, watch: func(Event) {}, log: o.Log}
	if l.now == nil {
		l.now = time.Now
	}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	if f, ok := out.(*file); ok {
		f.log = l.log
	}
	return l
}

// SetContinue says what Write returns of an event that can't be written: an error (AuditFailure close), or with continue
// none, so that what it records goes on. The event is counted and the log told in both cases.
func (l *Log) SetContinue(goOn bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.goOn = goOn
}

// Observe has watch called with each event that is to be written, and with a Lost for each that could not be. It must not
// wait. There is one watcher; the next takes its place.
func (l *Log) Observe(watch func(Event)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watch = watch
}

// Write writes one event, or several at once, all or none. An error means that they are not on record; what then
// happens to the thing that they record is the caller's decision, and must not be nothing.
func (l *Log) Write(events ...Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range events {
		l.watch(e)
	}
	err := l.append(events...)
	if err == nil {
		return nil
	}
	l.loseAll(len(events), err)
	if l.goOn {
		return nil
	}
	return fmt.Errorf("write audit event %q: %w", events[len(events)-1].EventName(), err)
}

// Reopen makes the Log write to a new file if the one at its path was moved away. The first line of a new file continues
// the chain of the old one. With an error, the old one is still written to.
func (l *Log) Reopen() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	f, ok := l.out.(*file)
	if !ok || l.closed {
		return nil
	}
	if err := f.reopen(l.now()); err != nil {
		return fmt.Errorf("reopen audit log: %w", err)
	}
	return nil
}

// Close writes down what was lost, if that is possible by now, and closes the file.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.catchUp()
	var err error
	if l.lost > 0 {
		if failed := l.append(); failed != nil {
			err = fmt.Errorf("%d audit events were never written: %w", l.lost, failed)
		}
	}
	l.closed = true
	for _, t := range []*time.Timer{l.retry, l.soon} {
		if t != nil {
			t.Stop()
		}
	}
	return errors.Join(err, l.out.Close())
}

// State is how a Log is.
type State struct {
	Lost uint64 // events that could not be written and of which nothing is on record yet
	Err  error  // why; nil if the last event could be written

	// Lines and Head are the number and the hash of the last line of the chain that this process knows; zero and
	// empty if there is none. Whoever keeps them elsewhere can prove later that no line up to it is missing.
	Lines uint64
	Head  string
}

// State returns how the Log is now.
func (l *Log) State() State {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := State{Lost: l.lost, Err: l.why}
	if f, ok := l.out.(*file); ok && f.head.seq > 0 {
		s.Lines, s.Head = f.head.seq, f.head.String()
	}
	return s
}

const (
	// retryAfter is how often is tried whether writing works again, when no event comes.
	retryAfter = time.Second
	// sayAfter is how often the log is told that events are being lost.
	sayAfter = 10 * time.Second
)

// errLogClosed is what writing to a closed Log ends with.
var errLogClosed = errors.New("the audit log is closed")

// append writes events, after what there is to say of events that were lost, and what is behind.
func (l *Log) append(events ...Event) error {
	if l.closed {
		return errLogClosed
	}
	now := l.now()
	if len(l.behind) > 0 {
		all := make([]Event, 0, len(l.behind)+len(events))
		for _, e := range l.behind {
			all = append(all, e)
		}
		events = append(all, events...)
	}
	if l.lost > 0 {
		lost := Lost{Lost: l.lost, Since: timestamp(l.since), Reason: l.why.Error()}
		events = append([]Event{lost}, events...)
	}
	if err := l.out.append(now, events...); err != nil {
		return err
	}
	l.behind = l.behind[:0]
	if l.lost > 0 {
		l.log.Warn("audit log can be written again", "lost", l.lost)
		l.lost, l.why, l.said = 0, nil, time.Time{}
	}
	return nil
}

// loseAll counts so many events that could not be written, and what was behind with them.
func (l *Log) loseAll(n int, err error) {
	for range n + len(l.behind) {
		l.lose(err)
	}
	l.behind = l.behind[:0]
}

// lose counts an event that could not be written.
func (l *Log) lose(err error) {
	now := l.now()
	if l.lost == 0 {
		l.since = now
	}
	l.lost++
	l.why = err
	l.watch(Lost{Lost: 1, Since: timestamp(now), Reason: err.Error()})
	if l.said.IsZero() || now.Sub(l.said) >= sayAfter {
		l.said = now
		l.log.Error("audit events are lost", "lost", l.lost, "err", err, "continue", l.goOn)
	}
	if l.closed {
		return
	}
	if l.retry == nil {
		l.retry = time.AfterFunc(retryAfter, l.tryAgain)
	} else {
		l.retry.Reset(retryAfter)
	}
}

// tryAgain writes down what was lost as soon as that works, if no event does it before.
func (l *Log) tryAgain() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lost == 0 || l.closed {
		return
	}
	if err := l.append(); err != nil {
		l.why = err
		l.retry.Reset(retryAfter)
	}
}

// stream is a sink without a chain.
type stream struct {
	w io.Writer
	encoder
}

func (s *stream) append(now time.Time, events ...Event) error {
	s.reset()
	for _, e := range events {
		if err := s.encode(now, e); err != nil {
			return err
		}
	}
	_, err := s.w.Write(s.bytes())
	return err
}

func (s *stream) Close() error { return nil }
