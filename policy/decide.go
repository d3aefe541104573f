package policy

import "slices"

// Decide answers r. It looks, in this order, at the target itself, DisableForwarding, AllowTcpForwarding, the key's
// no-port-forwarding, then for a connection at DenyOpen, PermitOpen and the key's permitopen=, for a port to listen on at PermitListen
// and the key's permitlisten=. The first that refuses is the deciding line; if none does, the PermitOpen or PermitListen line is.
//
// Within a PermitOpen the first word that matches the target decides whether it is
// read as FTP, so that exceptions stand in front: ftp.corp:21 ftp/*:21. The key has its word in it: if it has
// permitopen=, the target is read as FTP if the first of them that matches has ftp/ or the configuration's has, as being
// read is what FTPAccess holds by; its data endpoints may be opened only if both have. ftps/ counts as ftp/, and TLS is implicit
// if either has it.
//
// A word of PermitListen, or of permitlisten=, with ftp/ is for connections that are read as FTP, and one without it for those
// that aren't: neither permits what the other says.
//
// The host as spelled matches names; the address, whether spelled or resolved, matches
// addresses and networks. DenyOpen is also asked about the IPv4 address that NAT64 would make of it.
func (p *Policy) Decide(r Request) Decision { return p.decide(r, nil) }

// decide is Decide, and writes down on the way what it looks at.
func (p *Policy) decide(r Request, tr *trail) Decision {
	if p == nil || r.Subject.User == "" {
		return Decision{Reason: "nobody is authenticated"}
	}
	switch r.Action {
	case Open, OpenData:
		t, err := newTarget(r)
		if err != nil {
			return Decision{Reason: err.Error()}
		}
		rules := p.rulesFor(r.Subject, r.Time, tr)
		if d, denied := rules.forwardingDenied(ForwardLocal, r.Subject.KeyRules, tr); denied {
			return d
		}
		return rules.decideTarget(r, t, tr)
	case Listen, ListenFTP:
		b, err := newBinding(r.Target, r.Action == ListenFTP)
		if err != nil {
			return Decision{Reason: err.Error()}
		}
		rules := p.rulesFor(r.Subject, r.Time, tr)
		if d, denied := rules.forwardingDenied(ForwardRemote, r.Subject.KeyRules, tr); denied {
			return d
		}
		return rules.decideListen(r.Subject.KeyRules, b, tr)
	case OpenClient:
		t, err := newTarget(r)
		if err != nil {
			return Decision{Reason: err.Error()}
		}
		rules := p.rulesFor(r.Subject, r.Time, tr)
		if d, denied := rules.forwardingDenied(ForwardRemote, r.Subject.KeyRules, tr); denied {
			return d
		}
		return rules.decideClient(t, tr)
	}
	return Decision{Reason: "unknown action"}
}

// forwardingDenied looks at what refuses a whole direction: local is direct-tcpip, remote is tcpip-forward.
func (r *Rules) forwardingDenied(direction Forwarding, key *KeyRules, tr *trail) (Decision, bool) {
	if off := r.DisableForwarding; off != nil && (off.Value || off.Source != "") { // a default that permits goes without saying
		tr.line(KindForward, off.Source, "DisableForwarding", yesNo(off.Value), !off.Value)
		if off.Value {
			return Decision{Rule: off.Source, Reason: "DisableForwarding"}, true
		}
	}
	allow := r.AllowTCPForwarding
	if allow == nil {
		return Decision{Reason: "AllowTcpForwarding isn't set"}, true
	}
	allowed := allow.Value == ForwardAll || allow.Value == direction
	tr.line(KindForward, allow.Source, "AllowTcpForwarding", allow.Value.String(), allowed)
	if !allowed {
		return Decision{Rule: allow.Source, Reason: "AllowTcpForwarding"}, true
	}
	if key != nil && key.NoPortForwarding {
		tr.line(KindKey, key.Source, "no-port-forwarding", "", true)
		return Decision{Rule: key.Source, Reason: "the key has no port-forwarding"}, true
	}
	return Decision{}, false
}

// decideTarget goes through the rules on a connection, DenyOpen first.
func (r *Rules) decideTarget(asked Request, t target, tr *trail) Decision {
	if d, denied := r.openDenied(t, tr); denied {
		return d
	}
	if r.PermitOpen == nil {
		return Decision{Reason: "no PermitOpen applies, and the default is deny"}
	}
	if asked.Action == OpenData {
		return r.decideData(asked.Subject.KeyRules, t, tr)
	}
	return r.decideOpen(asked.Subject.KeyRules, t, tr)
}

// openDenied looks at DenyOpen.
func (r *Rules) openDenied(t target, tr *trail) (Decision, bool) {
	for i := range r.DenyOpen {
		line := &r.DenyOpen[i]
		word, hit := firstWord(line.Value, t, OpenPattern.denies)
		tr.open(KindDeny, line.Source, "DenyOpen", word, hit, t)
		if hit {
			return Decision{Rule: line.Source, Reason: "DenyOpen " + word.String()}, true
		}
	}
	return Decision{}, false
}

