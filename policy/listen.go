package policy

import (
	"fmt"
	"net/netip"
	"strings"
)

// ListenPattern is one word of PermitListen or permitlisten=. The zero ListenPattern matches nothing.
type ListenPattern struct {
	ftp  bool   // it is for connections that are read as FTP, and for no others
	host string // a pattern in lower case, an address in its canonical text
	port uint16 // 0 is every port, and one that the system chooses
}

// GatewayPorts is the value of GatewayPorts: which addresses are bound for a permitted tcpip-forward.
type GatewayPorts int

const (
	GatewayNo              GatewayPorts = iota // those of the loopback, whatever is asked for
	GatewayYes                                 // all, whatever is asked for
	GatewayClientSpecified                     // those that are asked for
)

// ParseListenPattern reads [ftp/][host:]port. The host is a pattern of the bind address as the client spells it: an address, which may stand in
// brackets and must if there are colons in it, localhost, or the like with * and ? in it; without it, every one.
// The port is a number, or * for every one.
func ParseListenPattern(word string) (ListenPattern, error) {
	rest, ftp := strings.CutPrefix(word, "ftp/")
	prefix := word[:len(word)-len(rest)]
	if hasPrefix(rest) {
		return ListenPattern{}, fmt.Errorf("%q: before the address and the port stands ftp/ or nothing", word)
	}
	host, number := "*", rest
	if strings.ContainsAny(rest, ":[") {
		var err error
		if host, number, err = splitPorts(prefix, rest); err != nil {
			return ListenPattern{}, err
		}
	}
	p := ListenPattern{ftp: ftp, host: lower(host)}
	if addr, err := netip.ParseAddr(p.host); err == nil {
		if addr.Zone() != "" {
			return ListenPattern{}, fmt.Errorf("address %q has a zone", host)
		}
		p.host = addr.Unmap().String()
	} else if host == "" || strings.Trim(p.host, "abcdefghijklmnopqrstuvwxyz0123456789-_.:*?") != "" {
		return ListenPattern{}, fmt.Errorf("%q is no pattern of an address to listen on", host)
	}
	if number == "*" {
		return p, nil
	}
	var err error
	if p.port, err = ParsePort(number); err != nil {
		return ListenPattern{}, err
	}
	return p, nil
}

// AnyListen is what PermitListen any says: every port of every address, not read as FTP.
func AnyListen() ListenPattern { return ListenPattern{host: "*"} }

// FTP reports whether the word has the prefix ftp/.
func (p ListenPattern) FTP() bool { return p.ftp }

// matches reports whether p is for b as the client spelled it, as with sshd: the addresses that GatewayPorts makes of it are not
// asked about.
func (p ListenPattern) matches(b binding) bool {
	return p.ftp == b.ftp && (p.port == 0 || p.port == b.port) && p.host != "" && glob(p.host, b.host)
}

// String returns the value as it is written.
func (g GatewayPorts) String() string {
	if g == GatewayClientSpecified {
		return "clientspecified"
	}
	return yesNo(g == GatewayYes)
}

// String returns the word in canonical form; [ParseListenPattern] reads it back to p.
func (p ListenPattern) String() string {
	host := p.host
	if strings.ContainsRune(host, ':') {
		host = "[" + host + "]"
	}
	port := "*"
	if p.port != 0 {
		port = PortRange{p.port, p.port}.String()
	}
	prefix := ""
	if p.ftp {
		prefix = "ftp/"
	}
	return prefix + host + ":" + port
}
