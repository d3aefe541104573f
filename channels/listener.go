package channels

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/audit"
	"github.com/culvert-ssh/culvert/policy"
	"github.com/culvert-ssh/culvert/relay"
)

const (
	// maxListeners is how many remote forwardings one connection may have.
	maxListeners = 64

	// bindAttempts is how many ports are tried that the system has chosen for one address, and that may be
	// in use on another.
	bindAttempts = 16
)

var errCancelled = errors.New("cancelled by the client")

// tcpipForward is the payload of tcpip-forward and cancel-tcpip-forward (RFC 4254, section 7.1).
type tcpipForward struct {
	Host string
	Port uint32
}

// listenAt is how the client names a remote forwarding: the host as it spelled it, and the port, which is the chosen one
// if it asked for any.
type listenAt struct {
	host string
	port uint16
}

func (a listenAt) String() string { return net.JoinHostPort(a.host, strconv.Itoa(int(a.port))) }

// listener is one remote forwarding: what a tcpip-forward request, or an ftp-forward@culvert, was granted. It belongs to its connection
// alone.
type listener struct {
	*Conn
	request string
	asked   listenAt // by the client
	at      listenAt // the same with the port that is bound
	ftp     bool     // its connections are read as FTP
	rule    string
	since   time.Time

	generation uint64 // of the policy that granted it, or an earlier one

	sockets []*net.TCPListener
	ctx     context.Context // ends with the listener
	cancel  context.CancelCauseFunc
}

// listen answers a tcpip-forward or ftp-forward@culvert request. It waits for nothing, as other requests wait for it.
func (c *Conn) listen(r *ssh.Request) (ok bool, payload []byte) {
	l := &listener{Conn: c, request: c.nextRequest(), since: c.cfg.Now(), generation: c.registry.generation(), ftp: r.Type == ftpForward}
	asked, err := parseForward(r.Payload)
	if err != nil {
		l.refuse(policy.Decision{Reason: err.Error()})
		return false, nil
	}
	l.asked = asked
	if l.ftp && !c.endOfData.Load() {
		l.refuse(policy.Decision{Reason: "FTP is listened for only for a client that has agreed on " + relay.EndOfDataRequest})
		return false, nil
	}
	d := l.decision()
	if !d.Allowed() {
		l.refuse(d)
		return false, nil
	}
	l.rule = d.Rule
	if !c.listening.take() {
		l.refuse(policy.Decision{Reason: fmt.Sprintf("%d remote forwardings are open", maxListeners)})
		return false, nil
	}
	if l.sockets, err = bind(d.Bind, asked.port); err != nil {
		c.listening.give()
		l.refuse(policy.Decision{Rule: d.Rule, Reason: err.Error()})
		return false, nil
	}
	l.at = listenAt{asked.host, relay.AddrPort(l.sockets[0].Addr()).Port()}
	if asked.port == 0 {
		payload = ssh.Marshal(struct{ Port uint32 }{uint32(l.at.port)})
	}
	return l.open(r, payload), payload
}

// open puts the listener on record, answers the request, and begins to accept, in this order: OpenSSH refuses a channel of a port
// that it doesn't know yet. It reports false, and has closed the sockets, if the record fails.
func (l *listener) open(r *ssh.Request, payload []byte) bool {
	l.ctx, l.cancel = context.WithCancelCause(l.Conn.ctx)
	addrs := make([]netip.AddrPort, len(l.sockets))
	for i, s := range l.sockets {
		addrs[i] = relay.AddrPort(s.Addr())
	}
	listened.put(l, addrs)
	on := l.record(audit.ListenOpened{Conn: l.cfg.ID, Request: l.request, Target: l.target(), Bound: addrs, Rule: l.rule})
	if on && r.WantReply {
		_ = r.Reply(true, payload) // fails only on a dead connection
		r.WantReply = false
	}
	if !on || !l.spawn("remote forwarding", l.own) {
		l.stop(errClosed)
		l.closed(errClosed)
		return false
	}
	l.cfg.Log.Info("listening for the client", "request", l.request, "target", l.target(), "rule", l.rule)
	l.forwards.put(l)
	if !l.enroll(l, l.generation) {
		l.recheck()
	}
	return true
}

// own accepts until the listener is stopped, which the end of the connection does too, and cleans up after it.
func (l *listener) own() {
	var accepting sync.WaitGroup
	for _, s := range l.sockets {
		accepting.Go(func() {
			defer l.recovered("remote forwarding")
			l.acceptFrom(s)
		})
	}
	<-l.ctx.Done()
	reason := context.Cause(l.ctx)
	l.stop(reason)
	accepting.Wait()
	l.closed(reason)
}

// closed puts the end on record.
func (l *listener) closed(reason error) {
	l.listening.give()
	l.dismiss(l)
	l.record(audit.ListenClosed{Conn: l.cfg.ID, Request: l.request, Reason: reason.Error()})
}

