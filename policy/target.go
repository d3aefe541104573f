package policy

import (
	"errors"
	"net/netip"
)

// The lowest port that an FTP server may announce; below are other services (RFC 2577,
// section 3).
const lowestDataPort = 1024

// target is a Target understood.
type target struct {
	name string     // canonical; empty if an address was spelled
	addr netip.Addr // without IPv4 in IPv6; if not valid, the name isn't resolved yet
	port uint16
}

// newTarget refuses what no rule may permit: what isn't a host and a port, and what the
// dialler could take for something else than the rules do.
func newTarget(r Request) (target, error) {
	t := target{addr: r.Target.Addr.Unmap(), port: r.Target.Port}
	if t.port == 0 {
		return t, errors.New("port 0 is no port")
	}
	name := canonicalName(r.Target.Host)
	if spelled, err := netip.ParseAddr(name); err == nil {
		spelled = spelled.Unmap()
		switch {
		case !t.addr.IsValid():
			t.addr = spelled
		case spelled != t.addr && r.Action == Open:
			return t, errors.New("the address is not the one that was spelled")
		}
		if spelled.Zone() != "" {
			return t, errors.New("the address has a zone")
		}
	} else {
		if err := checkName(name); err != nil {
			return t, errors.New("the host " + err.Error())
		}
		t.name = name
	}
	switch {
	case t.addr.Zone() != "":
		return t, errors.New("the address has a zone")
	case t.addr.IsValid() && t.addr.IsUnspecified():
		// To connect(2) it is this very machine.
		return t, errors.New("the address is unspecified")
	case r.Action == OpenData && !r.Target.Addr.IsValid():
		return t, errors.New("a data endpoint has an address")
	case r.Action == OpenData && t.port < lowestDataPort:
		return t, errors.New("a data port is 1024 or more")
	}
	return t, nil
}

// matches reports whether p is for t as far as t is known: a network is not for a name that
// isn't resolved.
func (p OpenPattern) matches(t target) bool {
	switch {
	case !p.hasPort(t.port):
		return false
	case p.net.IsValid():
		return p.net.Contains(t.addr)
	case p.name == "*":
		return true
	}
	return t.name != "" && glob(p.name, t.name)
}

// couldMatch reports whether p is for t, or for an address that t may turn out to have.
func (p OpenPattern) couldMatch(t target) bool {
	return p.matches(t) || p.net.IsValid() && !t.addr.IsValid() && p.hasPort(t.port)
}
