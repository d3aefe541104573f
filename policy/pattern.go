package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// OpenPattern is one word of PermitOpen, DenyOpen or permitopen=. The zero OpenPattern matches
// nothing.
type OpenPattern struct {
	ftp   bool
	tls   bool         // with ftp: by TLS from the first byte on
	net   netip.Prefix // if valid, the addresses it is for; else name
	name  string       // lower case, without a trailing dot; * alone is every name and address
	ports []PortRange
}

// PortRange is a range of TCP ports, both ends included. The zero PortRange contains port 0
// only, which nobody can open.
type PortRange struct{ First, Last uint16 }

// Contains reports whether port lies in r.
func (r PortRange) Contains(port uint16) bool { return r.First <= port && port <= r.Last }

func (r PortRange) String() string {
	switch r {
	case PortRange{1, 65535}:
		return "*"
	case PortRange{r.First, r.First}:
		return strconv.Itoa(int(r.First))
	}
	return fmt.Sprintf("%d-%d", r.First, r.Last)
}

// ParseOpenPattern reads [ftp/|ftps/]host:ports. The host is an address, a network in CIDR form, a host
// name in which * and ? may stand, or * alone for everything; IPv6 is in brackets, [2001:db8::/32].
// The ports are numbers and ranges with commas between, or *.
//
// A pattern other than * alone is for names and never matches an address: else 10.1.* would
// match the name 10.1.example.com. Spellings of addresses that only some programs take for one
// (127.1, 0x7f000001) are errors.
func ParseOpenPattern(word string) (OpenPattern, error) {
	rest, ftp := strings.CutPrefix(word, "ftp/")
	rest, tls := strings.CutPrefix(rest, "ftps/")
	if ftp && tls || hasPrefix(rest) {
		return OpenPattern{}, fmt.Errorf("%q: before the host stands ftp/, ftps/ or nothing", word)
	}
	p := OpenPattern{ftp: ftp || tls, tls: tls}
	host, ports, err := splitPorts(p.prefix(), rest)
	if err != nil {
		return OpenPattern{}, err
	}
	if p.ports, err = ParsePorts(ports); err != nil {
		return OpenPattern{}, err
	}
	if _, notAddr := netip.ParseAddr(host); notAddr == nil || strings.ContainsRune(host, '/') {
		p.net, err = ParseNetwork(host)
	} else {
		p.name, err = parseHostName(host)
	}
	if err != nil {
		return OpenPattern{}, err
	}
	return p, nil
}

// AnyOpen is what PermitOpen any says: every port of every host, not read as FTP.
func AnyOpen() OpenPattern {
	return OpenPattern{name: "*", ports: []PortRange{{1, 65535}}}
}

// FTP reports whether the word has the prefix ftp/ or ftps/.
func (p OpenPattern) FTP() bool { return p.ftp }

// linkLocal are the addresses that mean nothing without a zone (RFC 4007, section 11), which no word and no target has.
var linkLocal = netip.MustParsePrefix("fe80::/10")

// NeverDialled reports whether the word is for link-local IPv6 addresses alone, to which nothing can be opened.
func (p OpenPattern) NeverDialled() bool {
	return p.net.IsValid() && p.net.Bits() >= linkLocal.Bits() && linkLocal.Contains(p.net.Addr())
}

// prefix is what stands before the host.
func (p OpenPattern) prefix() string {
	switch {
	case p.tls:
		return "ftps/"
	case p.ftp:
		return "ftp/"
	}
	return ""
}

// String returns the word in canonical form; [ParseOpenPattern] reads it back to p.
func (p OpenPattern) String() string {
	var b strings.Builder
	b.WriteString(p.prefix())
	host := p.name
	if p.net.IsValid() {
		host = p.net.String()
		if p.net.IsSingleIP() {
			host = p.net.Addr().String()
		}
		if p.net.Addr().Is6() {
			host = "[" + host + "]"
		}
	}
	b.WriteString(host)
	b.WriteByte(':')
	b.WriteString(PortsText(p.ports))
	return b.String()
}

// PortsText returns ports as [ParsePorts] reads them.
func PortsText(ports []PortRange) string {
	words := make([]string, len(ports))
	for i, r := range ports {
		words[i] = r.String()
	}
	return strings.Join(words, ",")
}

// hasPrefix reports whether a word, and then a slash, stands before a host or a port.
func hasPrefix(word string) bool {
	prefix, _, ok := strings.Cut(word, "/")
	return ok && prefix != "" && strings.Trim(lower(prefix), "abcdefghijklmnopqrstuvwxyz") == ""
}

// splitPorts splits host:ports. Brackets may stand around any host, as for sshd, and must
// around one with colons in it. The prefix is what stood before it, for the advice.
func splitPorts(prefix, word string) (host, ports string, err error) {
	if inner, ok := strings.CutPrefix(word, "["); ok {
		host, ports, ok = strings.Cut(inner, "]")
		if !ok {
			return "", "", fmt.Errorf("%q has no closing bracket", word)
		}
		if ports, ok = strings.CutPrefix(ports, ":"); !ok {
			return "", "", noPort(prefix+word, prefix+"["+host+"]")
		}
		return host, ports, nil
	}
	host, ports, ok := strings.Cut(word, ":")
	switch {
	case !ok:
		return "", "", noPort(prefix+word, prefix+word)
	case strings.ContainsRune(ports, ':'):
		return "", "", fmt.Errorf("%q: an IPv6 address stands in brackets, [2001:db8::1]:22", word)
	}
	return host, ports, nil
}

