package channels

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/audit"
	"github.com/culvert-ssh/culvert/policy"
	"github.com/culvert-ssh/culvert/relay"
)

// opaques are the FTP control channels of one connection that are not read any more, as their two ends speak TLS with each other. As
// nothing can be announced on them, they bring the ports of FTPOpaqueTLS.
type opaques struct {
	mu  sync.Mutex
	all []*ftpControl
}

func (t *opaques) add(f *ftpControl) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all = append(t.all, f)
}

func (t *opaques) remove(f *ftpControl) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all = slices.DeleteFunc(t.all, func(have *ftpControl) bool { return have == f })
}

// find returns the last channel that brings host and port, or nil.
func (t *opaques) find(host string, port uint16) *ftpControl {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range slices.Backward(t.all) {
		if port != f.port && f.meets(host) && hasPort(f.rules.OpaquePorts, port) { // as data, a control connection would not be read
			return f
		}
	}
	return nil
}

func hasPort(ports []policy.PortRange, port uint16) bool {
	return slices.ContainsFunc(ports, func(r policy.PortRange) bool { return r.Contains(port) })
}

// meets reports whether a client that asks for host asks for the machine at the other end of the control channel. As with what is announced, a
// name is not looked up a second time.
func (f *ftpControl) meets(host string) bool {
	if a, err := netip.ParseAddr(host); err == nil && a.Unmap() == f.peer {
		return true
	}
	return strings.EqualFold(host, f.host)
}

// goOpaque has the connection bring the ports of FTPOpaqueTLS, before the client hears that the server takes TLS.
func (f *ftpControl) goOpaque(context.Context) error {
	f.unread.Store(true)
	d := f.decision() // which is another one now
	if !d.Allowed() {
		return errors.New(d.Reason)
	}
	if !f.record(audit.FTPProtection{Conn: f.cfg.ID, Control: f.request, Protection: "opaque", Rule: d.Rule}) {
		return errNoRecord
	}
	f.opaques.add(f)
	return nil
}

// opaqueDecision asks the policy about a port that nobody can announce: whether the control channel is permitted, and brings it.
func (f *ftpControl) opaqueDecision(at netip.AddrPort) policy.Decision {
	d := f.decision()
	switch {
	case !d.Allowed():
		return d
	case d.FTP == nil || !hasPort(d.FTP.OpaquePorts, at.Port()):
		return policy.Decision{Rule: d.Rule, Reason: "not in FTPOpaqueTLS"}
	}
	return f.cfg.Decide(policy.Request{
		Subject: f.cfg.Subject(),
		Action:  policy.OpenData,
		Target:  policy.Target{Host: f.host, Port: at.Port(), Addr: at.Addr()},
		Time:    f.cfg.Now(),
	})
}

// opaqueData opens a port of an opaque control channel.
func (o *opening) opaqueData(f *ftpControl) {
	at := netip.AddrPortFrom(f.peer, o.port)
	d := f.opaqueDecision(at)
	if !o.decided(at.Addr(), d) {
		o.notOnRecord()
		return
	}
	if !d.Allowed() {
		o.prohibit(d)
		return
	}
	tcp, err := dial(o.ctx, f.local, at, o.cfg.ConnectTimeout)
	if err != nil {
		o.refuse(ssh.ConnectionFailed, "connect failed", f.rule, err.Error())
		return
	}
	s := &stream{opening: o, tcp: tcp, rule: d.Rule, owner: f, isData: true, isOpaque: true}
	if s.open() {
		s.join(f.ctx)
	}
}

// untilEnd is a stream that says when its peer has ended.
type untilEnd struct {
	relay.Stream
	ended func()
}

func (u untilEnd) Read(p []byte) (int, error) {
	n, err := u.Stream.Read(p)
	if err != nil {
		u.ended()
	}
	return n, err
}
