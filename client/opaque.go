package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/culvert-ssh/culvert/activity"
	"github.com/culvert-ssh/culvert/control"
	"github.com/culvert-ssh/culvert/relay"
	"github.com/culvert-ssh/culvert/sshconfig"
)

const (
	// maxOpaquePorts bounds FTPOpaqueTLS: there is a listener for each port.
	maxOpaquePorts = 256

	// maxOpaqueData bounds the data connections at the ports of one server at once.
	maxOpaqueData = 64
)

// opaquePorts are the ports of FTPOpaqueTLS. A session that nobody can read announces its data ports to its client in secret, so that culvert
// listens at those very numbers, at the address where the client has found the server.
//
// A port can lead to one server only. So sessions of one owner with one server share the listeners, and others are refused meanwhile.
type opaquePorts struct {
	ports []uint16
	open  opening

	mu     sync.Mutex
	groups map[netip.Addr]*opaqueGroup // by the address that is listened on
}

// opening is [Transport.Open].
type opening func(ctx context.Context, host string, port uint16, origin netip.AddrPort) (relay.Stream, error)

// opaqueGroup is the listeners at one address.
type opaqueGroup struct {
	owner     control.Owner
	host      string // of the server, as it was asked for
	users     int    // sessions
	listeners []*net.TCPListener
	beside    *activity.ConnectionMeter // of the session that came first
	log       *slog.Logger

	ctx    context.Context // of the data connections
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup
	room   chan struct{}
}

// share has the ports lead to host, for the owner of a session. The caller must call release when the session has ended; that waits for
// its data connections as long as they may take.
func (o *opaquePorts) share(ctx context.Context, at netip.Addr, host string, own control.Owner, beside *activity.ConnectionMeter, log *slog.Logger) (release func(), err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	g := o.groups[at]
	switch {
	case g == nil:
		if g, err = o.listen(ctx, at, host, own, beside, log); err != nil {
			return nil, err
		}
		if o.groups == nil {
			o.groups = make(map[netip.Addr]*opaqueGroup)
		}
		o.groups[at] = g
	case g.host != host || g.owner != own:
		return nil, fmt.Errorf("the ports of FTPOpaqueTLS at %v lead to %s for another session: end that first, or bind this forward to another address", at, g.host)
	}
	g.users++
	return func() { o.release(at, g) }, nil
}

func (o *opaquePorts) release(at netip.Addr, g *opaqueGroup) {
	o.mu.Lock()
	g.users--
	last := g.users == 0
	if last {
		delete(o.groups, at)
		g.close()
	}
	o.mu.Unlock()
	if !last {
		return
	}
	timer := time.AfterFunc(drainTimeout, func() {
		g.cancel(fmt.Errorf("the control connection ended more than %v ago", drainTimeout))
	})
	g.wg.Wait()
	timer.Stop()
	g.cancel(nil)
}

// listen needs o.mu.
func (o *opaquePorts) listen(ctx context.Context, at netip.Addr, host string, own control.Owner, beside *activity.ConnectionMeter, log *slog.Logger) (*opaqueGroup, error) {
	g := &opaqueGroup{owner: own, host: host, beside: beside, log: log, room: make(chan struct{}, maxOpaqueData)}
	for _, port := range o.ports {
		ln, err := relay.Listen(ctx, "tcp", netip.AddrPortFrom(at, port).String())
		if err != nil {
			g.close()
			if errors.Is(err, syscall.EADDRINUSE) {
				err = fmt.Errorf("port %d of %v is in use, and FTPOpaqueTLS needs it: bind this forward to another address, such as 127.0.0.2", port, at)
			}
			return nil, err
		}
		g.listeners = append(g.listeners, ln)
	}
	g.ctx, g.cancel = context.WithCancelCause(ctx)
	for _, ln := range g.listeners {
		g.wg.Go(func() { g.serve(ln, o.open) })
	}
	return g, nil
}

func (g *opaqueGroup) close() {
	for _, ln := range g.listeners {
		_ = ln.Close() // it listened
	}
}

