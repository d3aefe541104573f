package audit

import "time"

// laterTime is how long an event of [Log.Later] waits at most for others to be written with, and maxBehind is how many may wait.
const (
	laterTime = 10 * time.Millisecond
	maxBehind = 64
)

// stamped is an event that happened some time ago.
type stamped struct {
	Event
	at time.Time
}

// Later writes an event with those of the next Write, in front of them, or soon by itself. It is for what has ended: if it can't be written, there is
// nothing that must not go on, and it is counted as lost. A process that is killed may leave it unwritten.
func (l *Log) Later(e Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watch(e)
	l.behind = append(l.behind, stamped{e, l.now()})
	switch {
	case l.closed || len(l.behind) == maxBehind:
		l.catchUp()
	case l.armed:
	case l.soon == nil:
		l.soon, l.armed = time.AfterFunc(laterTime, l.later), true
	default:
		l.soon.Reset(laterTime)
		l.armed = true
	}
}

// later is called when something has been behind for laterTime. What came in between hasn't, but a timer for each would cost as much as a write.
func (l *Log) later() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.armed = false
	l.catchUp()
}

// catchUp writes what is behind, if there is anything.
func (l *Log) catchUp() {
	if len(l.behind) == 0 {
		return
	}
	if err := l.append(); err != nil {
		l.loseAll(0, err)
	}
}
