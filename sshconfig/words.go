package sshconfig

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// Split is the line grammar of ssh_config(5): a keyword, then space, or "=" with
// optional space around it, then the value, which may stand in double quotes.
func Split(word string) (keyword, value string, err error) {
	word = strings.TrimSpace(word)
	i := strings.IndexAny(word, " \t=")
	if i <= 0 {
		return "", "", fmt.Errorf("option %q has no value: write Keyword=value", word)
	}
	value = strings.TrimLeft(word[i:], " \t")
	value = strings.TrimSpace(strings.TrimPrefix(value, "="))
	if n := len(value); n >= 2 && value[0] == '"' && value[n-1] == '"' {
		value = value[1 : n-1]
	}
	if value == "" {
		return "", "", fmt.Errorf("option %q has no value: write Keyword=value", word)
	}
	return word[:i], value, nil
}

// Fields splits at the colons that aren't in brackets, and takes the brackets off; what
// stood in them must be an IPv6 address.
func Fields(s string) (fields []string, err error) {
	for {
		var field string
		more := false
		if rest, ok := strings.CutPrefix(s, "["); ok {
			inside, after, found := strings.Cut(rest, "]")
			if a, err := netip.ParseAddr(inside); !found || err != nil || !a.Is6() {
				return nil, errors.New("brackets must hold an IPv6 address")
			}
			field = inside
			if s, more = strings.CutPrefix(after, ":"); !more && after != "" {
				return nil, errors.New(`a colon must follow "]"`)
			}
		} else {
			field, s, more = strings.Cut(s, ":")
		}
		fields = append(fields, field)
		if !more {
			return fields, nil
		}
	}
}

// CutPrefixFold is strings.CutPrefix without regard to case.
func CutPrefixFold(s, prefix string) (string, bool) {
	if len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix) {
		return s[len(prefix):], true
	}
	return s, false
}
