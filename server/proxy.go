package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/pires/go-proxyproto"

	"github.com/culvert-ssh/culvert/relay"
)

const (
	// headerTime is how long a proxy may take to say for whom it connects: it knows it at once.
	headerTime = 10 * time.Second

	// maxHeader bounds what it says, in bytes. An address takes some forty; the rest is room for TLVs, which nobody reads here.
	maxHeader = 4096
)

// fromProxy reports whether addr is a proxy whose word on the client's address is believed (ProxyProtocolFrom).
func (l *Live) fromProxy(addr netip.Addr) bool {
	return slices.ContainsFunc(l.ProxyFrom, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// acceptProxied starts a connection that comes from a proxy. Who its client is isn't read here, where others wait, and counts from
// the moment that it is known as for every client. Until then there are so many such connections at most as MaxStartups has places.
func (s *Server) acceptProxied(a arrival) {
	place, reason := s.headers.admit(&a.live.headers, a.proxy.Addr(), a.since)
	if place == nil {
		s.refuse(&a, reason, wordsStartups)
		return
	}
	a.prepare()
	ctx, cancel := context.WithCancelCause(context.Background())
	s.headers.occupy(place, func() { cancel(errPutOut) })
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		s.headers.leave(place)
		_ = a.Close()
		return
	}
	s.nameless[place] = cancel
	s.owners.Go(func() {
		c := s.introduce(ctx, &a)
		s.headers.leave(place)
		s.mu.Lock()
		delete(s.nameless, place)
		closing := s.closing
		if c != nil {
			s.open[c] = struct{}{}
		}
		s.checkDrained()
		s.mu.Unlock()
		if c == nil {
			return
		}
		if closing {
			c.end(errShutdown)
		}
		c.own()
	})
}

// introduce waits until the proxy has said who its client is, and returns their connection, or nil if it is refused. If ctx ends meanwhile,
// it is.
func (s *Server) introduce(ctx context.Context, a *arrival) *connection {
	conn := a.Conn
	defer s.recovered("PROXY header", conn)
	unwatch := context.AfterFunc(ctx, func() { _ = conn.Close() })
	client, introduced, err := readHeader(conn, a.headerDeadline())
	if !unwatch() {
		err = context.Cause(ctx)
	}
	if err != nil {
		s.refuse(a, fmt.Sprintf("no PROXY header: %.200s", err), "")
		return nil
	}
	a.Conn = introduced
	if client.IsValid() { // else the proxy connects for itself, to see whether we live
		a.client = client
	}
	return s.admit(a)
}

// headerDeadline is when the header must be there.
func (a *arrival) headerDeadline() time.Time {
	limit := headerTime
	if grace := a.live.LoginGraceTime; grace > 0 {
		limit = min(limit, grace)
	}
	return time.Now().Add(limit)
}

// introduced is the connection of a client that a proxy has named.
type introduced struct {
	net.Conn
	client net.Addr
	ahead  *bufio.Reader // what was read with the header and not handed on yet; nil if there is nothing
}

func (i *introduced) RemoteAddr() net.Addr { return i.client }

func (i *introduced) Read(p []byte) (int, error) {
	if i.ahead == nil {
		return i.Conn.Read(p)
	}
	n, err := i.ahead.Read(p[:min(len(p), i.ahead.Buffered())])
	if i.ahead.Buffered() == 0 {
		i.ahead = nil
	}
	return n, err
}

// readHeader reads a header of the PROXY protocol, version 1 or 2, and returns the client that it names and the connection to go on
// with. The client is not valid if the proxy connects for itself.
func readHeader(c net.Conn, deadline time.Time) (netip.AddrPort, net.Conn, error) {
	if err := c.SetReadDeadline(deadline); err != nil {
		return netip.AddrPort{}, nil, err
	}
	ahead := bufio.NewReaderSize(&io.LimitedReader{R: c, N: maxHeader}, maxHeader)
	header, err := proxyproto.Read(ahead)
	if err != nil {
		return netip.AddrPort{}, nil, err
	}
	i := &introduced{Conn: c, client: c.RemoteAddr()}
	if ahead.Buffered() > 0 {
		i.ahead = ahead
	}
	if header.Command == proxyproto.LOCAL {
		return netip.AddrPort{}, i, c.SetReadDeadline(time.Time{})
	}
	source, _, ok := header.TCPAddrs()
	if !ok {
		return netip.AddrPort{}, nil, errors.New("the client is not connected by TCP")
	}
	client := relay.AddrPort(source)
	if !client.IsValid() {
		return netip.AddrPort{}, nil, errors.New("the client has no address")
	}
	i.client = net.TCPAddrFromAddrPort(client)
	return client, i, c.SetReadDeadline(time.Time{})
}