// noPort says what to write, with a port that such hosts have.
func noPort(word, host string) error {
	port := 22
	switch {
	case strings.HasPrefix(host, "ftp/"):
		port = 21
	case strings.HasPrefix(host, "ftps/"):
		port = 990
	}
	return fmt.Errorf("%q has no port: write %s:%d, or %[2]s:* for every port", word, host, port)
}

// ParsePorts reads numbers from 1 and ranges of them with commas between, or * for all.
func ParsePorts(word string) ([]PortRange, error) {
	if word == "*" {
		return []PortRange{{1, 65535}}, nil
	}
	var ranges []PortRange
	for element := range strings.SplitSeq(word, ",") {
		low, high, isRange := strings.Cut(element, "-")
		first, err := ParsePort(low)
		if err != nil {
			return nil, err
		}
		last := first
		if isRange {
			if last, err = ParsePort(high); err != nil {
				return nil, err
			}
		}
		if last < first {
			return nil, fmt.Errorf("port range %q is the wrong way round", element)
		}
		ranges = append(ranges, PortRange{first, last})
	}
	return ranges, nil
}

// ParsePort reads a port number from 1.
func ParsePort(word string) (uint16, error) {
	n, err := strconv.ParseUint(word, 10, 16)
	switch {
	case errors.Is(err, strconv.ErrRange) || err == nil && n == 0:
		return 0, fmt.Errorf("port %q is out of range", word)
	case err != nil:
		return 0, fmt.Errorf("port %q is not a number", word)
	}
	return uint16(n), nil
}

// parseHostName reads a host name in which * and ? may stand.
func parseHostName(word string) (string, error) {
	name := canonicalName(word)
	if name != "" && strings.Trim(name, "*") == "" {
		return "*", nil
	}
	// What a wildcard stands for is taken as a letter, so that the rest must do for a name.
	if err := checkName(strings.NewReplacer("*", "x", "?", "x").Replace(name)); err != nil {
		return "", fmt.Errorf("host %q %w", word, err)
	}
	if strings.ContainsAny(name, "*?") && strings.Trim(name, "0123456789.*?") == "" && strings.ContainsAny(name, "0123456789") {
		return "", fmt.Errorf("host %q: patterns are for names: write a network, such as 10.1.0.0/16", word)
	}
	return name, nil
}

// canonicalName is name in lower case, without the dot that marks it as complete.
func canonicalName(name string) string { return strings.TrimSuffix(lower(name), ".") }

// lower is s in lower case. Only ASCII has one here: Unicode would make a k of the Kelvin sign, and a name of
// what is none.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// checkName reports what keeps name from being a host name (RFC 1123, section 2.1, and the
// underscore that is found in the wild), as words that go on after it.
func checkName(name string) error {
	if len(name) > 253 {
		return errors.New("is too long for a name")
	}
	last := ""
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 {
			return errors.New("is not a host name")
		}
		if strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return errors.New("is not a host name")
		}
		last = label
	}
	// A name whose last label is a number is an address to inet_aton(3) and what is built
	// on it, and which one differs between programs.
	if strings.Trim(last, "0123456789") == "" || isHex(last) {
		return errors.New("is an uncommon spelling of an address")
	}
	return nil
}

func isHex(label string) bool {
	digits, ok := strings.CutPrefix(label, "0x")
	return ok && strings.Trim(digits, "0123456789abcdef") == ""
}

func (p OpenPattern) hasPort(port uint16) bool {
	return slices.ContainsFunc(p.ports, func(r PortRange) bool { return r.Contains(port) })
}

// Covers reports whether p matches whatever q matches. It may say no where that is too hard to
// tell, as between two patterns of names.
func (p OpenPattern) Covers(q OpenPattern) bool {
	for _, r := range q.ports {
		if !slices.ContainsFunc(p.ports, func(own PortRange) bool { return own.First <= r.First && r.Last <= own.Last }) {
			return false
		}
	}
	return p.coversHost(q)
}

func (p OpenPattern) coversHost(q OpenPattern) bool {
	switch {
	case p.name == "*":
		return true
	case p.net.IsValid() && q.net.IsValid():
		return p.net.Bits() <= q.net.Bits() && p.net.Contains(q.net.Addr())
	case p.net.IsValid() || q.net.IsValid():
		return false
	case strings.ContainsAny(q.name, "*?"):
		return p.name == q.name
	}
	return glob(p.name, q.name)
}

// meet returns what both p and q match, as a word for a reader: where no word can say it (two
// patterns of names, a name and a network), it is the host of q. FTP takes both.
func (p OpenPattern) meet(q OpenPattern) (OpenPattern, bool) {
	both := q
	both.ftp = p.ftp && q.ftp
	both.tls = both.ftp && (p.tls || q.tls)
	both.ports = meetPorts(p.ports, q.ports)
	switch {
	case len(both.ports) == 0:
		return OpenPattern{}, false
	case p.coversHost(q):
	case q.coversHost(p):
		both.net, both.name = p.net, p.name
	case p.net.IsValid() && q.net.IsValid(), p.isOneName() && q.isOneName():
		return OpenPattern{}, false
	}
	return both, true
}

func (p OpenPattern) isOneName() bool {
	return !p.net.IsValid() && !strings.ContainsAny(p.name, "*?")
}

func meetPorts(a, b []PortRange) []PortRange {
	var both []PortRange
	for _, r := range a {
		for _, s := range b {
			if m := (PortRange{max(r.First, s.First), min(r.Last, s.Last)}); m.First <= m.Last {
				both = append(both, m)
			}
		}
	}
	return both
}
