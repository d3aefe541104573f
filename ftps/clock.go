package ftps

import (
	"fmt"
	"sync"
	"time"
)

const (
	// silentTimeout is how long a server may say nothing to a data connection's ClientHello. It answers only when it comes to the transfer: the
	// command for that may be on its way yet, and the file on a tape.
	silentTimeout = 10 * time.Minute
	// handshakeTimeout is how long the handshake may take from the server's first byte on.
	handshakeTimeout = 30 * time.Second
)

var (
	errSilent = fmt.Errorf("the server said nothing on a data connection for %v after TLS was begun there", silentTimeout)
	errSlow   = fmt.Errorf("the server took more than %v for the handshake of a data connection", handshakeTimeout)
)

// A clock is the time that a handshake has. The zero value never runs.
type clock struct {
	expire func() // is called when the time is over, and ends the handshake

	mu    sync.Mutex
	timer *time.Timer // nil while it isn't running
	late  error       // which time is over
	done  bool
}

// run sets the time, from now on, in place of the one that ran.
func (c *clock) run(after time.Duration, late error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.expire == nil || c.done || c.late != nil {
		return
	}
	if c.timer != nil {
		c.timer.Stop()
	}
	var timer *time.Timer
	timer = time.AfterFunc(after, func() {
		c.mu.Lock()
		expired := c.timer == timer && !c.done // or it was stopped too late
		if expired {
			c.late = late
		}
		c.mu.Unlock()
		if expired {
			c.expire()
		}
	})
	c.timer = timer
}

// stop ends the clock: the handshake is over.
func (c *clock) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done = true
	if c.timer != nil {
		c.timer.Stop()
	}
}

// expired returns which time is over, or nil.
func (c *clock) expired() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.late
}
