package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/activity"
	"github.com/culvert-ssh/culvert/control"
	"github.com/culvert-ssh/culvert/ftp"
	"github.com/culvert-ssh/culvert/relay"
)

// requestFTP is the global request by which culvertd is asked to listen for FTP clients (docs/protocol.md).
const requestFTP = "ftp-forward@culvert"

// serveFTP carries one FTP control connection that the bastion has accepted, and the data connections that are announced on it.
func (r *remote) serveFTP(a *arrival) {
	log := r.log.With("from", a.origin)
	log.Debug("FTP control connection accepted by the bastion")
	if !a.origin.IsValid() {
		a.refuse(ssh.Prohibited, "no originator")
		log.Error("a connection was refused: the bastion doesn't say whose it is")
		return
	}
	server, err := r.reach()
	if err != nil {
		a.refuse(ssh.ConnectionFailed, "connect failed")
		if r.ctx.Err() == nil {
			log.Error("FTP is not available", "err", err)
		}
		return
	}
	channel, err := a.accept()
	if err != nil {
		server.Abort()
		return
	}
	meter := r.meter.Connection(activity.Connection{From: a.shownFrom(), FTP: true})
	defer meter.Close()
	e := newRemoteEndpoints(r, a.origin.Addr(), server, newFollower(meter), log)
	defer e.end()
	inside, err := e.upstream.control(r.ctx, server)
	if err != nil {
		channel.Abort()
		return
	}
	err = control.Run(r.ctx, control.Config{
		Client: channel, Server: inside, StartTLS: e.upstream.begin, Endpoints: e, Log: log,
		Note: e.follow.note(log), Dialogue: r.cfg.dialogue(log), Record: e.follow, Measured: e.follow.measured,
		Session: ftp.NewSession(ftp.Options{
			Peer: e.server, Hop: e.hop, Client: a.origin.Addr(), Active: r.cfg.Active, TLS: e.upstream.mode,
			HoldSuccess: !r.toCulvertd(), // who would end the client's connection as if the data were complete
			Measures:    meter != nil,
		}),
	})
	logControlEnd(r.ctx, log, err)
}

// remoteEndpoints makes what an FTP server near us announces reachable for its client near the bastion. It is a control.Endpoints.
//
// Where the bastion is culvertd, it listens itself for each announcement, and opens a channel that is named by the port of it. Any
// other SSH server is asked to listen for each.
type remoteEndpoints struct {
	*remote
	log      *slog.Logger
	upstream upstream
	client   netip.Addr // the FTP client, as the bastion says
	hop      netip.Addr // what the client is told; unspecified if that isn't known
	server   netip.Addr // the FTP server
	local    netip.Addr // this end of the control connection to it: servers check where data comes from

	ctx    context.Context // of the data connections, which outlive the control connection for a while
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup
	room   chan struct{}
	follow *follower

	listener *control.DataListener // where the server was told to connect to, until that is announced; or nil
	current  *remoteData           // the one announced last, or nil
}

func newRemoteEndpoints(r *remote, client netip.Addr, server relay.Stream, follow *follower, log *slog.Logger) *remoteEndpoints {
	e := &remoteEndpoints{
		remote: r, log: log, upstream: r.cfg.upstream(r.Forward, log), client: client, hop: r.hop(client),
		server: loopback4, local: loopback4, // of one behind a Unix socket
		room: make(chan struct{}, maxData), follow: follow,
	}
	if tcp, ok := server.(*relay.TCP); ok {
		e.server, e.local = relay.AddrPort(tcp.RemoteAddr()).Addr(), relay.AddrPort(tcp.LocalAddr()).Addr()
	}
	e.ctx, e.cancel = context.WithCancelCause(r.ctx)
	return e
}

var (
	loopback4 = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	loopback6 = netip.IPv6Loopback()
)

// hop is the address by which the FTP client is told to connect: where the bastion listens, as far as that is known here. Otherwise it is
// the unspecified one of the family.
func (r *remote) hop(client netip.Addr) netip.Addr {
	loopback, unspecified := loopback4, netip.IPv4Unspecified()
	if client.Is6() {
		loopback, unspecified = loopback6, netip.IPv6Unspecified()
	}
	usable := func(a netip.Addr) bool { return a.IsValid() && !a.IsUnspecified() && a.Is4() == client.Is4() }
	bind, _ := netip.ParseAddr(r.Bind) // not valid otherwise
	switch {
	case r.toCulvertd():
		return loopback4 // it tells its own
	case usable(r.cfg.RemoteAddress):
		return r.cfg.RemoteAddress
	case usable(bind) && bind.IsLoopback():
		return bind
	case client.IsLoopback(): // whatever was asked for, it reached the loopback
		return loopback
	case usable(bind):
		return bind
	}
	return unspecified
}