// stop closes the sockets, so that the port is free when it returns. Connections that were accepted go on.
func (l *listener) stop(reason error) {
	l.cancel(reason)
	l.forwards.remove(l)
	for _, s := range l.sockets {
		_ = s.Close() // it stops listening; there is nothing more to be had from it
	}
	listened.remove(l)
}

// cancelListen answers a cancel-tcpip-forward request.
func (c *Conn) cancelListen(r *ssh.Request) bool {
	at, err := parseForward(r.Payload)
	if err != nil {
		return false
	}
	l := c.forwards.find(at)
	if l != nil {
		l.stop(errCancelled)
	}
	return l != nil
}

func parseForward(payload []byte) (listenAt, error) {
	var m tcpipForward
	if err := ssh.Unmarshal(payload, &m); err != nil {
		return listenAt{}, fmt.Errorf("parse tcpip-forward: %w", err)
	}
	switch {
	case len(m.Host) > maxHostLength:
		return listenAt{}, fmt.Errorf("host of %d bytes", len(m.Host))
	case m.Port > 65535:
		return listenAt{}, fmt.Errorf("port %d is out of range", m.Port)
	}
	return listenAt{m.Host, uint16(m.Port)}, nil
}

// target is where it listens, for people.
func (l *listener) target() string { return l.spell(l.at) }

// spell writes a place as the words of PermitListen are written.
func (l *listener) spell(at listenAt) string {
	if l.ftp {
		return "ftp/" + at.String()
	}
	return at.String()
}

// decision asks the policy about the listener.
func (l *listener) decision() policy.Decision {
	action := policy.Listen
	if l.ftp {
		action = policy.ListenFTP
	}
	return l.cfg.Decide(policy.Request{
		Subject: l.cfg.Subject(),
		Action:  action,
		Target:  policy.Target{Host: l.asked.host, Port: l.asked.port},
		Time:    l.cfg.Now(),
	})
}

// decideAgain asks the policy about an open listener.
func (l *listener) decideAgain() policy.Decision {
	d := l.decision()
	if !d.Allowed() {
		return d
	}
	for _, s := range l.sockets {
		if a := relay.AddrPort(s.Addr()).Addr(); !slices.Contains(d.Bind, a) {
			return policy.Decision{Rule: d.Rule, Reason: "listening on " + a.String() + " is not permitted"}
		}
	}
	return d
}

func (l *listener) recheck() bool {
	d := l.decideAgain()
	if !d.Allowed() {
		l.stop(&revoked{d})
	}
	return !d.Allowed()
}

func (l *listener) info() Info {
	kind := "tcpip-forward"
	if l.ftp {
		kind = ftpForward
	}
	return Info{
		Request: l.request, Type: kind, Target: l.target(), Address: relay.AddrPort(l.sockets[0].Addr()),
		Rule: l.rule, Since: l.since,
	}
}

func (l *listener) refuse(d policy.Decision) {
	target := l.spell(l.asked)
	l.record(audit.ListenRefused{Conn: l.cfg.ID, Request: l.request, Target: target, Rule: d.Rule, Reason: d.Reason})
	l.cfg.Log.Info("remote forwarding refused", "request", l.request, "target", target, "rule", d.Rule, "reason", d.Reason)
}

// bind listens on all of addrs that this machine has, at one port; if that is 0, at one that the system chooses for
// the first, and that is free on the others. What is in use on one address isn't taken on the others: half of
// the connections would go to somebody else.
func bind(addrs []netip.Addr, port uint16) (sockets []*net.TCPListener, err error) {
	for range bindAttempts {
		sockets, err = bindAll(addrs, port)
		if port != 0 || !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
	}
	return sockets, err
}

func bindAll(addrs []netip.Addr, port uint16) (sockets []*net.TCPListener, err error) {
	missing := errors.New("no address to listen on")
	for _, a := range addrs {
		network := "tcp4"
		if a.Is6() {
			network = "tcp6" // IPv6 only
		}
		s, err := relay.Listen(context.Background(), network, netip.AddrPortFrom(a, port).String())
		switch {
		case err == nil:
			sockets = append(sockets, s)
			port = relay.AddrPort(s.Addr()).Port()
		case errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.EAFNOSUPPORT):
			missing = err // a machine without IPv6, say
		default:
			for _, s := range sockets {
				_ = s.Close() // nobody has used it
			}
			return nil, err
		}
	}
	if len(sockets) == 0 {
		return nil, missing
	}
	return sockets, nil
}

// forwards are the listeners of one connection by what the client calls them.
type forwards struct {
	mu   sync.Mutex
	open map[listenAt]*listener
}

func (f *forwards) put(l *listener) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open == nil {
		f.open = make(map[listenAt]*listener)
	}
	f.open[l.at] = l
}

func (f *forwards) find(at listenAt) *listener {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.open[at]
}

func (f *forwards) remove(l *listener) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open[l.at] == l {
		delete(f.open, l.at)
	}
}
