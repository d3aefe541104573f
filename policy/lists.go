package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

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

func parseList[P any](list string, parse func(negated bool, word string) (P, error)) ([]P, error) {
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
	return patterns, nil
}

// namePattern is for the name of a user or a group, in which case counts.
type namePattern struct {
	negated bool
	glob    string
}

func (p namePattern) hits(name string) bool { return name != "" && glob(p.glob, name) }
func (p namePattern) isNegated() bool       { return p.negated }

func parseNamePattern(negated bool, word string) (namePattern, error) {
	return namePattern{negated, word}, nil
}

// matchGroups is sshd's rule for somebody who is in several groups: the list is asked about each, and a negated hit
// on one of them fails.
func matchGroups(list []namePattern, groups []string) bool {
	matched := false
	for _, group := range groups {
		for _, p := range list {
			if p.hits(group) {
				if p.negated {
					return false
				}
				matched = true
			}
		}
	}
	return matched
}

// hostPattern is for the name of a client, or the text of its address.
type hostPattern struct {
	negated bool
	glob    string // lower case
}

func (p hostPattern) hits(host string) bool { return host != "" && glob(p.glob, lower(host)) }
func (p hostPattern) isNegated() bool       { return p.negated }

func parseHostPattern(negated bool, word string) (hostPattern, error) {
	if strings.ContainsRune(word, '/') {
		return hostPattern{}, fmt.Errorf("%q is no pattern of host names: a network is for the criterion address", word)
	}
	return hostPattern{negated, lower(word)}, nil
}

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

// glob reports whether s matches the pattern, in which * stands for any bytes and ? for one.
func glob(pattern, s string) bool { return globOf([]byte(pattern), []byte(s)) }

// globOf takes at most len(pattern)*len(s) steps.
func globOf[E byte | rune](pattern, s []E) bool {
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
	return !slices.ContainsFunc(pattern[p:], func(e E) bool { return e != '*' })
}
