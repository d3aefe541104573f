package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// UserPattern is one word of AllowUsers or DenyUsers. The zero UserPattern matches nobody.
type UserPattern struct {
	user string
	from []placePattern // if empty, from anywhere
	text string
}

// ParseUserPattern reads a pattern of a user's name, perhaps with an @ behind it and a comma-separated list of addresses, networks and
// patterns of host names that the client must come from, in which ! negates. The last @ is that one, as with sshd.
func ParseUserPattern(word string) (UserPattern, error) {
	p := UserPattern{user: word, text: word}
	if at := strings.LastIndexByte(word, '@'); at >= 0 {
		from, err := parseList(word[at+1:], parsePlacePattern)
		if err != nil {
			return UserPattern{}, fmt.Errorf("user %q: after the @ %w", word, err)
		}
		p.user, p.from = word[:at], from
	}
	if err := checkWhoPattern(p.user); err != nil {
		return UserPattern{}, fmt.Errorf("user %q %w", word, err)
	}
	return p, nil
}

// String returns the word as it was written.
func (p UserPattern) String() string { return p.text }

func (p UserPattern) matches(s Subject) bool {
	if s.User == "" || !glob(p.user, s.User) {
		return false
	}
	return len(p.from) == 0 || matchList(p.from, place{bare(s.Addr), lower(s.host())})
}

// GroupPattern is one word of AllowGroups or DenyGroups. The zero GroupPattern matches no group.
type GroupPattern struct{ glob string }

// ParseGroupPattern reads a pattern of a group's name.
func ParseGroupPattern(word string) (GroupPattern, error) {
	if err := checkWhoPattern(word); err != nil {
		return GroupPattern{}, fmt.Errorf("group %q %w", word, err)
	}
	return GroupPattern{word}, nil
}

// String returns the word as it was written.
func (p GroupPattern) String() string { return p.glob }

func (p GroupPattern) matches(group string) bool { return group != "" && glob(p.glob, group) }

// checkWhoPattern refuses what would never match: to sshd ! is a byte like any other there, and whoever writes it means
// something else.
func checkWhoPattern(pattern string) error {
	switch {
	case pattern == "":
		return errors.New("is empty: everybody is *")
	case pattern[0] == '!':
		return errors.New("can't be negated: there are lines for Deny and for Allow")
	}
	return nil
}

// place is where a client comes from.
type place struct {
	addr netip.Addr
	host string // lower case
}

// placePattern is an address or a network, or else a pattern of the client's name or of its address in text.
type placePattern struct {
	negated bool
	net     netip.Prefix
	glob    string // lower case
}

func (p placePattern) hits(at place) bool {
	switch {
	case p.net.IsValid():
		return p.net.Contains(at.addr)
	case at.addr.IsValid() && glob(p.glob, at.addr.String()):
		return true
	}
	return at.host != "" && glob(p.glob, at.host)
}
func (p placePattern) isNegated() bool { return p.negated }

func parsePlacePattern(negated bool, word string) (placePattern, error) {
	_, notAddr := netip.ParseAddr(word)
	if notAddr != nil && !strings.ContainsRune(word, '/') {
		return placePattern{negated: negated, glob: lower(word)}, nil
	}
	net, err := ParseNetwork(word)
	if err != nil {
		return placePattern{}, err
	}
	return placePattern{negated: negated, net: net}, nil
}
