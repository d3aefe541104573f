package sshconfig

import (
	"errors"
	"net/netip"
	"strings"
)

// Fields splits at the colons that aren't in brackets, and takes the brackets off. What stands in them may be any word, but if it has
// colons, it must be an IPv6 address or a path.
func Fields(s string) (fields []string, err error) {
	for {
		var field string
		more := false
		if rest, ok := strings.CutPrefix(s, "["); ok {
			inside, after, found := strings.Cut(rest, "]")
			a, err := netip.ParseAddr(inside)
			literal := err == nil && a.Is6() || strings.Contains(inside, "/")
			if !found || inside == "" || strings.Contains(inside, ":") && !literal {
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
