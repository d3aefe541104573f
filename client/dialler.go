package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/culvert-ssh/culvert/relay"
)

// dialTimeout is how long a client in active mode may take to be connected to.
const dialTimeout = 10 * time.Second

// dialler is the data connection of a client in active mode, which waits for it: the server's side is there first, and the client
// is dialled when the transfer begins, as by a server.
//
// Its owner calls begin and withdraw from one goroutine.
type dialler struct {
	serverSide
	client netip.AddrPort // where it waits
	dial   func(ctx context.Context, at netip.AddrPort) (*relay.TCP, error)
	log    *slog.Logger

	began   bool          // of the owner
	begun   chan struct{} // closed by begin
	reached chan struct{} // closed when the server's side is there, or will never be
	dialled chan struct{} // closed when the client has been dialled, or won't be
	failed  error         // why it wasn't; valid once dialled is closed
	unused  context.Context
	cancel  context.CancelCauseFunc // of unused
}

var (
	errWithdrawn  = errors.New("it was withdrawn")
	errNotReached = errors.New("the FTP client can't be connected to")
	errNotBegun   = fmt.Errorf("no transfer began within %v", endpointTimeout)
)

func newDialler(ctx context.Context, server serverSide, client netip.AddrPort, dial func(context.Context, netip.AddrPort) (*relay.TCP, error), log *slog.Logger) *dialler {
	d := &dialler{
		serverSide: server, client: client, dial: dial, log: log,
		begun: make(chan struct{}), reached: make(chan struct{}), dialled: make(chan struct{}),
	}
	d.unused, d.cancel = context.WithCancelCause(ctx)
	return d
}

// begin has the client dialled. It returns when that is done, or can't be done yet.
func (d *dialler) begin(ctx context.Context) {
	if d.began {
		return
	}
	d.began = true
	close(d.begun)
	if d.comesByItself && !d.isReached() {
		return // a server may say that it begins, and connect then
	}
	await(ctx, d.dialled)
}

func (d *dialler) isReached() bool {
	select {
	case <-d.reached:
		return true
	default:
		return false
	}
}

// withdraw ends it, unless its transfer has begun. One that has failed without the server's side needs it no more.
func (d *dialler) withdraw() {
	if !d.began || !d.isReached() {
		d.cancel(errWithdrawn)
	}
}

// serve joins both sides, and returns when that has ended.
func (d *dialler) serve(ctx context.Context) {
	defer d.cancel(nil)
	local, remote, err := d.connect(ctx)
	if err != nil {
		d.notMade(ctx, err)
		return
	}
	err = d.flow.join(ctx, local, remote)
	logEnd(ctx, d.log, "data connection", err, &d.flow.Counters)
}

// notMade says why there is no data connection. That the client doesn't wait for it is the client's fault.
func (d *dialler) notMade(ctx context.Context, err error) {
	level := slog.LevelError
	switch {
	case ctx.Err() != nil || errors.Is(err, errWithdrawn) || errors.Is(err, errNotBegun):
		level = slog.LevelDebug
	case errors.Is(err, errNotReached):
		level = slog.LevelWarn
	}
	d.log.Log(ctx, level, "a data connection was not made", "err", err)
}

// end waits for a client that is being dialled, but not for a server that has said that all is done and doesn't come.
func (d *dialler) end(ctx context.Context) error {
	late := time.NewTimer(dialTimeout)
	defer late.Stop()
	select {
	case <-d.dialled:
		return d.failed
	case <-late.C:
		return fmt.Errorf("the data connection was not there %v later", dialTimeout)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// connect makes both sides. If the client can't be reached, that is noted, and then the server's side is aborted: what the server
// says about it comes later.
func (d *dialler) connect(ctx context.Context) (local *relay.TCP, remote relay.Stream, err error) {
	remote, err = d.take(d.unused, d.client)
	close(d.reached)
	if err == nil {
		local, err = d.dialBegun(ctx)
	}
	d.failed = err
	close(d.dialled)
	if err != nil && remote != nil {
		remote.Abort()
	}
	return local, remote, err
}

// dialBegun dials the client once the transfer has begun.
func (d *dialler) dialBegun(ctx context.Context) (*relay.TCP, error) {
	late := time.NewTimer(endpointTimeout)
	defer late.Stop()
	select {
	case <-d.begun:
		return d.dial(ctx, d.client)
	case <-d.unused.Done():
		return nil, context.Cause(d.unused)
	case <-late.C:
		return nil, errNotBegun
	}
}

// dialClient connects to the client, which waits at at, from the control connection's own local address, as clients check that. On this
// machine, whoever waits there must be the owner of the control connection: a PORT could name the port of another user's program.
func (e *endpoints) dialClient(ctx context.Context, at netip.AddrPort) (*relay.TCP, error) {
	if err := e.owner.Waits(at, e.hop); err != nil {
		return nil, fmt.Errorf("%w: %w", errNotReached, err)
	}
	local, err := relay.Dial(ctx, e.hop, at.String(), dialTimeout)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNotReached, err)
	}
	if err := e.owner.Took(at, relay.AddrPort(local.LocalAddr())); err != nil {
		local.Abort()
		return nil, fmt.Errorf("%w: %w", errNotReached, err)
	}
	return local, nil
}
