package control

import "time"

const (
	// loginTimeout is how long there may be nobody logged in: a server that never greets and a client that never says who it is would
	// both keep their places for ever. Servers give as much themselves (proftpd's TimeoutLogin).
	loginTimeout = 5 * time.Minute

	// unfinishedTimeout is how long a command line may take, and a reply with all its lines, from the first byte to the last. A STAT of
	// a large directory from a slow server needs some of it; who sends a byte a minute never gets to the end.
	unfinishedTimeout = 5 * time.Minute

	// halfClosedTimeout is how long the server may say nothing to a client that has ended
	// its side. A server that obeys RFC 959, section 5.4, closes at once.
	halfClosedTimeout = 5 * time.Minute
)

// clocks are the times that a session has for what somebody else must do.
type clocks struct{ login, command, reply, halfClosed clock }

func newClocks() *clocks {
	return &clocks{
		login: newClock(loginTimeout), command: newClock(unfinishedTimeout),
		reply: newClock(unfinishedTimeout), halfClosed: newClock(halfClosedTimeout),
	}
}

func (c *clocks) stop() {
	for _, x := range []*clock{&c.login, &c.command, &c.reply, &c.halfClosed} {
		x.Stop()
	}
}

// follow sets the clocks to what the session is at.
func (c *clocks) follow(r *run) {
	out, silence := 1, 0
	if r.Session.LoggedIn() { // until REIN, or another USER
		out = 0
	}
	if r.clientEnded {
		silence = r.toClient + 1
	}
	command, reply := r.Session.Unfinished()
	c.login.follow(out)
	c.command.follow(command)
	c.reply.follow(reply)
	c.halfClosed.follow(silence)
}

// clock is the time for one thing of a kind, from its beginning on.
type clock struct {
	*time.Timer
	after  time.Duration
	number int // of the thing; 0 if there is none
}

func newClock(after time.Duration) clock {
	t := time.NewTimer(after)
	t.Stop()
	return clock{Timer: t, after: after}
}

// follow has the clock run for the thing of this number: from now on if it is a new one.
func (c *clock) follow(number int) {
	if number == c.number {
		return
	}
	if c.number = number; number == 0 {
		c.Stop()
	} else {
		c.Reset(c.after)
	}
}
