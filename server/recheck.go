package server

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/culvert-ssh/culvert/auth"
)

// maxRechecks is how many connections are asked about at once: each may read files and run a command, of which logins need
// some as well.
const maxRechecks = 4

// Recheck is to be called when what Config's functions answer has changed. It asks of everybody who is logged in whether
// they would be let in now, and of everything that is open whether it would be opened, and ends whoever and whatever wouldn't. Others
// notice nothing; nobody is waited for but by the caller.
func (s *Server) Recheck() {
	s.changes.Add(1)
	s.mu.Lock()
	open := slices.Collect(maps.Keys(s.open))
	s.mu.Unlock()
	work := make(chan *connection)
	var asking sync.WaitGroup
	for range min(maxRechecks, len(open)) {
		asking.Go(func() {
			for c := range work {
				c.recheck()
			}
		})
	}
	for _, c := range open {
		work <- c
	}
	close(work)
	asking.Wait()
}

// revokedError is why somebody who was let in once isn't any more.
type revokedError struct {
	rule string // file:line, if one says so
	why  error
}

func (e *revokedError) Error() string { return fmt.Sprintf("no longer permitted to log in: %v", e.why) }

// recheck ends the connection or some of its channels, if they would not be permitted now. Who is about to log in
// finds that something has changed, and comes here then.
func (c *connection) recheck() {
	defer c.recovered("recheck")
	c.rechecked.Lock()
	defer c.rechecked.Unlock()
	subject := c.subject.Load()
	if subject == nil {
		return
	}
	now, err := c.s.cfg.Auth.Still(*subject)
	if err == nil {
		c.subject.Store(&now) // before the channels are looked for: those that are made meanwhile begin with it
	}
	channels := c.channels.Load()
	if err != nil {
		if channels != nil {
			channels.Tell("culvertd: you are no longer permitted to log in here")
		}
		c.end(&revokedError{rule: auth.RuleOf(err), why: err})
		return
	}
	if channels == nil {
		return
	}
	if n := channels.Recheck(); n > 0 {
		channels.Tell(fmt.Sprintf("culvertd: the policy has changed, and %d of what was open here is closed", n))
	}
}
