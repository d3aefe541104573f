package channels

import (
	"context"
	"sync"

	"github.com/culvert-ssh/culvert/relay"
)

// predial is a connection to an announced endpoint that is made while the announcement is on its way to the client (FTPPredial). It is
// the first of the attempts that an expectation has.
type predial struct {
	cancel context.CancelFunc
	done   chan struct{} // closed when the attempt is over

	mu      sync.Mutex
	tcp     *relay.TCP
	err     error
	dropped bool
}

// predial begins to connect to the endpoint of e. The caller must see that e is installed, taken, or dropped.
func (f *ftpControl) predial(e *expectation) {
	ctx, cancel := context.WithCancel(f.Conn.ctx)
	p := &predial{cancel: cancel, done: make(chan struct{})}
	if f.spawn("FTPPredial", func() {
		defer cancel()
		defer close(p.done)
		p.over(dial(ctx, e.local, e.address, f.cfg.ConnectTimeout))
	}) {
		e.ahead = p
	} else {
		cancel()
	}
}

// over notes what the attempt has come to. Nobody may want it any more.
func (p *predial) over(tcp *relay.TCP, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tcp, p.err = tcp, err; p.dropped && err == nil {
		tcp.Abort()
	}
}

// take waits for the connection, which is the caller's from then on.
func (p *predial) take() (*relay.TCP, error) {
	<-p.done // no longer than ConnectTimeout, or the SSH connection
	return p.tcp, p.err
}

// drop resets the connection that nobody has taken. It reports whether the server may have seen it.
func (p *predial) drop() bool {
	p.cancel()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dropped = true
	if p.tcp != nil {
		p.tcp.Abort()
	}
	return p.err == nil
}

// drop gives up what was dialled for e, and reports whether the server may have seen that. It may be called more than once.
func (e *expectation) drop() bool { return e.ahead != nil && e.ahead.drop() }
