package client

import (
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/culvert-ssh/culvert/relay"
)

// Status is how a Standing stands. It is a value for people and machines.
type Status struct {
	Bastion  string          `json:"bastion"`  // user@host[:port]
	Link     LinkStatus      `json:"link"`     // the SSH connection
	Forwards []ForwardStatus `json:"forwards"` // in their order, the local ones first, and behind these the local ones that are left out
}

// LinkStatus is how the SSH connection is.
type LinkStatus struct {
	State    LinkState  `json:"state"`
	Since    time.Time  `json:"since"`
	Sessions int        `json:"sessions"`        // that use it, or wait for it
	Attempts int        `json:"attempts"`        // to connect, so far
	Sides    int        `json:"sides,omitempty"` // connections beside it, which long streams are spread over
	Error    string     `json:"error,omitempty"` // why there is no connection, if somebody has needed one
	Retry    *time.Time `json:"retry,omitempty"` // when it is tried again
}

// LinkState is what an SSH connection that comes and goes is doing.
type LinkState string

// The states of a link.
const (
	LinkIdle       LinkState = "idle"       // nobody needs it
	LinkConnecting LinkState = "connecting" // it is being made
	LinkConnected  LinkState = "connected"  // it is there
	LinkWaiting    LinkState = "waiting"    // it is needed, and will be tried again
)

// ForwardStatus is how one forward is.
type ForwardStatus struct {
	Target string           `json:"target"`
	Remote bool             `json:"remote,omitempty"`
	At     []netip.AddrPort `json:"at,omitempty"`     // of a local forward: where it listens
	Socket string           `json:"socket,omitempty"` // or the Unix socket where it does
	Ready  string           `json:"ready,omitempty"`  // what a person needs to use it; empty if it isn't there
	Error  string           `json:"error,omitempty"`  // why it isn't
}

// Status returns how it stands now.
func (s *Standing) Status() Status {
	st := Status{Bastion: s.cfg.bastion(), Link: s.link.status()}
	for _, l := range s.listeners {
		if l.first {
			st.Forwards = append(st.Forwards, ForwardStatus{Target: l.Target(), Socket: l.Socket, Ready: l.ready(l.Addr(), s.cfg.Network)})
		}
		f := &st.Forwards[len(st.Forwards)-1]
		if f.Socket == "" {
			f.At = append(f.At, relay.AddrPort(l.Addr()))
		}
	}
	st.Forwards = append(st.Forwards, s.leftOut...)
	for _, r := range s.remotes {
		r.mu.Lock()
		f := ForwardStatus{Target: r.Target(), Remote: true, Ready: r.ready}
		if r.failed != nil {
			f.Error = r.failed.Error()
		}
		r.mu.Unlock()
		st.Forwards = append(st.Forwards, f)
	}
	return st
}

// bastion names it for people.
func (c *Config) bastion() string {
	at := c.Dialled()
	if c.Port != 22 {
		at = net.JoinHostPort(at, strconv.Itoa(int(c.Port)))
	}
	return c.User + "@" + at
}

// status returns how the link is now.
func (l *link) status() LinkStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	st := LinkStatus{State: LinkIdle, Since: l.since, Sessions: l.users, Attempts: l.attempts}
	if l.failed != nil {
		st.Error = l.failed.Error()
	}
	if c, ok := l.up.(*connection); ok {
		st.Sides = c.sides.count()
	}
	need, _ := l.needed()
	switch {
	case l.up != nil:
		st.State = LinkConnected
	case l.trying:
		st.State = LinkConnecting
	case need:
		st.State = LinkWaiting
		at := l.retry()
		st.Retry = &at
	}
	return st
}
