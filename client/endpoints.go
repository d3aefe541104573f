package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
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
	upstream  upstream
	host      string        // of the control channel, as it was asked for
	announced bool          // ask for data by the announced address instead
	told      netip.Addr    // what a server that connects is told, if the transport doesn't know better (FTPActiveAddress)
	hop       netip.Addr    // the control connection's own local address
	owner     control.Owner // of the control connection
	names     *sessionNames // if not nil, what the client asks for its data connections by: nobody listens then
	claims    *claims       // of the ports that are announced; if nil, nobody asks for others
	log       *slog.Logger
	drain     time.Duration // how long data connections may go on after the control connection
	follow    *follower     // tells what is transferred; if nil, nobody does
	proven    *provenModes  // of the server; if nil, nothing is known of it
}

// endpoints makes what one FTP control connection announces reachable: each by a listener for one
// connection, or, for a client in active mode, by one that is made to it. It is a control.Endpoints.
type endpoints struct {
	endpointsConfig
	ctx    context.Context // of the data connections, which outlive the control connection for a while
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup
	room   chan struct{}

	listening Arrival        // what the server was told of by PORT or EPRT and has not agreed to yet, or nil
	current   dataConnection // the one announced last, or nil
	release   func()         // ends the claim of its port; or nil
}

// dataConnection is one that was announced. Its methods are called from one goroutine, but for serve.
type dataConnection interface {
	begin(ctx context.Context)     // a transfer begins; returns soon
	end(ctx context.Context) error // the server takes it for complete; an error if the client had no connection to it
	withdraw()                     // ends it, unless it is used already
	serve(ctx context.Context)     // returns when it has ended
}

// serverSide is the far side of a data connection.
type serverSide struct {
	// open makes the connection to the server on behalf of origin, or waits for the server's.
	open opener
	// comesByItself says that the server makes it, when its transfer begins.
	comesByItself bool
	ahead         *headStart // the connection, if it was opened beforehand, or is about to be
	release       func()     // ends the claim of its port; nil if there is none
	flow          *dataFlow  // what it carries
}

// take returns the connection, which the caller then owns.
func (s serverSide) take(ctx context.Context, origin netip.AddrPort) (relay.Stream, error) {
	if s.release != nil {
		defer s.release() // not before: what has failed beforehand may be open to another attempt, of anybody
	}
	if s.ahead != nil {
		return s.ahead.take(ctx, origin)
	}
	return s.open(ctx, origin)
}

// drop gives the connection back in place of take.
func (s serverSide) drop() {
	if s.ahead != nil {
		s.ahead.drop()
	}
	if s.release != nil {
		s.release()
	}
}

func newEndpoints(ctx context.Context, cfg endpointsConfig) *endpoints {
	if cfg.follow == nil {
		cfg.follow = newFollower(nil)
	}
	if cfg.proven == nil {
		cfg.proven = newProvenModes()
	}
	e := &endpoints{endpointsConfig: cfg, room: make(chan struct{}, maxData)}
	e.ctx, e.cancel = context.WithCancelCause(ctx)
	return e
}

// Open listens for the data connection to end, on the control connection's own local address: clients
// dial either that or what the reply says. A client in active mode is dialled later.
//
// A local connect always succeeds, which would rob the client of its own fall-back from EPSV to PASV. So the
// channel is opened before the client hears of it, until that has worked for the mode; and from then on, if it asks to be connected (names), while it hears:
// it waits for an answer, and a round trip less.
func (e *endpoints) Open(ctx context.Context, end ftp.Endpoint) (at netip.AddrPort, err error) {
	arrival := e.listening
	e.listening = nil // it is the one that is announced
	e.Cancel("a newer one was announced")
	select {
	case e.room <- struct{}{}:
	default:
		err = fmt.Errorf("more than %d data connections at once", maxData)
	}
	if err == nil {
		at, err = e.offer(ctx, end, arrival)
		if err != nil {
			<-e.room
		}
	}
	if err != nil {
		if arrival != nil {
			arrival.Close()
		}
		e.log.Error("no data connection is offered", "err", err)
	}
	return at, err
}

