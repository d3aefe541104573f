package policy

import (
	"errors"
	"net/netip"
	"slices"
	"time"
)

// The lowest port that an FTP server may announce; below are other services (RFC 2577,
// section 3).
const lowestDataPort = 1024

// Decide answers r. It looks, in this order, at the target itself, AllowTcpForwarding, the key's
// no-port-forwarding, DenyOpen, PermitOpen, and the key's permitopen=, and the first that
// refuses is the deciding line; if none does, the PermitOpen line is.
//
// Within a PermitOpen the first word that matches the target decides whether it is
// read as FTP, so that exceptions stand in front: ftp.corp:21 ftp/*:21. The key has its word in it: if it has
// permitopen=, the target is read as FTP if the first of them that matches has ftp/ or the configuration's has, as being
// read is what FTPAccess holds by; its data endpoints may be opened only if both have.
//
// The host as spelled matches names; the address, whether spelled or resolved, matches
// addresses and networks.
func (p *Policy) Decide(r Request) Decision {
	if p == nil || r.Subject.User == "" {
		return Decision{Reason: "nobody is authenticated"}
	}
	t, err := newTarget(r)
	if err != nil {
		return Decision{Reason: err.Error()}
	}
	rules := p.rulesFor(r.Subject, r.Time)
	if d := rules.forwardingDenied(r.Subject.KeyRules); d != nil {
		return *d
	}
	if line, word, hit := denied(rules.DenyOpen, t); hit {
		return Decision{Rule: line.Source, Reason: "DenyOpen " + word.String()}
	}
	if rules.PermitOpen == nil {
		return Decision{Reason: "no PermitOpen applies, and the default is deny"}
	}
	if r.Action == OpenData {
		return rules.decideData(r.Subject.KeyRules, t)
	}
	return rules.decideOpen(r.Subject.KeyRules, t)
}

// Permitted returns the PermitOpen words that apply to s, narrowed by its key, for a text shown to
// users. It is not a decision: DenyOpen isn't taken off, and where what the key and the
// configuration both permit can't be said in a word, it is the key's.
func (p *Policy) Permitted(s Subject, now time.Time) []string {
	if p == nil || s.User == "" {
		return nil
	}
	rules := p.rulesFor(s, now)
	if rules.PermitOpen == nil || rules.forwardingDenied(s.KeyRules) != nil {
		return nil
	}
	var words []string
	for _, word := range narrow(rules.PermitOpen.Value, s.KeyRules) {
		if w := word.String(); !slices.Contains(words, w) {
			words = append(words, w)
		}
	}
	return words
}

func narrow(permit []OpenPattern, key *KeyRules) []OpenPattern {
	if key == nil || len(key.PermitOpen) == 0 {
		return permit
	}
	var both []OpenPattern
	for _, p := range permit {
		for _, k := range key.PermitOpen {
			if m, ok := p.meet(k); ok {
				both = append(both, m)
			}
		}
	}
	return both
}

func (r *Rules) forwardingDenied(key *KeyRules) *Decision {
	switch {
	case r.AllowTCPForwarding == nil:
		return &Decision{Reason: "AllowTcpForwarding isn't set"}
	case r.AllowTCPForwarding.Value != ForwardAll && r.AllowTCPForwarding.Value != ForwardLocal:
		return &Decision{Rule: r.AllowTCPForwarding.Source, Reason: "AllowTcpForwarding"}
	case key != nil && key.NoPortForwarding:
		return &Decision{Rule: key.Source, Reason: "the key has no port-forwarding"}
	}
	return nil
}

func (r *Rules) decideOpen(key *KeyRules, t target) Decision {
	word, ok := permitting(r.PermitOpen.Value, t)
	if !ok {
		return Decision{Rule: r.PermitOpen.Source, Reason: "not in PermitOpen"}
	}
	d := Decision{Rule: r.PermitOpen.Source, Reason: "PermitOpen " + word.String(), allowed: true}
	asFTP, withData := word.ftp, word.ftp
	if key != nil && len(key.PermitOpen) > 0 {
		own, ok := permitting(key.PermitOpen, t)
		if !ok {
			return Decision{Rule: key.Source, Reason: "not in the key's permitopen"}
		}
		asFTP, withData = word.ftp || own.ftp, word.ftp && own.ftp
	}
	if asFTP && t.addr.IsValid() {
		d.FTP = r.ftp()
		d.FTP.Data = withData
	}
	return d
}

// decideData permits an announced endpoint to whoever is permitted any FTP at all: that the
// control channel was permitted is what OpenData says.
func (r *Rules) decideData(key *KeyRules, t target) Decision {
	switch {
	case !slices.ContainsFunc(r.PermitOpen.Value, OpenPattern.FTP):
		return Decision{Rule: r.PermitOpen.Source, Reason: "no ftp/ in PermitOpen"}
	case key != nil && len(key.PermitOpen) > 0 && !slices.ContainsFunc(key.PermitOpen, OpenPattern.FTP):
		return Decision{Rule: key.Source, Reason: "no ftp/ in the key's permitopen"}
	}
	ports := r.FTPDataPorts
	if ports != nil && len(ports.Value) > 0 &&
		!slices.ContainsFunc(ports.Value, func(r PortRange) bool { return r.Contains(t.port) }) {
		return Decision{Rule: ports.Source, Reason: "not in FTPDataPorts"}
	}
	return Decision{Rule: r.PermitOpen.Source, Reason: "announced on a permitted control channel", allowed: true}
}

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
	if r.Action != Open && r.Action != OpenData {
		return t, errors.New("unknown action")
	}
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

// permitting returns the first word that permits t, or could.
func permitting(words []OpenPattern, t target) (OpenPattern, bool) {
	i := slices.IndexFunc(words, func(p OpenPattern) bool { return p.couldMatch(t) })
	if i < 0 {
		return OpenPattern{}, false
	}
	return words[i], true
}

func denied(lines []Line[[]OpenPattern], t target) (Line[[]OpenPattern], OpenPattern, bool) {
	for _, line := range lines {
		for _, word := range line.Value {
			if word.matches(t) {
				return line, word, true
			}
		}
	}
	return Line[[]OpenPattern]{}, OpenPattern{}, false
}