// decideClient goes through the rules on a connection to an FTP client: that it came, and named the port itself, is what OpenClient says.
func (r *Rules) decideClient(t target, tr *trail) Decision {
	if d, denied := r.openDenied(t, tr); denied {
		return d
	}
	tr.active(r.FTPActive)
	if value(r.FTPActive) == ActiveNo {
		source := ""
		if r.FTPActive != nil {
			source = r.FTPActive.Source
		}
		return Decision{Rule: source, Reason: "FTPActive is no"}
	}
	return Decision{Rule: r.FTPActive.Source, Reason: "FTPActive", allowed: true}
}

func (r *Rules) decideOpen(key *KeyRules, t target, tr *trail) Decision {
	word, hit := firstWord(r.PermitOpen.Value, t, OpenPattern.couldMatch)
	tr.open(KindPermit, r.PermitOpen.Source, "PermitOpen", word, hit, t)
	if !hit {
		return Decision{Rule: r.PermitOpen.Source, Reason: "not in PermitOpen"}
	}
	d := Decision{Rule: r.PermitOpen.Source, Reason: "PermitOpen " + word.String(), allowed: true}
	asFTP, withData := word.ftp, word.ftp
	implicit, by := word.tls, r.PermitOpen.Source
	if key != nil && len(key.PermitOpen) > 0 {
		own, hit := firstWord(key.PermitOpen, t, OpenPattern.couldMatch)
		tr.open(KindKey, key.Source, "permitopen", own, hit, t)
		if !hit {
			return Decision{Rule: key.Source, Reason: "not in the key's permitopen"}
		}
		asFTP, withData = word.ftp || own.ftp, word.ftp && own.ftp
		if own.tls && !implicit {
			implicit, by = true, key.Source
		}
	}
	if asFTP && t.addr.IsValid() {
		d.FTP = r.ftp()
		d.FTP.Data = withData
		tr.active(r.FTPActive)
		if implicit {
			d.FTP.TLS, d.FTP.TLSRule = TLSImplicit, by
		} else {
			r.tls(d.FTP, t, tr)
		}
		r.trust(d.FTP, t, tr)
		r.opaque(d.FTP, tr)
	}
	return d
}

// decideData permits an announced endpoint to whoever is permitted any FTP at all: that the
// control channel was permitted is what OpenData says.
func (r *Rules) decideData(key *KeyRules, t target, tr *trail) Decision {
	anyFTP := slices.ContainsFunc(r.PermitOpen.Value, OpenPattern.FTP)
	tr.line(KindPermit, r.PermitOpen.Source, "PermitOpen", "ftp/", anyFTP)
	if !anyFTP {
		return Decision{Rule: r.PermitOpen.Source, Reason: "no ftp/ in PermitOpen"}
	}
	if key != nil && len(key.PermitOpen) > 0 {
		anyFTP := slices.ContainsFunc(key.PermitOpen, OpenPattern.FTP)
		tr.line(KindKey, key.Source, "permitopen", "ftp/", anyFTP)
		if !anyFTP {
			return Decision{Rule: key.Source, Reason: "no ftp/ in the key's permitopen"}
		}
	}
	if d, control := r.isControl(key, t, tr); control {
		return d
	}
	if ports := r.FTPDataPorts; ports != nil && len(ports.Value) > 0 {
		inside := slices.ContainsFunc(ports.Value, func(r PortRange) bool { return r.Contains(t.port) })
		if tr != nil {
			tr.line(KindData, ports.Source, "FTPDataPorts", PortsText(ports.Value), inside)
		}
		if !inside {
			return Decision{Rule: ports.Source, Reason: "not in FTPDataPorts"}
		}
	}
	return Decision{Rule: r.PermitOpen.Source, Reason: "announced on a permitted control channel", allowed: true}
}

// isControl refuses an endpoint that is the control port of an FTP server, by a word that names this port alone: as data it would not be read,
// and nothing hold there that is to hold for the commands. A server may announce whatever it likes.
func (r *Rules) isControl(key *KeyRules, t target, tr *trail) (Decision, bool) {
	word, hit := firstWord(r.PermitOpen.Value, t, OpenPattern.isControl)
	source, keyword := r.PermitOpen.Source, "PermitOpen"
	if !hit && key != nil {
		word, hit = firstWord(key.PermitOpen, t, OpenPattern.isControl)
		source, keyword = key.Source, "permitopen"
	}
	if !hit {
		return Decision{}, false
	}
	tr.line(KindData, source, keyword, word.String(), false)
	return Decision{Rule: source, Reason: "the port is for what is read as FTP, and data isn't: " + word.String()}, true
}

// isControl reports whether p is for t, as FTP, and names its port alone.
func (p OpenPattern) isControl(t target) bool {
	return p.ftp && p.matches(t) && slices.Contains(p.ports, PortRange{t.port, t.port})
}

// firstWord returns the first word that is for t.
func firstWord(words []OpenPattern, t target, isFor func(OpenPattern, target) bool) (OpenPattern, bool) {
	for _, word := range words {
		if isFor(word, t) {
			return word, true
		}
	}
	return OpenPattern{}, false
}
