package channels

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/culvert-ssh/culvert/policy"
)

// expectation is one data endpoint that an FTP server announced on a permitted control
// channel, and that this SSH connection may therefore open, once.
type expectation struct {
	control string         // the request number of the control channel
	host    string         // the host string that the control channel was asked by
	address netip.AddrPort // where to dial
	local   netip.Addr     // what to dial from, if valid: servers check that it is the control connection's address
	owner   *ftpControl

	protected bool // the server speaks TLS there
	use       *dataUse
	ahead     *predial // if it was dialled beforehand; nil if not, or if that has been used up

	// incoming is set if it is the server that connects. If the client has named where it waits, it asks for nothing.
	incoming *incoming

	ttl     time.Duration // from the announcement on, retried or not
	until   time.Time
	retried bool // given back once after a dial that failed
	timer   *time.Timer
}

// meets reports whether a client that asks for host and port asks for this endpoint. The name is not
// looked up a second time: it stands for the address that was recorded.
func (e *expectation) meets(host string, port uint16) bool {
	if port != e.address.Port() || !e.announced() {
		return false
	}
	if a, err := netip.ParseAddr(host); err == nil && a.Unmap() == e.address.Addr() {
		return true
	}
	return strings.EqualFold(host, e.host)
}

// announced reports whether the client was told of the endpoint, and may ask for it.
func (e *expectation) announced() bool { return e.incoming == nil || !e.incoming.client.IsValid() }

// decision asks the policy about the endpoint.
func (e *expectation) decision() policy.Decision {
	if e.incoming != nil {
		return e.owner.activeDecision()
	}
	return e.owner.dataDecision(e.address)
}

// expectations are the live expectations of one SSH connection, never of more: what one user's
// server announced authorises nobody else. There is at most one for each control channel.
type expectations struct {
	mu      sync.Mutex
	live    map[string]*expectation // by control channel
	ended   map[string]ended        // by control channel: what became of its last one, for the audit
	expired func(*expectation, string)
}

// ended is a past expectation.
type ended struct {
	address  netip.AddrPort
	how      string
	consumed *expectation // it was, and nothing has happened on its control channel since
}

func newExpectations(expired func(e *expectation, reason string)) *expectations {
	return &expectations{
		live: make(map[string]*expectation), ended: make(map[string]ended), expired: expired,
	}
}

// install makes e live for ttl, in place of the one that its control channel had.
func (t *expectations) install(e *expectation, ttl time.Duration) {
	t.withdraw(e.control, "a newer announcement")
	t.mu.Lock()
	defer t.mu.Unlock()
	e.ttl, e.until = ttl, time.Now().Add(ttl)
	t.put(e)
}

// put needs t.mu.
func (t *expectations) put(e *expectation) {
	t.live[e.control] = e
	delete(t.ended, e.control)
	e.timer = time.AfterFunc(time.Until(e.until), func() {
		t.end(e, "nobody came in "+e.ttl.String())
	})
}

// take consumes the expectation that a client asking for host and port meets, or returns nil. If there are several,
// which a name with several addresses makes possible, it is the one announced last: the others' clients
// have most likely connected.
func (t *expectations) take(host string, port uint16) *expectation {
	t.mu.Lock()
	defer t.mu.Unlock()
	var newest *expectation
	for _, e := range t.live {
		if e.meets(host, port) && (newest == nil || e.until.Add(-e.ttl).After(newest.until.Add(-newest.ttl))) {
			newest = e
		}
	}
	if newest != nil {
		t.consume(newest)
	}
	return newest
}

// claim consumes e, and reports whether it was live.
func (t *expectations) claim(e *expectation) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	alive := t.live[e.control] == e
	if alive {
		t.consume(e)
	}
	return alive
}

// consume needs t.mu.
func (t *expectations) consume(e *expectation) {
	e.timer.Stop()
	delete(t.live, e.control)
	t.ended[e.control] = ended{address: e.address, how: "used already", consumed: e}
}

// announces reports whether there is an expectation of a port.
func (t *expectations) announces(port uint16) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range t.live {
		if e.address.Port() == port {
			return true
		}
	}
	return false
}

// abandon ends the expectation of what the server won't connect to any more, if it is live.
func (t *expectations) abandon(in *incoming, reason string) {
	t.mu.Lock()
	e := t.live[in.f.request]
	t.mu.Unlock()
	if e != nil && e.incoming == in {
		t.end(e, reason)
	}
}

// giveBack makes a consumed expectation live again, once, after a dial that was refused or
// timed out, for what is left of its time; not if its control channel has moved on meanwhile.
func (t *expectations) giveBack(e *expectation) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e.retried || t.ended[e.control].consumed != e {
		return
	}
	e.retried = true
	t.put(e)
}

// withdraw ends the expectation of a control channel, if there is one.
func (t *expectations) withdraw(control, reason string) {
	t.mu.Lock()
	e := t.live[control]
	if past, known := t.ended[control]; known {
		past.consumed = nil
		t.ended[control] = past
	}
	t.mu.Unlock()
	if e != nil {
		t.end(e, reason)
	}
}

// forget drops everything about a control channel that has ended.
func (t *expectations) forget(control string) {
	t.withdraw(control, "control connection ended")
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.ended, control)
}

// end ends e unused, unless somebody was faster.
func (t *expectations) end(e *expectation, reason string) {
	t.mu.Lock()
	alive := t.live[e.control] == e
	if alive {
		e.timer.Stop()
		delete(t.live, e.control)
		t.ended[e.control] = ended{address: e.address, how: reason}
	}
	t.mu.Unlock()
	if alive {
		t.expired(e, reason)
	}
}

// nearest describes the expectation that came closest to host and port, live or ended, for the
// audit of a miss. It is empty if there is none of that port or of that host.
func (t *expectations) nearest(host string, port uint16) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var near string
	for _, e := range t.live {
		switch {
		case !e.announced():
		case e.address.Port() == port:
			return "announced is " + e.address.String() + ", asked for as another host"
		case strings.EqualFold(host, e.host), host == e.address.Addr().String():
			near = "announced is " + e.address.String()
		}
	}
	for _, p := range t.ended {
		if p.address.Port() == port {
			return p.address.String() + " was announced: " + p.how
		}
	}
	return near
}

// recheck ends the expectations that the policy doesn't permit any more.
func (t *expectations) recheck() {
	for _, e := range t.all() {
		if d := e.decision(); !d.Allowed() {
			t.end(e, "the policy changed: "+strings.TrimSuffix(d.Reason+", "+d.Rule, ", "))
		}
	}
}

// close ends every expectation; there must be no user of the table left.
func (t *expectations) close() {
	for _, e := range t.all() {
		t.end(e, "SSH connection closed")
	}
}

func (t *expectations) all() []*expectation {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Collect(maps.Values(t.live))
}
