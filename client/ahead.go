package client

import (
	"context"
	"errors"
	"net/netip"
	"sync"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/ftp"
	"github.com/culvert-ssh/culvert/relay"
)

// headStart is the far side of a data connection that is opened while the FTP client is still being told of it. By the time that the client
// has connected and sent its command, a round trip to the bastion is over. One that nobody takes is given back.
type headStart struct {
	open   opener
	opened chan struct{} // closed when the following are valid
	stream relay.Stream
	err    error
	cancel context.CancelFunc
}

// ahead begins to open the far side on behalf of origin, in a goroutine of e. The caller must call take or drop of the serverSide.
func (e *endpoints) ahead(open opener, origin netip.AddrPort) *headStart {
	ctx, cancel := context.WithCancel(e.ctx)
	h := &headStart{open: open, opened: make(chan struct{}), cancel: cancel}
	e.wg.Go(func() {
		defer close(h.opened)
		h.stream, h.err = open(ctx, origin)
	})
	return h
}

// arrived is the head start that is over: the stream is there.
func arrived(s relay.Stream) *headStart {
	h := &headStart{opened: make(chan struct{}), stream: s, cancel: func() {}}
	close(h.opened)
	return h
}

// take waits for the stream. If it can't be had, and the bastion may let it be tried again, that is done: who has come is due an attempt of their own.
func (h *headStart) take(ctx context.Context, origin netip.AddrPort) (relay.Stream, error) {
	select {
	case <-h.opened:
	case <-ctx.Done():
		h.drop()
		return nil, context.Cause(ctx)
	}
	var failed *openFailure
	if errors.As(h.err, &failed) && failed.reason == ssh.ConnectionFailed {
		return h.open(ctx, origin)
	}
	return h.stream, h.err
}

// drop gives back what nobody has taken.
func (h *headStart) drop() {
	h.cancel()
	if <-h.opened; h.err == nil {
		h.stream.Abort()
	}
}

// failed reports whether it is known already that the stream can't be had.
func (h *headStart) failed() bool {
	select {
	case <-h.opened:
		return h.err != nil
	default:
		return false
	}
}

// provenModes are the modes in which data connections could be had of one server, the last time that somebody wanted one. A connection that
// the client makes to culvert says nothing about that, and would rob the client of its own way out, from EPSV to PASV.
type provenModes struct {
	mu    sync.Mutex
	modes map[ftp.Mode]bool
}

func newProvenModes() *provenModes { return &provenModes{modes: make(map[ftp.Mode]bool)} }

func (p *provenModes) has(m ftp.Mode) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.modes[m]
}

// note takes down what an attempt has come to.
func (p *provenModes) note(m ftp.Mode, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.modes[m] = err == nil
}