// offer makes a data connection possible, and begins to serve it.
func (e *endpoints) offer(ctx context.Context, end ftp.Endpoint, arrival Arrival) (at netip.AddrPort, err error) {
	server, log, err := e.serverSide(ctx, end, arrival)
	if err != nil {
		return at, err
	}
	server.flow = e.follow.announced()
	d, at, err := e.clientSide(end, server, log)
	if err != nil {
		server.flow.end(err)
		server.drop()
		return at, err
	}
	e.current = d
	e.wg.Go(func() {
		defer func() { <-e.room }()
		if arrival != nil {
			defer arrival.Close()
		}
		defer server.flow.end(errNoData)
		d.serve(e.ctx) // from now on its time runs: the bastion's time for the channel is not the client's
	})
	return at, nil
}

// clientSide makes the way to the client, whose connection will be joined with server. It returns what the client is told.
func (e *endpoints) clientSide(end ftp.Endpoint, server serverSide, log *slog.Logger) (d dataConnection, at netip.AddrPort, err error) {
	if end.Mode == ftp.PORT || end.Mode == ftp.EPRT {
		return newDialler(e.ctx, server, end.Client, e.dialClient, log), end.Client, nil
	}
	if e.names != nil {
		named, at, err := e.names.expect(end, server, e.owner, log)
		return named, at, err
	}
	ln, err := e.listen(log)
	if err != nil {
		return nil, at, err
	}
	return &dataListener{DataListener: ln, serverSide: server, log: log}, ln.Addr(), nil
}

// serverSide says how the far side of the data connection to end comes about, and opens it if it must be shown that it can be had.
func (e *endpoints) serverSide(ctx context.Context, end ftp.Endpoint, arrival Arrival) (s serverSide, log *slog.Logger, err error) {
	if end.Listening {
		if arrival == nil {
			return s, nil, errors.New("nobody listens for the FTP server")
		}
		s.open = e.protect(end, func(ctx context.Context, _ netip.AddrPort) (relay.Stream, error) { return arrival.Accept(ctx) })
		s.comesByItself = true
		return s, e.log.With("data", arrival.Addr()), nil
	}
	host := e.host
	if e.announced && end.Announced.IsValid() {
		host = end.Announced.String()
	}
	log = e.log.With("data", Forward{Host: host, HostPort: end.Port}.Target())
	s.release = e.claims.claim(end.Port, e.owner)
	e.release = s.release
	s.open = e.protect(end, func(ctx context.Context, origin netip.AddrPort) (relay.Stream, error) {
		stream, err := e.transport.Open(ctx, host, end.Port, origin)
		if err == nil || ctx.Err() == nil {
			e.proven.note(end.Mode, err)
		}
		return stream, err
	})
	origin := netip.AddrPortFrom(e.owner.Addr, end.Client.Port())
	switch {
	case !e.proven.has(end.Mode):
		stream, err := s.open(ctx, origin)
		if err != nil {
			s.release()
			return s, nil, err
		}
		s.ahead = arrived(stream)
	case e.names != nil && !end.Client.IsValid(): // a client in active mode waits already, and is connected to from here
		s.ahead = e.ahead(s.open, origin)
	}
	return s, log, nil
}

// opener makes the far side of a data connection, or waits for it.
type opener func(ctx context.Context, origin netip.AddrPort) (relay.Stream, error)

// protect puts what open returns inside TLS, if end is to be.
func (e *endpoints) protect(end ftp.Endpoint, open opener) opener {
	return func(ctx context.Context, origin netip.AddrPort) (relay.Stream, error) {
		s, err := open(ctx, origin)
		if err != nil {
			return nil, err
		}
		return e.upstream.data(s, end.Protected), nil
	}
}

