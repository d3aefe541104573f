package client

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/activity"
	"github.com/culvert-ssh/culvert/control"
	"github.com/culvert-ssh/culvert/relay"
	"github.com/culvert-ssh/culvert/socks"
)

// socksTimeout is how long a client may take to say where it wants to go.
const socksTimeout = 30 * time.Second

// serveSOCKS carries one connection that says itself where it goes. FTP control connections are known by their port, and the data
// connections that are announced on them by the names that their clients were told.
func (s *serving) serveSOCKS(ctx context.Context, conn *net.TCPConn) {
	local := relay.NewTCP(conn)
	log := s.cfg.Logger().With("from", relay.AddrPort(conn.RemoteAddr()))
	req, err := agree(ctx, local)
	if err != nil {
		refused(ctx, log, err)
		return
	}
	f := Forward{Host: req.Host, HostPort: req.Port}
	log = log.With("target", f.Target())
	if d := s.names.take(req, conn); d != nil {
		d.hand(handed{local, func(err error) []byte { return req.Reply(outcome(err)) }})
		return
	}
	s, end := s.begin()
	defer end()
	if slices.Contains(s.cfg.FTPPorts, req.Port) {
		f.Kind = FTP
		s.serveFTPBySOCKS(ctx, f, ftpClient{conn: conn, local: local}, req, log)
		return
	}
	log.Debug("connection accepted")
	remote, err := s.openPlain(ctx, f, conn)
	if err != nil {
		refused(ctx, log, err)
		part(local, req.Reply(outcome(err)))
		return
	}
	if err := grant(local, req, remote); err != nil {
		refused(ctx, log, err)
		return
	}
	carry(ctx, s.meter.Connection(activity.Connection{From: shownFrom(conn), Target: f.Target()}), local, remote, log)
}

// serveFTPBySOCKS carries one FTP control connection, whose client will ask for its data connections as it has asked for this one.
func (s *serving) serveFTPBySOCKS(ctx context.Context, f Forward, client ftpClient, req socks.Request, log *slog.Logger) {
	x, err := s.newFTPSession(f, client, log)
	if err != nil {
		return
	}
	server, err := x.connect(ctx)
	if err != nil {
		part(client.local, req.Reply(outcome(err)))
		return
	}
	if err := grant(client.local, req, server); err != nil {
		refused(ctx, log, err)
		return
	}
	x.names = s.names.session(f.Host, x.hop)
	x.run(ctx, server)
}

// refused tells of a connection that came to nothing.
func refused(ctx context.Context, log *slog.Logger, err error) {
	if ctx.Err() == nil {
		log.Error("a connection was refused", "err", err)
	}
}

// agree hears where a client wants to go. If that comes to nothing, the stream is closed.
func agree(ctx context.Context, client relay.Stream) (socks.Request, error) {
	late := time.AfterFunc(socksTimeout, client.Abort)
	defer late.Stop()
	defer context.AfterFunc(ctx, client.Abort)()
	var h socks.Handshake
	buf := make([]byte, 255)
	for n := h.Want(); n > 0; n = h.Want() {
		_, err := io.ReadFull(client, buf[:n])
		if err != nil {
			client.Abort()
			return socks.Request{}, err
		}
		reply, err := h.Feed(buf[:n])
		if err != nil {
			if reply == nil { // it speaks something else, and would not understand us
				client.Abort()
			} else {
				part(client, reply)
			}
			return socks.Request{}, err
		}
		if len(reply) == 0 {
			continue
		}
		if _, err = client.Write(reply); err != nil {
			client.Abort()
			return socks.Request{}, err
		}
	}
	return h.Request(), nil
}

// grant tells a client that it is connected to remote. On failure both streams are aborted.
func grant(client relay.Stream, req socks.Request, remote relay.Stream) error {
	if _, err := client.Write(req.Reply(socks.Granted)); err != nil {
		relay.AbortAll(client, remote)
		return err
	}
	return nil
}

// take returns the data connection that the client of conn asks for, as claim does.
func (n *dataNames) take(req socks.Request, conn *net.TCPConn) *namedData {
	return n.claim(req.Host, req.Port, relay.AddrPort(conn.RemoteAddr()), func(o control.Owner) error { return o.Accepts(conn) })
}

// outcome is what a client is told of err.
func outcome(err error) socks.Outcome {
	var failed *openFailure
	isFailure := errors.As(err, &failed)
	switch {
	case err == nil:
		return socks.Granted
	case isFailure && failed.reason == ssh.Prohibited, errors.Is(err, errNotPermitted), errors.Is(err, errClaimed):
		return socks.NotAllowed
	case errors.Is(err, syscall.ECONNREFUSED):
		return socks.Refused
	case isFailure && failed.reason == ssh.ConnectionFailed, errors.Is(err, syscall.EHOSTUNREACH):
		return socks.Unreachable
	}
	return socks.Failed
}
