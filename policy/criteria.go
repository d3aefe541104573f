package policy

import (
	"net/netip"
	"strings"
	"time"
)

// Criteria are the conditions of one Match line, all of which must hold. Empty Criteria match
// nobody; a line that is to match everybody says so with [MatchAll].
type Criteria []Criterion

// Criterion is one condition of a Match line. The zero Criterion holds for nobody.
type Criterion struct {
	name, value string // as in the manual, and as it was written
	holds       func(s Subject, now time.Time) bool
}

// Match reports whether every criterion holds for s. Hours and days are those of now's zone.
func (c Criteria) Match(s Subject, now time.Time) bool {
	_, failed := c.firstFailing(s, now)
	return len(c) > 0 && !failed
}

func (c Criteria) firstFailing(s Subject, now time.Time) (Criterion, bool) {
	for _, criterion := range c {
		if criterion.holds == nil || !criterion.holds(s, now) {
			return criterion, true
		}
	}
	return Criterion{}, false
}

// String returns what stands after Match.
func (c Criteria) String() string {
	words := make([]string, len(c))
	for i, criterion := range c {
		words[i] = criterion.String()
	}
	return strings.Join(words, " ")
}

// String returns the criterion and its value.
func (c Criterion) String() string {
	if c.value == "" {
		return c.name
	}
	return c.name + " " + c.value
}

func newCriterion(name, value string, err error, holds func(Subject, time.Time) bool) (Criterion, error) {
	if err != nil {
		return Criterion{}, err
	}
	return Criterion{name, value, holds}, nil
}

// MatchAll is the criterion all.
func MatchAll() Criterion {
	return Criterion{name: "all", holds: func(Subject, time.Time) bool { return true }}
}

// MatchInvalidUser is the criterion invalid-user: nobody is known under the name.
func MatchInvalidUser() Criterion {
	return Criterion{name: "invalid-user", holds: func(s Subject, _ time.Time) bool { return s.Invalid }}
}

// MatchUser is the criterion user: a comma-separated list of patterns, in which * and ? stand
// for any bytes and one byte, and ! negates. A name that a negated pattern matches doesn't match,
// whatever else the list says. Case counts.
func MatchUser(list string) (Criterion, error) {
	patterns, err := parseList(list, parseNamePattern)
	return newCriterion("User", list, err, func(s Subject, _ time.Time) bool {
		return matchList(patterns, s.User)
	})
}

// MatchGroup is the criterion group: a list as in [MatchUser], for the groups that the user is in. One of them must match, and
// none may be matched by a negated pattern.
func MatchGroup(list string) (Criterion, error) {
	patterns, err := parseList(list, parseNamePattern)
	return newCriterion("Group", list, err, func(s Subject, _ time.Time) bool {
		return matchGroups(patterns, s.Groups)
	})
}

// MatchHost is the criterion host: a list as in [MatchUser], for the client's name, or for the text of its address
// where there is none. Case doesn't count.
func MatchHost(list string) (Criterion, error) {
	patterns, err := parseList(list, parseHostPattern)
	return newCriterion("Host", list, err, func(s Subject, _ time.Time) bool {
		return matchList(patterns, s.host())
	})
}

// MatchAddress is the criterion address: a comma-separated list of addresses, networks and
// patterns of addresses (192.0.2.*), in which ! negates as in [MatchUser].
func MatchAddress(list string) (Criterion, error) {
	patterns, err := parseList(list, parseAddressPattern)
	return newCriterion("Address", list, err, func(s Subject, _ time.Time) bool {
		return matchList(patterns, bare(s.Addr))
	})
}

// MatchLocalAddress is the criterion localaddress: what [MatchAddress] is, for the address that the
// client connected to.
func MatchLocalAddress(list string) (Criterion, error) {
	patterns, err := parseList(list, parseAddressPattern)
	return newCriterion("LocalAddress", list, err, func(s Subject, _ time.Time) bool {
		return matchList(patterns, bare(s.LocalAddr.Addr()))
	})
}

// MatchLocalPort is the criterion localport: the one port that the client connected to.
func MatchLocalPort(word string) (Criterion, error) {
	port, err := ParsePort(word)
	return newCriterion("LocalPort", word, err, func(s Subject, _ time.Time) bool {
		return s.LocalAddr.Port() == port
	})
}

// MatchTime is the criterion time: days, then times of the day, with commas between: Mon-Fri,08:00-19:00. Days alone are whole days, times alone those of
// every day. A range may go over midnight, 22:00-06:00, and belongs to the day that it began on. The end of a range isn't in it.
func MatchTime(value string) (Criterion, error) {
	h, err := parseHours(value)
	return newCriterion("Time", value, err, func(_ Subject, now time.Time) bool {
		return h.contain(now)
	})
}

// AddressList is a list of addresses, networks and patterns of addresses, as [MatchAddress] reads it. The zero
// AddressList contains nothing.
type AddressList struct{ patterns []addressPattern }

// ParseAddressList reads an AddressList.
func ParseAddressList(list string) (AddressList, error) {
	patterns, err := parseList(list, parseAddressPattern)
	if err != nil {
		return AddressList{}, err
	}
	return AddressList{patterns}, nil
}

// Contains reports whether addr is in the list and not negated there.
func (l AddressList) Contains(addr netip.Addr) bool { return matchList(l.patterns, bare(addr)) }

// host is the client's name, or what stands for it; empty if nothing is known.
func (s Subject) host() string {
	switch addr := bare(s.Addr); {
	case s.Host != "":
		return s.Host
	case addr.IsValid():
		return addr.String()
	}
	return ""
}
