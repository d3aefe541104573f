package channels

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/culvert-ssh/culvert/policy"
)

// Timeout is a word of ChannelTimeout: channels whose type the pattern matches are closed when they have moved no byte for so
// long. The type global stands for all channels taken together, and no pattern matches it.
type Timeout struct {
	Type  string
	After time.Duration // if zero, never
}

const (
	globalTimeout = "global"

	// Silence is looked for this many times in the shortest timeout, at least every maxTick: nothing is noted when bytes
	// move, so that a channel may be silent for so much longer than its timeout, and never less.
	ticks   = 8
	maxTick = 30 * time.Second
)

// ErrUnused is why a connection ends that has no channels for UnusedConnectionTimeout.
var ErrUnused = errors.New("no channel was open (UnusedConnectionTimeout)")

// idle is why a channel is closed.
type idle struct {
	after time.Duration
	kind  string
}

func (i *idle) Error() string {
	return fmt.Sprintf("it moved no byte in %v (ChannelTimeout %s)", i.after, i.kind)
}

// channel is a member that can be idle, which a listener can't.
type channel interface {
	member

	// activity returns the type of the channel, and a number that changes when it moves bytes.
	activity() (kind string, moved int64)

	// abort ends the channel, and waits for no peer.
	abort(why error)
}

// watch looks for channels that move nothing, with one timer for all of a connection.
type watch struct {
	mu       sync.Mutex
	timeouts []Timeout
	every    time.Duration // 0 if there is nothing to look for
	marks    map[channel]mark
	moved    time.Time // the last time that anything did
}

// mark is what was seen of a channel when it had moved last.
type mark struct {
	moved int64
	at    time.Time
}

func newWatch(timeouts []Timeout) *watch {
	w := &watch{timeouts: timeouts, marks: make(map[channel]mark)}
	for _, t := range timeouts {
		if t.After > 0 {
			every := min(t.After/ticks, maxTick)
			if w.every == 0 || every < w.every {
				w.every = every
			}
		}
	}
	return w
}

// limit returns the first timeout for a type of channel. Every session is a session, whatever runs in it.
func (w *watch) limit(kind string) time.Duration {
	for _, t := range w.timeouts {
		if t.Type != globalTimeout && (policy.Glob(t.Type, kind) || isSession(kind) && t.Type == "session") {
			return t.After
		}
	}
	return 0
}

func (w *watch) global() time.Duration {
	for _, t := range w.timeouts {
		if t.Type == globalTimeout {
			return t.After
		}
	}
	return 0
}

// look ends the channels that have moved nothing for too long.
func (w *watch) look(channels []channel, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	marks := make(map[channel]mark, len(channels))
	carrying := make(map[*ftpControl]bool) // a control channel isn't idle while its data moves
	for _, c := range channels {
		_, moved := c.activity()
		m, known := w.marks[c]
		if !known || m.moved != moved {
			m = mark{moved, now}
			w.moved = now
			if s, ok := c.(*stream); ok && s.isData {
				carrying[s.owner] = true
			}
		}
		marks[c] = m
	}
	w.marks = marks
	all := w.global()
	for _, c := range channels {
		kind, _ := c.activity()
		m := marks[c]
		if s, ok := c.(*stream); ok && !s.isData && carrying[s.owner] {
			m.at = now
			marks[c] = m
		}
		if limit := w.limit(kind); limit > 0 && now.Sub(m.at) >= limit {
			c.abort(&idle{limit, kind})
		} else if all > 0 && now.Sub(w.moved) >= all {
			c.abort(&idle{all, globalTimeout})
		}
	}
}

// use counts the channels of a connection, to close those that are idle and to end the connection that
// has none.
type use struct {
	mu     sync.Mutex
	count  int
	closed bool
	looker *time.Timer // nil while nothing is open
	unused *time.Timer // nil while something is open
}

// enroll registers m, which was decided on in a generation of the policy. It reports false if the policy has changed since;
// the caller must then recheck m. In any case it must dismiss m in the end.
func (c *Conn) enroll(m member, decided uint64) bool {
	if _, ok := m.(channel); ok {
		c.begin()
	}
	return c.registry.add(m, decided)
}

// dismiss takes out of the registry what is not open any more, if it was there.
func (c *Conn) dismiss(m member) {
	if _, ok := m.(channel); c.registry.remove(m) && ok {
		c.finish()
	}
}

// begin counts a channel that is open now.
func (c *Conn) begin() {
	c.use.mu.Lock()
	defer c.use.mu.Unlock()
	c.use.count++
	if c.use.unused != nil {
		c.use.unused.Stop()
		c.use.unused = nil
	}
	if c.use.looker == nil && c.watch.every > 0 && !c.use.closed {
		c.use.looker = time.AfterFunc(c.watch.every, c.look)
	}
}

// finish counts a channel that is closed.
func (c *Conn) finish() {
	c.use.mu.Lock()
	defer c.use.mu.Unlock()
	if c.use.count--; c.use.count == 0 {
		if c.use.looker != nil {
			c.use.looker.Stop()
			c.use.looker = nil
		}
		c.wait()
	}
}

// wait ends the connection if nothing is opened for too long. It needs c.use.mu.
func (c *Conn) wait() {
	if after := c.cfg.UnusedConnectionTimeout; after > 0 && !c.use.closed {
		c.use.unused = time.AfterFunc(after, c.endUnused)
	}
}

func (c *Conn) endUnused() {
	c.use.mu.Lock()
	defer c.use.mu.Unlock()
	switch {
	case c.use.unused == nil, c.use.closed: // somebody was faster
	case c.waiting.opens.Load() > 0: // something is being opened
		c.wait()
	default:
		c.end(ErrUnused)
	}
}

// look looks for idle channels, and comes again.
func (c *Conn) look() {
	if !c.enter() {
		return
	}
	defer c.wg.Done()
	defer c.recovered("ChannelTimeout")
	var channels []channel
	for _, m := range c.registry.all() {
		if ch, ok := m.(channel); ok {
			channels = append(channels, ch)
		}
	}
	c.watch.look(channels, time.Now())
	c.use.mu.Lock()
	defer c.use.mu.Unlock()
	if c.use.looker != nil && !c.use.closed {
		c.use.looker.Reset(c.watch.every)
	}
}

// stop ends the timers for good.
func (u *use) stop() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.closed = true
	if u.looker != nil {
		u.looker.Stop()
	}
	if u.unused != nil {
		u.unused.Stop()
	}
}

// isSession reports whether kind is a session, with or without what runs in it.
func isSession(kind string) bool { return kind == "session" || strings.HasPrefix(kind, "session:") }
