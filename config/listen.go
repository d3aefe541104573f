package config

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/culvert-ssh/culvert/policy"
)

var listenKeywords = []keyword{
	{
		name: "Port", where: outsideMatch, repeats: accumulatesUnlessOverridden,
		wants:    "a port number",
		standard: []string{"22"},
		value: each(func(s *Settings) *[]uint16 { return &s.Ports }, form[uint16]{
			policy.ParsePort, func(p uint16) string { return strconv.Itoa(int(p)) },
		}),
	}, {
		name: "AddressFamily", where: outsideMatch,
		wants:    "any, inet or inet6",
		standard: []string{"any"},
		value:    one(func(s *Settings) *AddressFamily { return &s.AddressFamily }, among(families...)),
	}, {
		name: "ListenAddress", where: outsideMatch, repeats: accumulatesUnlessOverridden,
		wants:    "an address, or address:port; IPv6 with a port stands in brackets",
		standard: []string{"0.0.0.0", "::"},
		value: value{
			parse: single(parseListenAddress, func(s *Settings, l listenAddress) { s.listen = append(s.listen, l) }),
			show: func(s *Settings) [][]string {
				return linesOf(s.ListenAddress, form[netip.AddrPort]{show: netip.AddrPort.String})
			},
		},
	}, {
		name: "ProxyProtocolFrom", where: outsideMatch,
		wants:    "addresses and networks of proxies, or none",
		standard: []string{"none"},
		value:    list(func(s *Settings) *[]netip.Prefix { return &s.ProxyProtocolFrom }, "none", network),
	}, {
		name: "PidFile", where: outsideMatch,
		wants:    "a path, or none",
		standard: []string{"none"},
		value:    one(func(s *Settings) *string { return &s.PidFile }, or("none", file)),
	}, {
		name: "VersionAddendum", where: outsideMatch, wholeLine: true,
		wants:    "a text, or none",
		standard: []string{"none"},
		value:    one(func(s *Settings) *string { return &s.VersionAddendum }, or("none", addendum)),
	}, {
		name: "TCPKeepAlive", aliases: []string{"KeepAlive"}, where: outsideMatch,
		wants:    "yes or no",
		standard: []string{"yes"},
		value:    one(func(s *Settings) *bool { return &s.TCPKeepAlive }, flag),
	},
}

var families = []choice[AddressFamily]{{"any", AnyFamily}, {"inet", IPv4Only}, {"inet6", IPv6Only}}

// network is an address or a network; an address alone is shown without a length.
var network = form[netip.Prefix]{policy.ParseNetwork, func(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}}

// maxAddendum bounds VersionAddendum, in bytes: the whole version string has 255.
const maxAddendum = 128

// addendum is a text for the version string (RFC 4253, section 4.2). A # ends it, as in sshd.
var addendum = form[string]{
	parse: func(line string) (string, error) {
		text, _, _ := strings.Cut(line, "#")
		text = strings.TrimRight(text, " \t")
		for _, c := range []byte(text) {
			if c < ' ' || c > '~' {
				return "", fmt.Errorf("%q: the version string is printable ASCII", text)
			}
		}
		if len(text) > maxAddendum {
			return "", fmt.Errorf("%.20q... is over %d bytes", text, maxAddendum)
		}
		return text, nil
	},
	show: func(text string) string { return text },
}

func parseListenAddress(word string) (listenAddress, error) {
	if addr, err := netip.ParseAddr(unbracketed(word)); err == nil {
		return listenAddress{addr: netip.AddrPortFrom(addr.Unmap(), 0)}, nil
	}
	// The last colon is before the port: a bare IPv6 address was read above.
	colon := strings.LastIndexByte(word, ':')
	if colon < 0 {
		return listenAddress{}, fmt.Errorf("%q is not an address; names aren't looked up here", word)
	}
	host, number := word[:colon], word[colon+1:]
	if strings.Contains(host, ":") && unbracketed(host) == host {
		return listenAddress{}, fmt.Errorf("%q: an IPv6 address stands in brackets before a port", word)
	}
	addr, err := netip.ParseAddr(unbracketed(host))
	if err != nil {
		return listenAddress{}, fmt.Errorf("%q is not an address; names aren't looked up here", host)
	}
	var port uint16
	if number != "0" { // the system chooses
		if port, err = policy.ParsePort(number); err != nil {
			return listenAddress{}, err
		}
	}
	return listenAddress{netip.AddrPortFrom(addr.Unmap(), port), true}, nil
}

// unbracketed returns what stands in brackets, or else the word itself.
func unbracketed(word string) string {
	if len(word) > 2 && word[0] == '[' && word[len(word)-1] == ']' {
		return word[1 : len(word)-1]
	}
	return word
}
