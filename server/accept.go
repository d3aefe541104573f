package server

import (
	"fmt"
	"net"
	"net/netip"
	"runtime/debug"
	"time"

	"github.com/culvert-ssh/culvert/audit"
	"github.com/culvert-ssh/culvert/relay"
)

// arrival is a connection that was accepted and whose owner hasn't begun.
type arrival struct {
	net.Conn
	socket        *relay.Socket // under Conn; nil if that is no TCP connection
	client, local netip.AddrPort
	proxy         netip.AddrPort // that spoke for the client, if one did
	since         time.Time
	live          *live
	place         *place
}

// accept starts the owner of a new connection, unless it is refused.
func (s *Server) accept(nc net.Conn) {
	defer s.recovered("accept", nc)
	a := arrival{
		Conn: nc, client: relay.AddrPort(nc.RemoteAddr()), local: relay.AddrPort(nc.LocalAddr()),
		since: s.cfg.Now(), live: s.live.Load(),
	}
	if !a.client.IsValid() || !a.local.IsValid() {
		s.cfg.Log.Warn("connection refused: its addresses are unknown") // policy could not match it
		_ = nc.Close()
		return
	}
	if a.live.fromProxy(a.client.Addr()) {
		a.proxy = a.client
		s.acceptProxied(a)
		return
	}
	c := s.admit(&a)
	if c == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		s.startups.leave(a.place)
		c.end(errShutdown)
		return
	}
	s.open[c] = struct{}{}
	s.owners.Go(c.own)
}

// admit returns the connection of a client whose address is known, or nil if it is refused.
func (s *Server) admit(a *arrival) *connection {
	if s.banned(a) {
		return nil
	}
	var reason string
	if a.place, reason = s.startups.admit(&a.live.sharing, a.client.Addr(), a.since); a.place == nil {
		s.refuse(a, reason, wordsStartups)
		return nil
	}
	a.prepare()
	return newConnection(s, *a)
}

// recovered must be deferred around what runs for no connection, or on behalf of one that has no owner yet, which a panic closes.
func (s *Server) recovered(where string, nc net.Conn) {
	p := recover()
	if p == nil {
		return
	}
	s.panics.Add(1)
	s.cfg.Log.Error("panic", "where", where, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	if nc != nil {
		_ = nc.Close()
	}
}

// prepare sets the options of the socket.
func (a *arrival) prepare() {
	tcp, ok := a.Conn.(*net.TCPConn)
	if !ok {
		return
	}
	if a.live.TCPKeepAlive {
		relay.KeepAlive(tcp)
	} else {
		_ = tcp.SetKeepAlive(false) // package net turns it on; fails only if the connection is gone
	}
	a.socket = relay.NewSocket(tcp)
	a.Conn = a.socket
}

// What a client is told that is refused: sshd's words, so that it shows something.
const (
	wordsStartups = "Exceeded MaxStartups\r\n"
	wordsPenalty  = "Not allowed at this time\r\n"
)

// banned refuses the connection if its source is penalised.
func (s *Server) banned(a *arrival) bool {
	if a.client == a.proxy { // which connects for itself
		return false
	}
	class, refused := s.penalties.refuses(&a.live.penalties, a.client.Addr(), a.since)
	if refused {
		s.refuse(a, "PerSourcePenalties: "+class, wordsPenalty)
	}
	return refused
}

// refuse closes the connection with these words, once it is counted.
func (s *Server) refuse(a *arrival, reason, words string) {
	s.refused(a.live.sharing.blocks.source(a.client.Addr()), audit.ConnectionRefused{Client: a.client, Proxy: a.proxy, Reason: reason})
	_ = a.SetWriteDeadline(time.Now().Add(10 * time.Millisecond)) // the socket is new and takes them
	_, _ = a.Write([]byte(words))
	_ = a.Close()
}
