package client

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/culvert-ssh/culvert/activity"
	"github.com/culvert-ssh/culvert/redirect"
	"github.com/culvert-ssh/culvert/relay"
)

// maxSessions bounds the connections that one listener serves at once. Each costs some 20 KiB while nothing moves; whoever can connect
// can have them, and ssh has no such bound.
const maxSessions = 16384

// acceptRetry is how long a listener waits after an accept that failed for want of something (file
// descriptors, most likely) and that may succeed later.
const acceptRetry = time.Second

// serving is what is needed to serve a connection that a listener has accepted. All but the transport is common to them all.
type serving struct {
	Forward
	cfg       *Config
	sessions  sessions
	transport Transport // once it is known that the connection is for the bastion
	opaque    *opaquePorts
	claims    *claims
	names     *dataNames // of the FTP sessions that came by SOCKS, or were redirected
	greeting  *unanswered
	proven    *provenModes // of the one server that the listener leads to; nil if there are several
	meter     *activity.TunnelMeter
	log       *slog.Logger
}

// begin returns s for one connection, with its transport. The caller must call end when all has ended that belongs to it.
func (s serving) begin() (one *serving, end func()) {
	s.transport, end = s.sessions.begin()
	return &s, end
}

// serve accepts connections until ctx is done, and then returns when all of them have ended.
func (l *listener) serve(ctx context.Context, cfg *Config, sessions sessions, opaque *opaquePorts, claims *claims) {
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	room := make(chan struct{}, maxSessions)
	meter := cfg.Activity.Tunnel(l.shown(cfg.LinkName))
	defer meter.Close()
	s := &serving{
		Forward: l.Forward, cfg: cfg, sessions: sessions, opaque: opaque, claims: claims, names: new(dataNames), greeting: new(unanswered), meter: meter,
		log: cfg.Logger().With("target", l.Target()),
	}
	if l.Kind.ftp() {
		s.proven = newProvenModes()
	}
	if l.Kind == FTPRedirect {
		s.names.first, s.names.last = redirect.FirstDataPort, redirect.LastDataPort
	}
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			if conn != nil {
				newStream(conn).Abort()
			}
			return
		}
		if err != nil {
			s.log.Error("a connection can't be accepted", "err", err)
			select {
			case <-ctx.Done():
			case <-time.After(acceptRetry):
			}
			continue
		}
		select {
		case room <- struct{}{}:
		default:
			newStream(conn).Abort()
			s.log.Error("a connection was reset: there are too many at once", "most", maxSessions)
			continue
		}
		wg.Go(func() {
			defer func() { <-room }()
			s.serve(ctx, conn)
		})
	}
}

// serve carries one connection. Of FTP and SOCKS, which listen by TCP alone, it is a TCP connection.
func (s *serving) serve(ctx context.Context, conn net.Conn) {
	if s.Private {
		if err := mayUse(conn); err != nil {
			newStream(conn).Abort()
			s.log.Warn("somebody else's connection was reset", "from", conn.RemoteAddr(), "err", err)
			return
		}
	}
	tcp, _ := conn.(*net.TCPConn)
	switch s.Kind {
	case FTPProxy:
		s.serveProxy(ctx, tcp)
		return
	case FTPRedirect:
		s.serveRedirected(ctx, tcp)
		return
	case SOCKS:
		s.serveSOCKS(ctx, tcp)
		return
	}
	if s.Kind.ftp() {
		s.serveFTP(ctx, tcp)
		return
	}
	s, end := s.begin()
	defer end()
	s.servePlain(ctx, conn)
}

// newStream makes conn a Stream.
func newStream(conn net.Conn) relay.Stream {
	if c, ok := conn.(*net.UnixConn); ok {
		return relay.NewUnix(c)
	}
	return relay.NewTCP(conn.(*net.TCPConn))
}

// originOf is what the bastion is told of where a connection comes from.
func originOf(conn net.Conn) netip.AddrPort {
	if from := relay.AddrPort(conn.RemoteAddr()); from.IsValid() {
		return from
	}
	return unknownOrigin
}

// open opens the far end over t.
func (f Forward) open(ctx context.Context, t Transport, from netip.AddrPort) (relay.Stream, error) {
	if f.HostSocket != "" {
		return t.OpenSocket(ctx, f.HostSocket)
	}
	if f.Kind.ftp() {
		return t.OpenControl(ctx, f.Host, f.HostPort, from)
	}
	return t.Open(ctx, f.Host, f.HostPort, from)
}

// openPlain opens the far end of a connection that is no FTP control connection.
func (s *serving) openPlain(ctx context.Context, f Forward, conn net.Conn) (relay.Stream, error) {
	if err := s.claims.permitsConn(f.HostPort, conn); err != nil {
		return nil, err
	}
	return f.open(ctx, s.transport, originOf(conn))
}

// unknownOrigin is what OpenSSH says of a connection that comes from nowhere: some servers insist on an address.
var unknownOrigin = netip.AddrPortFrom(loopback4, 65535)

// servePlain carries one connection. Failure is a reset, never an end of data.
func (s *serving) servePlain(ctx context.Context, conn net.Conn) {
	local, from := newStream(conn), originOf(conn)
	s.log.Debug("connection accepted", "from", from)
	remote, err := s.openPlain(ctx, s.Forward, conn)
	if err != nil {
		local.Abort()
		if ctx.Err() == nil {
			s.log.Error("a connection was reset", "err", err)
		}
		return
	}
	carry(ctx, s.meter.Connection(activity.Connection{From: shownFrom(conn)}), local, remote, s.log)
}

// shownFrom is who has connected, as far as that has an address.
func shownFrom(conn net.Conn) string {
	if from := relay.AddrPort(conn.RemoteAddr()); from.IsValid() {
		return from.String()
	}
	return ""
}

// carry joins the two sides of a connection that is no FTP control connection, of which a is the client's. It owns both, and the meter.
func carry(ctx context.Context, meter *activity.ConnectionMeter, a, b relay.Stream, log *slog.Logger) {
	defer meter.Close()
	var count relay.Counters
	meter.Count(&count)
	err := relay.Join(ctx, a, b, &count)
	logEnd(ctx, log, "connection", err, &count)
}

// logEnd says how a joined connection ended.
func logEnd(ctx context.Context, log *slog.Logger, what string, err error, count *relay.Counters) {
	up, down := count.AToB.Load(), count.BToA.Load()
	switch {
	case err == nil:
		log.Debug(what+" ended", "up", up, "down", down)
	case ctx.Err() != nil || errors.Is(err, relay.ErrTransportLost):
		log.Debug(what+" reset", "up", up, "down", down, "err", err) // the end of everything is told once
	default:
		log.Info(what+" cut short, and reset", "up", up, "down", down, "err", err)
	}
}
