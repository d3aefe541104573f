package login

import (
	"sync"
	"time"

	"github.com/culvert-ssh/culvert/relay"
)

// pauser is the deadline of a handshake: the server must be done within timeout, not counting
// the time that a person or an agent takes. It closes the wire: not all that we go over knows deadlines.
type pauser struct {
	wire    *relay.Wire
	timeout time.Duration

	mu       sync.Mutex
	timer    *time.Timer
	deadline time.Time
	paused   int
	late     bool
}

// newPauser begins to count. The caller must call end.
func newPauser(wire *relay.Wire, timeout time.Duration) *pauser {
	p := &pauser{wire: wire, timeout: timeout, deadline: time.Now().Add(timeout)}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timer = time.AfterFunc(timeout, p.expire)
	return p
}

func (p *pauser) expire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.paused > 0 || time.Now().Before(p.deadline) { // the timer was set anew in between
		return
	}
	p.late = true
	_ = p.wire.Close() // that it was late is what counts
}

// pause stops the clock until resume is called; the server's time then begins anew.
func (p *pauser) pause() (resume func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.paused++
	p.timer.Stop()
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.paused--; p.paused == 0 {
			p.deadline = time.Now().Add(p.timeout)
			p.timer.Reset(p.timeout)
		}
	}
}

// expired reports whether the server was too late.
func (p *pauser) expired() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.late
}

// end takes the deadline away for good.
func (p *pauser) end() { p.pause() }
