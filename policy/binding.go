package policy

import (
	"errors"
	"net/netip"
)

// lowestListenPort is the lowest that may be listened on: those below are root's, and nobody who logs in here
// is (RFC 6335, section 6).
const lowestListenPort = 1024

// binding is the target of a Listen understood.
type binding struct {
	host string     // in lower case, an address in its canonical text; as it was spelled otherwise
	addr netip.Addr // if it is an address
	port uint16     // 0 is one that the system chooses
	ftp  bool       // what comes there is read as FTP
}

var (
	loopbacks = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
	wildcards = []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
)

// newBinding refuses what isn't an address, localhost, or one of the words for all of them: names aren't looked up to
// listen on.
func newBinding(t Target, ftp bool) (binding, error) {
	b := binding{host: lower(t.Host), port: t.Port, ftp: ftp}
	if b.port != 0 && b.port < lowestListenPort {
		return b, errors.New("a port to listen on is 1024 or more")
	}
	switch b.host {
	case "", "*", "localhost":
		return b, nil
	}
	addr, err := netip.ParseAddr(b.host)
	switch {
	case err != nil:
		return b, errors.New("the host to listen on is not an address, nor localhost, * or empty")
	case addr.Zone() != "":
		return b, errors.New("the address has a zone")
	}
	b.addr = addr.Unmap()
	b.host = b.addr.String()
	return b, nil
}

// addresses are what is bound for b, as sshd's channel_fwd_bind_addr has it.
func (b binding) addresses(g GatewayPorts) []netip.Addr {
	switch {
	case g == GatewayYes, g == GatewayClientSpecified && (b.host == "" || b.host == "*"):
		return wildcards
	case g == GatewayClientSpecified && b.addr.IsValid(), b.addr == loopbacks[0], b.addr == loopbacks[1]:
		return []netip.Addr{b.addr}
	}
	return loopbacks
}

// decideListen goes through the rules on a port to listen on.
func (r *Rules) decideListen(key *KeyRules, b binding, tr *trail) Decision {
	if r.PermitListen == nil {
		return Decision{Reason: "no PermitListen applies, and the default is deny"}
	}
	word, hit := firstListen(r.PermitListen.Value, b)
	tr.listen(KindPermit, r.PermitListen.Source, "PermitListen", word, hit)
	if !hit {
		return Decision{Rule: r.PermitListen.Source, Reason: "not in PermitListen"}
	}
	if key != nil && len(key.PermitListen) > 0 {
		own, hit := firstListen(key.PermitListen, b)
		tr.listen(KindKey, key.Source, "permitlisten", own, hit)
		if !hit {
			return Decision{Rule: key.Source, Reason: "not in the key's permitlisten"}
		}
	}
	bind := b.addresses(value(r.GatewayPorts))
	tr.bind(r.GatewayPorts, bind)
	d := Decision{Rule: r.PermitListen.Source, Reason: "PermitListen " + word.String(), Bind: bind, allowed: true}
	if b.ftp {
		d.FTP = r.ftp()
		d.FTP.Data = true
	}
	return d
}

func firstListen(words []ListenPattern, b binding) (ListenPattern, bool) {
	for _, word := range words {
		if word.matches(b) {
			return word, true
		}
	}
	return ListenPattern{}, false
}