// serve accepts data connections at one port until the listener is closed.
func (g *opaqueGroup) serve(ln *net.TCPListener, open opening) {
	stop := context.AfterFunc(g.ctx, func() { _ = ln.Close() })
	defer stop()
	f := Forward{Host: g.host, HostPort: relay.AddrPort(ln.Addr()).Port()}
	log := g.log.With("data", f.Target())
	for {
		conn, err := ln.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			log.Error("a connection can't be accepted", "err", err)
			select {
			case <-g.ctx.Done():
			case <-time.After(acceptRetry):
			}
			continue
		}
		if err := g.admit(conn); err != nil {
			log.Warn("a data connection was reset", "peer", relay.AddrPort(conn.RemoteAddr()), "err", err)
			relay.NewTCP(conn).Abort()
			continue
		}
		g.wg.Go(func() {
			defer func() { <-g.room }()
			g.carry(open, f, conn, log)
		})
	}
}

// carry is servePlain for what has TLS in it.
func (g *opaqueGroup) carry(open opening, f Forward, conn *net.TCPConn, log *slog.Logger) {
	local := relay.NewTCP(conn)
	remote, err := open(g.ctx, f.Host, f.HostPort, relay.AddrPort(conn.RemoteAddr()))
	if err != nil {
		local.Abort()
		if g.ctx.Err() == nil {
			log.Error("a data connection was reset", "err", err)
		}
		return
	}
	meter := g.beside.Beside(activity.Connection{From: conn.RemoteAddr().String(), Target: f.Target()})
	defer meter.Close()
	var count relay.Counters
	meter.Count(&count)
	err = relay.Join(g.ctx, relay.WithLastWord(local), remote, &count)
	logEnd(g.ctx, log, "data connection", err, &count)
}

// admit takes a place for the owner's connection.
func (g *opaqueGroup) admit(conn *net.TCPConn) error {
	if err := g.owner.Accepts(conn); err != nil {
		return fmt.Errorf("it is somebody else's: %w", err)
	}
	select {
	case g.room <- struct{}{}:
		return nil
	default:
		return fmt.Errorf("there are %d already", maxOpaqueData)
	}
}

// opaqueSession is one session, which may come to want the ports.
type opaqueSession struct {
	ports   *opaquePorts
	at      netip.Addr
	host    string
	owner   control.Owner
	meter   *activity.ConnectionMeter
	log     *slog.Logger
	release func() // nil if it has none
}

// begin is control.Config.Opaque.
func (s *opaqueSession) begin(ctx context.Context) error {
	if s.ports == nil { // the client asks the SOCKS proxy for its data connections, whatever they are
		s.log.Debug("the FTP client speaks TLS with the server itself")
		return nil
	}
	release, err := s.ports.share(ctx, s.at, s.host, s.owner, s.meter, s.log)
	if err != nil {
		s.log.Error("the FTP client can't speak TLS with the server itself", "err", err)
		return err
	}
	s.log.Debug("the FTP client speaks TLS with the server itself")
	s.release = release
	return nil
}

// end waits for the data connections as long as they may take.
func (s *opaqueSession) end() {
	if s.release != nil {
		s.release()
	}
}

// setOpaquePorts takes ports and ranges of them with blanks or commas between, or none.
func setOpaquePorts(c *Config, value string) error {
	c.OpaquePorts = nil
	if strings.EqualFold(value, "none") {
		return nil
	}
	for _, word := range strings.FieldsFunc(value, func(r rune) bool { return r == ' ' || r == '\t' || r == ',' }) {
		low, high, isRange := strings.Cut(word, "-")
		first, err := sshconfig.Port(low)
		if err != nil {
			return err
		}
		last := first
		if isRange {
			if last, err = sshconfig.Port(high); err != nil {
				return err
			}
		}
		switch {
		case first < 1024:
			return fmt.Errorf("%q: a data port is 1024 or more", word)
		case last < first:
			return fmt.Errorf("port range %q is the wrong way round", word)
		case len(c.OpaquePorts)+int(last)-int(first)+1 > maxOpaquePorts:
			return errors.New("more than " + strconv.Itoa(maxOpaquePorts) + " ports: have the FTP server use fewer for passive mode")
		}
		for port := int(first); port <= int(last); port++ {
			c.OpaquePorts = append(c.OpaquePorts, uint16(port))
		}
	}
	return nil
}
