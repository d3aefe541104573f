package channels

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/audit"
	"github.com/culvert-ssh/culvert/relay"
)

const (
	// maxUnconfirmed is how many accepted connections wait for the client at once, over all listeners of an
	// SSH connection. More wait in the kernel's queue, where they cost next to nothing.
	maxUnconfirmed = 32

	// confirmTimeout is how long the client may take to answer an open: as long as its own
	// connect(2) to the destination may take.
	confirmTimeout = 2*time.Minute + 10*time.Second

	// The pause after an accept that came to nothing doubles up to maxPause: whoever connects all the time must not
	// fill the audit log.
	minPause = 5 * time.Millisecond
	maxPause = time.Second
)

var errUnconfirmed = fmt.Errorf("the client did not answer within %v", confirmTimeout)

// forwardedTCPIP is the extra data of a forwarded-tcpip channel open (RFC 4254, section 7.2).
type forwardedTCPIP struct {
	Host           string // as in the tcpip-forward request
	Port           uint32 // that is bound
	OriginatorHost string
	OriginatorPort uint32
}

// acceptFrom hands connections to the client until the listener is stopped.
func (l *listener) acceptFrom(s *net.TCPListener) {
	for pause := minPause; ; {
		c, err := s.AcceptTCP()
		switch {
		case err == nil && l.connected(relay.NewTCP(c)):
			pause = minPause
			continue
		case l.ctx.Err() != nil:
			return
		case err != nil:
			l.cfg.Log.Error("accept failed, trying again", "request", l.request, "err", err, "pause", pause)
		}
		if !sleep(l.ctx, pause) {
			return
		}
		pause = min(2*pause, maxPause)
	}
}

// connected begins to forward a connection, once it may. It reports false, and has reset the connection, if there is
// no room for it.
func (l *listener) connected(tcp *relay.TCP) bool {
	if l.asking.Wait(l.ctx) != nil || !l.unconfirmed.acquire(l.ctx) { // each is on record, so that they come at the rate of channels
		tcp.Abort()
		return false
	}
	o := &opening{
		Conn: l.Conn, request: l.nextRequest(), host: l.at.host, port: l.at.port,
		generation: l.generation, // the listener's: if the policy has changed since, it is asked
	}
	s := &stream{opening: o, tcp: tcp, rule: l.rule, listener: l}
	serve := func() { _ = s.forward(l.Conn.ctx, func(error) {}) } // it is on record how it ended
	if l.ftp {
		serve = s.forwardFTP
	}
	taken := l.channels.take()
	if taken && l.spawn("forwarded-tcpip", serve) {
		return true
	}
	tcp.Abort()
	l.unconfirmed.release()
	if taken {
		l.channels.give() // the connection ends
	} else {
		s.refused("MaxChannels is reached")
	}
	return false
}

// forward asks the client for a channel and moves the connection's bytes until it has ended, and returns why if that was no
// clean end. The client's answer is given to answered.
func (s *stream) forward(ctx context.Context, answered func(error)) error {
	defer s.channels.give()
	if err := s.confirm(answered); err != nil {
		return err
	}
	return s.join(ctx)
}

// confirm asks the client for a channel, gives its answer to answered, and puts the channel on record. If that fails, it has reset the
// connection. A client that doesn't answer in time is taken for one that refuses, and answered is called again if it does in the end.
func (s *stream) confirm(answered func(error)) error {
	err := s.offer(relay.AddrPort(s.tcp.RemoteAddr()), func() {
		answered(errUnconfirmed)
		s.tcp.Abort()
	})
	s.unconfirmed.release()
	answered(err)
	if err != nil {
		s.tcp.Abort()
		s.refused(err.Error())
		return err
	}
	return s.begin()
}

// begin puts a channel that the bastion has opened on record, and registers it. If the record fails, it has reset both sides; otherwise the caller
// must call closed.
func (s *stream) begin() error {
	if !s.opened() {
		relay.AbortAll(s.tcp, s.channel)
		return errNoRecord
	}
	s.register()
	return nil
}

// offer opens the channel for a connection. x/crypto/ssh waits for the client's answer for good; whoever has connected doesn't,
// and is let go.
func (s *stream) offer(from netip.AddrPort, letGo func()) error {
	late := time.AfterFunc(confirmTimeout, letGo)
	endOfData := s.endOfData.Load()
	ch, reqs, err := relay.OpenChannel(s.cfg.SSH, s.ctx.Done(), "forwarded-tcpip", ssh.Marshal(forwardedTCPIP{
		Host: s.host, Port: uint32(s.port),
		OriginatorHost: from.Addr().String(), OriginatorPort: uint32(from.Port()),
	}))
	if refused := (*ssh.OpenChannelError)(nil); errors.As(err, &refused) {
		return fmt.Errorf("the client refuses it: %v: %.200q", refused.Reason, refused.Message)
	}
	if err != nil {
		return err
	}
	s.channel = s.wrap(ch, reqs, endOfData)
	if !late.Stop() {
		s.channel.Abort()
		return errUnconfirmed
	}
	return nil
}

// refused puts on record that an accepted connection was reset.
func (s *stream) refused(reason string) {
	s.record(audit.ChannelRefused{
		Conn: s.cfg.ID, Request: s.request, Type: s.kind(), Target: s.target(), Rule: s.rule, Reason: reason,
	})
}

// sleep waits for a pause and reports false if ctx ended it.
func sleep(ctx context.Context, pause time.Duration) bool {
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// places are how many may do something at once, while others wait.
type places chan struct{}

// acquire waits for a place, which must be released. It reports false if ctx ends first.
func (p places) acquire(ctx context.Context) bool {
	select {
	case p <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (p places) release() { <-p }
