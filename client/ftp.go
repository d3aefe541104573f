package client

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"time"

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
	local *relay.TCP // the same
	said  []string   // by it to the proxy, for the server (ftp.Options.Said)
	rest  []byte     // behind that
}

// serveFTP carries one FTP control connection and the data connections that are announced on it.
func serveFTP(ctx context.Context, cfg *Config, t Transport, opaque *opaquePorts, f Forward, conn *net.TCPConn, log *slog.Logger) {
	serveFTPClient(ctx, cfg, t, opaque, f, ftpClient{conn: conn, local: relay.NewTCP(conn)}, log.With("from", relay.AddrPort(conn.RemoteAddr())))
}

func serveFTPClient(ctx context.Context, cfg *Config, t Transport, opaque *opaquePorts, f Forward, client ftpClient, log *slog.Logger) {
	conn, local := client.conn, client.local
	hop, from := relay.AddrPort(conn.LocalAddr()), relay.AddrPort(conn.RemoteAddr())
	log.Debug("FTP control connection accepted")

	// ABOR comes as TCP urgent data, and without this its bytes are missing from the stream.
	if err := control.KeepUrgent(conn); err != nil {
		local.Abort()
		log.Error("a connection was reset", "err", err)
		return
	}
	owner, err := control.NewOwner(from, hop)
	if err != nil {
		local.Abort()
		log.Error("a connection was reset: whose it is can't be told", "err", err)
		return
	}
	server, err := t.Open(ctx, f.Host, f.HostPort, from)
	if err != nil {
		part(local, client.refusal(err))
		if ctx.Err() == nil {
			log.Error("FTP is not available", "err", err)
		}
		return
	}

	up := cfg.upstream(f, log)
	if server, err = up.control(ctx, server); err != nil {
		part(local, client.refusal(err))
		return
	}

	peer, err := netip.ParseAddr(f.Host)
	if err != nil {
		peer = netip.Addr{} // a name: only the bastion knows its address
	}
	e := newEndpoints(ctx, endpointsConfig{
		transport: t, upstream: up, host: f.Host, announced: cfg.AnnouncedDataAddress, told: cfg.ActiveAddress,
		hop: hop.Addr(), owner: owner, log: log, drain: drainTimeout,
	})
	defer e.end()
	own := &opaqueSession{ports: opaque, at: hop.Addr(), host: f.Host, owner: owner, log: log}
	defer own.end()
	err = control.Run(ctx, control.Config{
		Client: &saidFirst{local, client.rest}, Server: server, StartTLS: up.begin, Opaque: own.begin, Endpoints: e, Log: log,
		Note: func(n ftp.Note) { logNote(log, n) }, Dialogue: cfg.dialogue(log), Farewell: farewell(ctx, t),
		Session: ftp.NewSession(ftp.Options{
			Peer: peer, Hop: hop.Addr(), Client: from.Addr(), Active: cfg.Active, Said: client.said,
			TLS: up.mode, WithoutTLS: withoutTLS(t.ReadsFTP()), Opaque: len(opaque.ports) > 0,
		}),
	})
	logControlEnd(ctx, log, err)
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
	level := slog.LevelDebug
	switch n.Kind {
	case ftp.NoteUnsolicited, ftp.NoteMalformed, ftp.NoteClear:
		level = slog.LevelWarn
	}
	log.Log(context.Background(), level, "FTP protocol", "note", n.Text)
}

// part says a last word, which tells the FTP client why it isn't served (RFC 959, section 5.4), and closes.
func part(local *relay.TCP, word []byte) {
	_ = local.SetDeadline(time.Now().Add(goodbyeTimeout)) // fails only on a closed connection
	_, err := local.Write(word)
	if err == nil && local.CloseWrite() == nil {
		// A close with input unread is a reset, which would overtake the goodbye.
		_, _ = io.Copy(io.Discard, io.LimitReader(local, 64<<10))
	}
	_ = local.Close()
}
