package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/culvert-ssh/culvert/control"
	"github.com/culvert-ssh/culvert/ftp"
	"github.com/culvert-ssh/culvert/relay"
)

const (
	// endpointTimeout is how long a data listener waits for its connection.
	endpointTimeout = 60 * time.Second

	// beginTimeout is how long a transfer's beginning is kept from a client whose data connection hasn't come yet.
	beginTimeout = time.Second

	// maxData bounds the data connections of one control connection, waiting and running. The protocol
	// needs one; transfers that end slowly, and those that outlive an ABOR, may add a few.
	maxData = 16
)

type endpointsConfig struct {
	transport Transport
	host      string     // of the control channel, as it was asked for
	announced bool       // ask for data by the announced address instead
	hop       netip.Addr // the control connection's own local address
	owner     owner      // of the control connection
	log       *slog.Logger
	drain     time.Duration // how long data connections may go on after the control connection
}

// endpoints makes what one FTP control connection announces reachable, each by a listener for one
// connection. It is a control.Endpoints.
type endpoints struct {
	endpointsConfig
	ctx    context.Context // of the data connections, which outlive the control connection for a while
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup
	room   chan struct{}

	proven  map[ftp.Mode]bool // a channel was opened for this mode once
	current *dataListener     // the one announced last, or nil
}

func newEndpoints(ctx context.Context, cfg endpointsConfig) *endpoints {
	e := &endpoints{endpointsConfig: cfg, room: make(chan struct{}, maxData), proven: make(map[ftp.Mode]bool)}
	e.ctx, e.cancel = context.WithCancelCause(ctx)
	return e
}

// Open listens for the data connection to end, on the control connection's own local address: clients
// dial either that or what the reply says.
//
// A local connect always succeeds, which would rob the client of its own fall-back from EPSV to PASV. So the
// channel is opened before the client hears of it, until that has worked once for the mode.
func (e *endpoints) Open(ctx context.Context, end ftp.Endpoint) (at netip.AddrPort, err error) {
	e.Cancel("a newer one was announced")
	host := e.host
	if e.announced && end.Announced.IsValid() {
		host = end.Announced.String()
	}
	select {
	case e.room <- struct{}{}:
	default:
		return at, fmt.Errorf("more than %d data connections at once", maxData)
	}
	defer func() {
		if err != nil {
			<-e.room
			e.log.Error("no data connection is offered", "err", err)
		}
	}()

	d := &dataListener{log: e.log.With("data", Forward{Host: host, HostPort: end.Port}.Target())}
	d.open = func(ctx context.Context, origin netip.AddrPort) (relay.Stream, error) {
		return e.transport.Open(ctx, host, end.Port, origin)
	}
	if d.DataListener, err = e.listen(d.log); err != nil {
		return at, err
	}
	if !e.proven[end.Mode] {
		if d.eager, err = d.open(ctx, netip.AddrPortFrom(e.owner.addr, 0)); err != nil {
			d.Close()
			return at, err
		}
		e.proven[end.Mode] = true
	}
	e.current = d
	e.wg.Go(func() {
		defer func() { <-e.room }()
		d.serve(e.ctx) // from now on its time runs: the bastion's time for the channel is not the client's
	})
	return d.Addr(), nil
}

// Begin waits until whose data connection it is has been found out. A program that has sent a small file and closed
// its socket has left no trace of its owner, so before it may, the check must be over. A client that
// connects only when it hears of the beginning waits for beginTimeout in vain, and is served then.
func (e *endpoints) Begin(ctx context.Context) {
	if e.current != nil {
		await(ctx, e.current.Checked())
	}
}

// await waits for what keeps the beginning of a transfer from the client.
func await(ctx context.Context, checked <-chan struct{}) {
	late := time.NewTimer(beginTimeout)
	defer late.Stop()
	select {
	case <-checked:
	case <-late.C:
	case <-ctx.Done():
	}
}

// Cancel withdraws the endpoint announced last, unless a connection came.
func (e *endpoints) Cancel(reason string) {
	if e.current == nil {
		return
	}
	e.current.log.Debug("data listener withdrawn", "reason", reason)
	e.current.Close()
	e.current = nil
}

// Listen is not served yet.
func (e *endpoints) Listen(context.Context, ftp.Listen) (netip.AddrPort, error) {
	return netip.AddrPort{}, errors.New("the FTP server can't connect to this side of the tunnel")
}

// end waits for the data connections that run, but for no longer than drain.
func (e *endpoints) end() {
	e.Cancel("the control connection ended")
	timer := time.AfterFunc(e.drain, func() {
		e.cancel(fmt.Errorf("the control connection ended more than %v ago", e.drain))
	})
	e.wg.Wait()
	timer.Stop()
	e.cancel(nil)
}

// dataListener waits for the one data connection that was announced.
type dataListener struct {
	*control.DataListener
	log   *slog.Logger
	open  func(ctx context.Context, origin netip.AddrPort) (relay.Stream, error)
	eager relay.Stream // the channel, if it was opened beforehand
}

// listen begins to wait for a connection of the control connection's owner, on its own local address.
func (e *endpoints) listen(log *slog.Logger) (*control.DataListener, error) {
	return control.ListenData(control.DataListenerConfig{
		At:      netip.AddrPortFrom(e.hop, 0),
		Accepts: e.owner.accepts,
		Timeout: endpointTimeout,
		Rejected: func(peer netip.AddrPort, why error) {
			log.Warn("somebody else's data connection was reset", "peer", peer, "err", why)
		},
	})
}

// serve accepts the connection, relays it, and returns when that has ended. It owns the listener and the
// eager channel.
func (d *dataListener) serve(ctx context.Context) {
	conn, err := d.Accept(ctx)
	if err != nil {
		if d.eager != nil {
			d.eager.Abort()
		}
		d.log.Debug("no data connection", "err", err)
		return
	}
	local, remote := relay.NewTCP(conn), d.eager
	if remote == nil {
		if remote, err = d.open(ctx, relay.AddrPort(conn.RemoteAddr())); err != nil {
			local.Abort()
			if ctx.Err() == nil {
				d.log.Error("a data connection was reset", "err", err)
			}
			return
		}
	}
	var count relay.Counters
	err = relay.Join(ctx, local, remote, &count)
	logEnd(ctx, d.log, "data connection", err, &count)
}
