package config

import (
	"fmt"
	"slices"

	"github.com/culvert-ssh/culvert/policy"
)

// warnPaths warns of a word of FTPAllow that never allows anything: an FTPDeny that always applies where it does wins.
func (r *reader) warnPaths(l line, sc *scope) {
	if l.keyword.name != ftpAllow {
		return
	}
	var allow Settings
	l.set(&allow)
	for _, deny := range r.denyingWith(sc) {
		var s Settings
		deny.set(&s)
		for _, word := range allow.FTPAllow {
			covers := func(d policy.PathPattern) bool { return d.Covers(word) }
			if i := slices.IndexFunc(s.FTPDeny, covers); i >= 0 {
				r.warn(l.at, l.keyword.name, fmt.Sprintf("%q has no effect: FTPDeny %s in %s wins", word, s.FTPDeny[i], deny.at))
			}
		}
	}
}

// denyingWith returns the FTPDeny lines that apply wherever sc does.
func (r *reader) denyingWith(sc *scope) (lines []line) {
	for i, other := range r.scopes() {
		if i > 0 && other != sc {
			continue
		}
		for _, l := range other.lines {
			if l.keyword.name == ftpDeny {
				lines = append(lines, l)
			}
		}
	}
	return lines
}

// warnUnreadPaths warns of paths where nothing is read as FTP.
func (r *reader) warnUnreadPaths() {
	var first *line
	for _, sc := range r.scopes() {
		for i, l := range sc.lines {
			var s Settings
			l.set(&s)
			if slices.ContainsFunc(s.PermitOpen, policy.OpenPattern.FTP) {
				return
			}
			if first == nil && (l.keyword.name == ftpDeny || l.keyword.name == ftpAllow) {
				first = &sc.lines[i]
			}
		}
	}
	if first != nil {
		r.warn(first.at, first.keyword.name, "it has no effect: nothing is read as FTP without ftp/ in front of a word of PermitOpen")
	}
}

// restrictsPaths reports whether FTPDeny or FTPAllow refuses anything.
func (s *Settings) restrictsPaths() bool {
	f := policy.FTP{
		Deny:  []policy.Line[[]policy.PathPattern]{{Value: s.FTPDeny}},
		Allow: &policy.Line[[]policy.PathPattern]{Value: s.FTPAllow},
	}
	return f.HasPathRules()
}