// Begin lets a data connection know that its transfer begins.
func (e *endpoints) Begin(ctx context.Context) {
	if e.current != nil {
		e.current.begin(ctx)
	}
}

// End asks whether the client in active mode was connected to.
func (e *endpoints) End(ctx context.Context) error {
	if e.current == nil {
		return nil // it was announced no longer, so that there is no transfer
	}
	return e.current.end(ctx)
}

// await waits for what keeps the beginning of a transfer from the client.
func await(ctx context.Context, done <-chan struct{}) {
	late := time.NewTimer(beginTimeout)
	defer late.Stop()
	select {
	case <-done:
	case <-late.C:
	case <-ctx.Done():
	}
}

// Cancel withdraws the endpoint announced or listened for last, unless a connection came.
func (e *endpoints) Cancel(reason string) {
	if e.listening != nil {
		e.listening.Close()
		e.listening = nil
	}
	if e.release != nil {
		e.release()
		e.release = nil
	}
	if e.current != nil {
		e.log.Debug("data connection withdrawn, if it is unused", "reason", reason)
		e.current.withdraw()
		e.current = nil
	}
}

// Listen asks the far end to wait for the server's connection.
func (e *endpoints) Listen(ctx context.Context, l ftp.Listen) (netip.AddrPort, error) {
	e.Cancel("a newer one is listened for")
	arrival, err := e.transport.Listen(ctx, Listening{Client: l.Client, Host: e.host, Told: e.told, Log: e.log})
	if err != nil {
		e.log.Error("nobody listens for the FTP server", "err", err)
		return netip.AddrPort{}, err
	}
	e.listening = arrival
	return arrival.Addr(), nil
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

// dataListener is the data connection of a client in passive mode, which makes it.
type dataListener struct {
	*control.DataListener
	serverSide
	log       *slog.Logger
	withdrawn atomic.Bool
}

// listen begins to wait for a connection of the control connection's owner, on its own local address.
func (e *endpoints) listen(log *slog.Logger) (*control.DataListener, error) {
	return control.ListenData(control.DataListenerConfig{
		At:      netip.AddrPortFrom(e.hop, 0),
		Accepts: e.owner.Accepts,
		Timeout: endpointTimeout,
		Rejected: func(peer netip.AddrPort, why error) {
			log.Warn("somebody else's data connection was reset", "peer", peer, "err", why)
		},
	})
}

// begin waits until whose data connection it is has been found out. A program that has sent a small file and closed
// its socket has left no trace of its owner, so before it may, the check must be over. A client that
// connects only when it hears of the beginning waits for beginTimeout in vain, and is served then.
func (d *dataListener) begin(ctx context.Context) { await(ctx, d.Checked()) }

// end has nothing to say: a client in passive mode has connected itself, and sees how that has ended.
func (d *dataListener) end(context.Context) error { return nil }

func (d *dataListener) withdraw() {
	d.withdrawn.Store(true)
	d.Close()
}

// serve accepts the connection, relays it, and returns when that has ended.
func (d *dataListener) serve(ctx context.Context) {
	conn, err := d.Accept(ctx)
	if err != nil {
		d.drop()
		d.log.Debug("no data connection", "err", err)
		return
	}
	local := relay.NewTCP(conn)
	remote, err := d.take(ctx, relay.AddrPort(conn.RemoteAddr()))
	if err != nil {
		local.Abort()
		switch {
		case ctx.Err() != nil:
		case d.withdrawn.Load(): // a bastion that has read the refusal of the transfer refuses its data, too
			d.log.Debug("a data connection was reset, which is not needed any more", "err", err)
		default:
			d.log.Error("a data connection was reset", "err", err)
		}
		return
	}
	err = d.flow.join(ctx, local, remote)
	logEnd(ctx, d.log, "data connection", err, &d.flow.Counters)
}
