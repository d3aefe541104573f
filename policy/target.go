package policy

import (
	"errors"
	"net/netip"
	"slices"
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

// denies reports whether p, a word of DenyOpen, is for t or for the machine that a translator makes of it.
func (p OpenPattern) denies(t target) bool {
	return p.matches(t) || p.net.IsValid() && p.hasPort(t.port) && p.net.Contains(translated(t.addr))
}

// translators are where NAT64 has the IPv4 addresses, in the last 32 bits (RFC 6052, section 2.1, and RFC 8215).
var translators = []netip.Prefix{netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48")}

// translated returns the IPv4 address that NAT64, if the network has it, connects to for addr. It is not valid if there is
// none.
func translated(addr netip.Addr) netip.Addr {
	if !slices.ContainsFunc(translators, func(p netip.Prefix) bool { return p.Contains(addr) }) {
		return netip.Addr{}
	}
	b := addr.As16()
	return netip.AddrFrom4([4]byte(b[12:]))
}

// couldMatch reports whether p is for t, or for an address that t may turn out to have.
func (p OpenPattern) couldMatch(t target) bool {
	return p.matches(t) || p.net.IsValid() && !t.addr.IsValid() && p.hasPort(t.port)
}
