package policy

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Criteria are the conditions of one Match line, all of which must hold. Empty Criteria match
// nobody; a line that is to match everybody says so with [MatchAll].
type Criteria []Criterion

// Criterion is one condition of a Match line.
type Criterion interface {
	match(s Subject, now time.Time) bool
}

// Match reports whether every criterion holds for s. Hours and days are those of now's zone.
func (c Criteria) Match(s Subject, now time.Time) bool {
	for _, criterion := range c {
		if !criterion.match(s, now) {
			return false
		}
	}
	return len(c) > 0
}

type (
	matchAll          struct{}
	matchUser         []userPattern
	matchAddress      []addressPattern
	matchLocalAddress []addressPattern
	matchLocalPort    uint16
)

// MatchAll is the criterion all.
func MatchAll() Criterion { return matchAll{} }

// MatchUser is the criterion user: a comma-separated list of patterns, in which * and ? stand
// for any bytes and one byte, and ! negates. A name that a negated pattern matches doesn't match,
// whatever else the list says. Case counts.
func MatchUser(list string) (Criterion, error) {
	return parseList(list, func(negated bool, word string) (userPattern, error) {
		return userPattern{negated, word}, nil
	}, func(l []userPattern) Criterion { return matchUser(l) })
}

// MatchAddress is the criterion address: a comma-separated list of addresses, networks and
// patterns of addresses (192.0.2.*), in which ! negates as in [MatchUser].
func MatchAddress(list string) (Criterion, error) {
	return parseList(list, parseAddressPattern, func(l []addressPattern) Criterion { return matchAddress(l) })
}

// MatchLocalAddress is the criterion localaddress: what [MatchAddress] is, for the address that the
// client connected to.
func MatchLocalAddress(list string) (Criterion, error) {
	return parseList(list, parseAddressPattern, func(l []addressPattern) Criterion { return matchLocalAddress(l) })
}

// MatchLocalPort is the criterion localport: the one port that the client connected to.
func MatchLocalPort(word string) (Criterion, error) {
	port, err := ParsePort(word)
	if err != nil {
		return nil, err
	}
	return matchLocalPort(port), nil
}

func (matchAll) match(Subject, time.Time) bool           { return true }
func (m matchUser) match(s Subject, _ time.Time) bool    { return matchList(m, s.User) }
func (m matchAddress) match(s Subject, _ time.Time) bool { return matchList(m, bare(s.Addr)) }
func (m matchLocalAddress) match(s Subject, _ time.Time) bool {
	return matchList(m, bare(s.LocalAddr.Addr()))
}
func (m matchLocalPort) match(s Subject, _ time.Time) bool { return s.LocalAddr.Port() == uint16(m) }

// AddressList is a list of addresses, networks and patterns of addresses, as [MatchAddress] reads it. The zero
// AddressList contains nothing.
type AddressList struct{ patterns matchAddress }

// ParseAddressList reads an AddressList.
func ParseAddressList(list string) (AddressList, error) {
	c, err := MatchAddress(list)
	if err != nil {
		return AddressList{}, err
	}
	return AddressList{c.(matchAddress)}, nil
}

// Contains reports whether addr is in the list and not negated there.
func (l AddressList) Contains(addr netip.Addr) bool { return matchList(l.patterns, bare(addr)) }

// bare is addr without what makes one address look like two.
func bare(addr netip.Addr) netip.Addr { return addr.Unmap().WithZone("") }

// pattern is one element of a comma-separated list.
type pattern[T any] interface {
	hits(T) bool
	isNegated() bool
}

// matchList is sshd's rule: a negated hit fails, and without a positive hit there is no match.
func matchList[T any, P pattern[T]](list []P, v T) bool {
	matched := false
	for _, p := range list {
		if p.hits(v) {
			if p.isNegated() {
				return false
			}
			matched = true
		}
	}
	return matched
}

func parseList[P any](list string, parse func(negated bool, word string) (P, error), wrap func([]P) Criterion) (Criterion, error) {
	var patterns []P
	for element := range strings.SplitSeq(list, ",") {
		word, negated := strings.CutPrefix(element, "!")
		if word == "" {
			return nil, fmt.Errorf("the list %q has an empty pattern", list)
		}
		p, err := parse(negated, word)
		if err != nil {
			return nil, err
		}
		patterns = append(patterns, p)
	}
	return wrap(patterns), nil
}

type userPattern struct {
	negated bool
	glob    string
}

func (p userPattern) hits(user string) bool { return user != "" && glob(p.glob, user) }
func (p userPattern) isNegated() bool       { return p.negated }

// addressPattern is a network, or a pattern of the address in its canonical text.
type addressPattern struct {
	negated bool
	net     netip.Prefix
	glob    string
}

func (p addressPattern) hits(addr netip.Addr) bool {
	switch {
	case !addr.IsValid():
		return false
	case p.net.IsValid():
		return p.net.Contains(addr)
	default:
		return glob(p.glob, addr.String())
	}
}
func (p addressPattern) isNegated() bool { return p.negated }

func parseAddressPattern(negated bool, word string) (addressPattern, error) {
	if strings.ContainsAny(word, "*?") {
		if strings.Trim(strings.ToLower(word), "0123456789abcdef.:*?") != "" {
			return addressPattern{}, fmt.Errorf("%q is not a pattern of addresses", word)
		}
		return addressPattern{negated: negated, glob: strings.ToLower(word)}, nil
	}
	net, err := ParseNetwork(word)
	if err != nil {
		return addressPattern{}, err
	}
	return addressPattern{negated: negated, net: net}, nil
}

// ParseNetwork reads an address or a network in CIDR form whose host bits are zero, as sshd wants
// them. IPv4 in IPv6 becomes IPv4; there are no zones.
func ParseNetwork(word string) (netip.Prefix, error) {
	address, length, isNet := strings.Cut(word, "/")
	addr, err := netip.ParseAddr(address)
	if err != nil || addr.Zone() != "" {
		return netip.Prefix{}, fmt.Errorf("%q is neither an address nor a network", word)
	}
	bits := addr.BitLen()
	if isNet {
		n, err := strconv.ParseUint(length, 10, 8)
		if err != nil || int(n) > bits {
			return netip.Prefix{}, fmt.Errorf("network %q: %q is no prefix length", word, length)
		}
		bits = int(n)
	}
	p := netip.PrefixFrom(addr, bits)
	if masked := p.Masked(); masked != p {
		return netip.Prefix{}, fmt.Errorf("network %q has host bits set: write %s", word, masked)
	}
	if addr.Is4In6() { // its length is at least 96, or there would be host bits
		p = netip.PrefixFrom(addr.Unmap(), bits-96)
	}
	return p, nil
}

// glob reports whether s matches the pattern, in which * stands for any bytes and ? for one. It
// takes at most len(pattern)*len(s) steps.
func glob(pattern, s string) bool {
	p, i := 0, 0
	star, mark := -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i]):
			p++
			i++
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
