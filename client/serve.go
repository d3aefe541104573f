package client

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/culvert-ssh/culvert/relay"
)

// maxSessions bounds the connections that one listener serves at once. Each costs two sockets'
// worth of buffers and some goroutines; a person's programs stay far below it.
const maxSessions = 256

// acceptRetry is how long a listener waits after an accept that failed for want of something (file
// descriptors, most likely) and that may succeed later.
const acceptRetry = time.Second

// serve accepts connections until ctx is done, and then returns when all of them have ended.
func (l *listener) serve(ctx context.Context, cfg *Config, sessions sessions, opaque *opaquePorts) {
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	room := make(chan struct{}, maxSessions)
	log := cfg.Logger().With("target", l.Target())
	for {
		conn, err := l.AcceptTCP()
		if ctx.Err() != nil {
			if conn != nil {
				relay.NewTCP(conn).Abort()
			}
			return
		}
		if err != nil {
			log.Error("a connection can't be accepted", "err", err)
			select {
			case <-ctx.Done():
			case <-time.After(acceptRetry):
			}
			continue
		}
		select {
		case room <- struct{}{}:
		default:
			relay.NewTCP(conn).Abort()
			log.Error("a connection was reset: there are too many at once", "most", maxSessions)
			continue
		}
		wg.Go(func() {
			defer func() { <-room }()
			if l.Kind == FTPProxy {
				serveProxy(ctx, cfg, sessions, opaque, conn, log)
				return
			}
			t, end := sessions.begin()
			defer end()
			if l.Kind.ftp() {
				serveFTP(ctx, cfg, t, opaque, l.Forward, conn, log)
			} else {
				servePlain(ctx, t, l.Forward, conn, log)
			}
		})
	}
}

// servePlain carries one connection. Failure is a reset, never an end of data.
func servePlain(ctx context.Context, t Transport, f Forward, conn *net.TCPConn, log *slog.Logger) {
	local := relay.NewTCP(conn)
	from := relay.AddrPort(conn.RemoteAddr())
	log.Debug("connection accepted", "from", from)
	remote, err := t.Open(ctx, f.Host, f.HostPort, from)
	if err != nil {
		local.Abort()
		if ctx.Err() == nil {
			log.Error("a connection was reset", "err", err)
		}
		return
	}
	var count relay.Counters
	err = relay.Join(ctx, local, remote, &count)
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