// toCulvertd reports whether the bastion listens for FTP clients itself.
func (r *remote) toCulvertd() bool { return r.Kind.ftp() && r.bastion.ReadsFTP() }

// Open has a connection that the client makes to the bastion carried to end.
func (e *remoteEndpoints) Open(ctx context.Context, end ftp.Endpoint) (at netip.AddrPort, err error) {
	var listener *control.DataListener
	if end.Listening {
		listener, e.listener = e.listener, nil
	}
	e.Cancel("a newer one was announced")
	defer func() {
		if err != nil {
			e.log.Error("no data connection is offered", "err", err)
		}
	}()
	if end.Mode == ftp.PASV && e.hop.IsUnspecified() {
		return at, errors.New("under which address the bastion is reached isn't known: name it by -o FTPRemoteAddress=, or use EPSV")
	}
	select {
	case e.room <- struct{}{}:
	default:
		return at, fmt.Errorf("more than %d data connections at once", maxData)
	}
	d := &remoteData{remoteEndpoints: e, to: netip.AddrPortFrom(e.server, end.Port), waits: end.Client, listener: listener, protected: end.Protected, flow: e.follow.announced(), reached: make(chan struct{}), sent: make(chan struct{}), ended: make(chan struct{})}
	if err := d.begin(ctx); err != nil {
		d.flow.end(err)
		d.close()
		<-e.room
		return at, err
	}
	e.current = d
	return netip.AddrPortFrom(e.hop, d.at.port), nil
}

// Listen waits for the FTP server, which has no passive mode and is near.
func (e *remoteEndpoints) Listen(context.Context, ftp.Listen) (at netip.AddrPort, err error) {
	e.Cancel("a newer one was asked for")
	e.listener, err = control.ListenData(control.DataListenerConfig{
		At:      netip.AddrPortFrom(e.local, 0),
		Timeout: endpointTimeout,
		Accepts: func(conn *net.TCPConn) error {
			if relay.AddrPort(conn.RemoteAddr()).Addr() != e.server {
				return fmt.Errorf("the FTP server is %s", e.server)
			}
			return nil
		},
		Rejected: func(peer netip.AddrPort, why error) {
			e.log.Warn("somebody else's data connection was reset", "peer", peer, "err", why)
		},
	})
	if err != nil {
		return at, err
	}
	return e.listener.Addr(), nil
}

// Begin connects to a client in active mode. That a connection which the bastion accepts is the client's is the bastion's word.
func (e *remoteEndpoints) Begin(context.Context) {
	if d := e.current; d != nil && d.waits.IsValid() && d.take() {
		e.wg.Go(d.connect)
	}
}

// End asks whether a client in active mode was connected to: a server may have sent a small file by then, and not have met the reset yet. And
// it waits until the client has had everything, as another SSH server than culvertd makes an orderly end of a loss.
func (e *remoteEndpoints) End(ctx context.Context) error {
	d := e.current
	if d == nil {
		return nil // it was announced no longer, so that there is no transfer
	}
	if d.waits.IsValid() {
		select {
		case <-d.reached:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if d.failure != nil {
			return d.failure
		}
	}
	if e.toCulvertd() {
		return nil
	}
	return d.wait(ctx)
}

// Cancel withdraws the endpoint announced last, unless a connection came.
func (e *remoteEndpoints) Cancel(reason string) {
	if e.listener != nil {
		e.listener.Close()
		e.listener = nil
	}
	if e.current != nil {
		e.current.withdraw(reason)
		e.current = nil
	}
}

// end waits for the data connections that run, but for no longer than drainTimeout.
func (e *remoteEndpoints) end() {
	e.Cancel("the control connection ended")
	timer := time.AfterFunc(drainTimeout, func() {
		e.cancel(fmt.Errorf("the control connection ended more than %v ago", drainTimeout))
	})
	e.wg.Wait()
	timer.Stop()
	e.cancel(nil)
}
