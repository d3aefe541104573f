package client

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/culvert-ssh/culvert/activity"
	"github.com/culvert-ssh/culvert/control"
	"github.com/culvert-ssh/culvert/ftp"
	"github.com/culvert-ssh/culvert/relay"
)

const (
	// drainTimeout is how long data connections may go on after their control connection
	// has ended.
	drainTimeout = 30 * time.Second

	// goodbyeTimeout is how long a client is given to read why it isn't served.
	goodbyeTimeout = 2 * time.Second
)

// ftpClient is a client whose control connection was accepted here.
type ftpClient struct {
	conn  *net.TCPConn
	local *relay.TCP                                     // the same
	said  []string                                       // by it to the proxy, for the server (ftp.Options.Said)
	rest  []byte                                         // behind that
	again func(verb, arg string) (meant, refusal string) // what it means by another login (ftp.Options.Means)

	asked netip.AddrPort // where it has connected to, as it knows it; not valid if that is where the connection has arrived
}

// ftpSession is one FTP control connection that was accepted here, and the data connections that are announced on it.
type ftpSession struct {
	*serving
	ftpClient
	to    Forward
	from  netip.AddrPort // the client
	hop   netip.Addr     // the address that it has connected to
	owner control.Owner
	names *sessionNames // what the client asks for its data connections by; nil if it connects to what is announced
	up    upstream
	log   *slog.Logger
}

// serveFTP carries one FTP control connection.
func (s *serving) serveFTP(ctx context.Context, conn *net.TCPConn) {
	client := ftpClient{conn: conn, local: relay.NewTCP(conn)}
	log := s.log.With("from", relay.AddrPort(conn.RemoteAddr()))
	s, end, err := s.admit(ctx, s.Forward, &client, log)
	if err != nil {
		return
	}
	defer end()
	s.serveFTPClient(ctx, s.Forward, client, log)
}

func (s *serving) serveFTPClient(ctx context.Context, f Forward, client ftpClient, log *slog.Logger) {
	x, err := s.newFTPSession(f, client, log)
	if err != nil {
		return
	}
	server, err := x.connect(ctx)
	if err != nil {
		part(client.local, client.refusal(err))
		return
	}
	x.run(ctx, server)
}

// newFTPSession makes one of a client that goes to f. On failure its connection is reset.
func (s *serving) newFTPSession(f Forward, client ftpClient, log *slog.Logger) (*ftpSession, error) {
	hop := relay.AddrPort(client.conn.LocalAddr())
	x := &ftpSession{
		serving: s, ftpClient: client, to: f, log: log, up: s.cfg.upstream(f, log),
		from: relay.AddrPort(client.conn.RemoteAddr()), hop: hop.Addr(),
	}
	log.Debug("FTP control connection accepted")

	// ABOR comes as TCP urgent data, and without this its bytes are missing from the stream.
	err := control.KeepUrgent(x.conn)
	if err != nil {
		x.local.Abort()
		log.Error("a connection was reset", "err", err)
		return nil, err
	}
	if client.asked.IsValid() {
		x.owner, err = control.NewRedirectedOwner(x.from, client.asked, hop)
	} else {
		x.owner, err = control.NewOwner(x.from, hop)
	}
	if err != nil {
		x.local.Abort()
		log.Error("a connection was reset: whose it is can't be told", "err", err)
		return nil, err
	}
	return x, nil
}

// connect opens the far end. Why that fails is logged.
func (x *ftpSession) connect(ctx context.Context) (relay.Stream, error) {
	var server relay.Stream
	err := x.claims.permitsOwner(x.to.HostPort, x.owner)
	if err == nil {
		server, err = x.to.open(ctx, x.transport, x.from)
	}
	if err != nil {
		if ctx.Err() == nil {
			x.log.Error("FTP is not available", "err", err)
		}
		return nil, err
	}
	return x.up.control(ctx, server)
}

