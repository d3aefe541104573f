package sshconfig

import "strings"

// MatchList reports whether s matches a list of patterns with commas between. As in ssh_config(5), * stands for any bytes and ? for
// one, and a pattern that matches behind a ! fails the list whatever else matches.
func MatchList(list, s string) bool { return MatchWords(strings.Split(list, ","), s) }

// MatchWords is [MatchList] for patterns that are words of a line, as of Host.
func MatchWords(patterns []string, s string) bool {
	matched := false
	for _, pattern := range patterns {
		pattern, negated := strings.CutPrefix(pattern, "!")
		if !Match(pattern, s) {
			continue
		}
		if negated {
			return false
		}
		matched = true
	}
	return matched
}

// Match reports whether s matches one pattern, in at most len(pattern)*len(s) steps.
func Match(pattern, s string) bool {
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

// lower is s in lower case. Only ASCII has one in the names of hosts: Unicode would make a k of the Kelvin sign.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}