// run carries the session until it has ended, and owns both streams.
func (x *ftpSession) run(ctx context.Context, server relay.Stream) {
	host := x.to.dataHost()
	peer, err := netip.ParseAddr(host)
	if err != nil {
		peer = netip.Addr{} // a name: only the bastion knows its address
	}
	meter := x.meter.Connection(activity.Connection{From: x.from.String(), Target: x.to.Target(), FTP: true})
	defer meter.Close()
	follow := newFollower(meter)
	e := newEndpoints(ctx, endpointsConfig{
		transport: x.transport, upstream: x.up, host: host, announced: x.cfg.AnnouncedDataAddress, told: x.cfg.ActiveAddress,
		hop: x.hop, owner: x.owner, names: x.names, claims: x.claims, log: x.log, drain: drainTimeout, follow: follow,
		proven: x.proven,
	})
	defer e.end()
	own := &opaqueSession{ports: x.opaque, at: x.hop, host: host, owner: x.owner, meter: meter, log: x.log}
	defer own.end()
	seen := x.hop
	if x.names != nil {
		own.ports, seen = nil, x.names.seen
	}
	err = control.Run(ctx, control.Config{
		Client: &saidFirst{x.local, x.rest}, Server: server, StartTLS: x.up.begin, Opaque: own.begin, Endpoints: e, Log: x.log,
		Note: follow.note(x.log), Record: follow, Measured: follow.measured, Dialogue: x.cfg.dialogue(x.log), Farewell: farewell(ctx, x.transport),
		Session: ftp.NewSession(ftp.Options{
			Peer: peer, Hop: seen, Client: x.from.Addr(), Active: x.cfg.Active, Said: x.said, Means: x.again,
			TLS: x.up.mode, WithoutTLS: withoutTLS(x.transport.ReadsFTP()), Opaque: len(x.opaque.ports) > 0, Measures: meter != nil,
		}),
	})
	logControlEnd(ctx, x.log, err)
}

// logControlEnd says how a control connection ended.
func logControlEnd(ctx context.Context, log *slog.Logger, err error) {
	switch {
	case err == nil:
		log.Debug("FTP control connection ended")
	case ctx.Err() != nil || errors.Is(err, relay.ErrTransportLost):
		log.Debug("FTP control connection reset", "err", err) // the end of everything is told once
	default:
		log.Info("FTP control connection cut short", "err", err)
	}
}

// farewell says what an FTP client is told of the end that everything comes to; of another it isn't told.
func farewell(ctx context.Context, t Transport) func(error) string {
	return func(err error) string {
		switch {
		case ctx.Err() != nil:
			return "culvert: this tunnel has been closed"
		case errors.Is(err, relay.ErrTransportLost) || hasEnded(t):
			return "culvert: the SSH connection was lost, connect again"
		}
		return ""
	}
}

// logNote tells of what a server should not do. What the client is told anyway, such as a refusal, and what
// is ordinary is for debugging.
func logNote(log *slog.Logger, n ftp.Note) {
	if n.Kind == ftp.NoteWantsTLS {
		log.Warn("the FTP server wants TLS: with -o FTPUpstreamTLS=require culvert speaks it, for any FTP client", "note", n.Text)
		return
	}
	level := slog.LevelDebug
	switch n.Kind {
	case ftp.NoteUnsolicited, ftp.NoteMalformed, ftp.NoteClear:
		level = slog.LevelWarn
	}
	log.Log(context.Background(), level, "FTP protocol", "note", n.Text)
}

// part says a last word, which tells the client why it isn't served, and closes when that is read, or soon: a close with input unread is
// a reset, which would overtake the word.
func part(client relay.Stream, word []byte) {
	late := time.AfterFunc(goodbyeTimeout, func() { _ = client.Close() })
	defer late.Stop()
	if _, err := client.Write(word); err == nil && client.CloseWrite() == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(client, 64<<10))
	}
	_ = client.Close()
}
