package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/culvert-ssh/culvert/policy"
)

// warnWhole finds lines that do nothing, or other things than they look like.
func (r *reader) warnWhole(file string) {
	for i, sc := range r.scopes() {
		for j, l := range sc.lines {
			r.warnUnused(l, sc.lines[:j])
			if i > 0 {
				r.warnAfterAll(l, r.config.blocks[:i-1])
			} else {
				r.warnSharedKeys(l)
			}
			r.warnWords(l)
			r.warnTargets(l, sc.lines[:j])
			r.warnOpaque(l, sc)
			r.warnPaths(l, sc)
			r.warnNames(l)
			r.warnStock(l)
			var s Settings
			if l.set(&s); l.keyword.name == "LoginGraceTime" && s.LoginGraceTime == 0 {
				r.warn(l.at, l.keyword.name, "without a limit, connections that never log in stay, and fill MaxStartups")
			}
		}
		r.warnBlock(i, sc)
	}
	r.warnUnreadPaths()
	permits := func(sc *scope) bool {
		return slices.ContainsFunc(sc.lines, func(l line) bool { return l.keyword.name == permitOpen })
	}
	if !slices.ContainsFunc(r.scopes(), permits) && !r.failed(permitOpen) {
		r.note(Position{File: file}, permitOpen, "there is no line of it, so nothing may be opened; stock sshd opens anything then")
	}
}

// warnUnused warns of a line after one in the same scope that says the same. Those of -o are meant
// to do that.
func (r *reader) warnUnused(l line, before []line) {
	if i := indexFirst(before, l.keyword); i >= 0 && before[i].at.File == l.at.File {
		r.warn(l.at, l.keyword.name, fmt.Sprintf("it is not used: the first one counts, and that is %s", before[i].at))
	}
}

// warnAfterAll warns of a line in a Match block after a Match all that says the same.
func (r *reader) warnAfterAll(l line, before []*scope) {
	for _, sc := range before {
		if i := indexFirst(sc.lines, l.keyword); sc.all && i >= 0 {
			r.warn(l.at, l.keyword.name, fmt.Sprintf("it is never used: under Match all, %s comes first", sc.lines[i].at))
			return
		}
	}
}

// indexFirst returns the line that wins over later ones with the keyword k, or -1.
func indexFirst(lines []line, k *keyword) int {
	if k.repeats != firstWins {
		return -1
	}
	return slices.IndexFunc(lines, func(l line) bool { return l.keyword == k })
}

// warnSharedKeys warns of a keys file that is everybody's: accounts are made by what stands in these files, so whoever has a
// key in it chooses the user name, and with it the Match User blocks.
func (r *reader) warnSharedKeys(l line) {
	var s Settings
	l.set(&s)
	for _, file := range s.AuthorizedKeysFile {
		bare := strings.ReplaceAll(file, "%%", "")
		if !strings.Contains(bare, "%u") && !strings.Contains(bare, "%U") && !strings.Contains(bare, "%h") {
			r.warn(l.at, l.keyword.name, fmt.Sprintf("every key in %q serves for every user name: put %%u into the path, or the line under Match User", file))
		}
	}
}

// warnWords warns of a PermitOpen word that never permits anything, or never decides whether its target is read as FTP.
func (r *reader) warnWords(l line) {
	var s Settings
	l.set(&s)
	for i, word := range s.PermitOpen {
		if word.NeverDialled() {
			r.warn(l.at, l.keyword.name, fmt.Sprintf("%q has no effect: a link-local address can't be connected to without a zone, and can't be asked for with one; name another address of the host", word))
			continue
		}
		for _, before := range s.PermitOpen[:i] {
			if before.FTP() != word.FTP() && before.Covers(word) {
				r.warn(l.at, l.keyword.name, fmt.Sprintf("%q has no effect: the word %q before it matches first", word, before))
				break
			}
		}
	}
}

// warnNames warns of patterns of host names where names would be looked up, and refuses those that keep somebody out.
func (r *reader) warnNames(l line) {
	if !r.useDNS {
		return
	}
	var s Settings
	l.set(&s)
	for _, p := range slices.Concat(s.AllowUsers, s.DenyUsers) {
		_, places, found := cutLast(p.String(), "@")
		if !found || !namesHost(places) {
			continue
		}
		if s.DenyUsers != nil {
			r.fail(l.at, l.keyword.name, fmt.Errorf("%q: names of clients aren't looked up, so it would let in whom it keeps out: write addresses", p))
		} else {
			r.warn(l.at, l.keyword.name, fmt.Sprintf("%q: names of clients aren't looked up, so it lets nobody in: write addresses", p))
		}
	}
}

func cutLast(s, separator string) (before, after string, found bool) {
	if i := strings.LastIndex(s, separator); i >= 0 {
		return s[:i], s[i+len(separator):], true
	}
	return s, "", false
}

// namesHost reports whether a list has a pattern that only a name can match.
func namesHost(list string) bool {
	for element := range strings.SplitSeq(list, ",") {
		pattern := strings.ToLower(strings.TrimPrefix(element, "!"))
		if strings.Trim(pattern, "0123456789abcdef.:*?/") != "" {
			return true
		}
	}
	return false
}

// warnStock says of words in PermitOpen and PermitListen what stock sshd makes of them.
func (r *reader) warnStock(l line) {
	var s Settings
	l.set(&s)
	if i := slices.IndexFunc(s.PermitListen, policy.ListenPattern.FTP); i >= 0 {
		r.note(l.at, l.keyword.name, fmt.Sprintf("stock sshd doesn't start on %q", s.PermitListen[i]))
	}
	if l.keyword.name != permitOpen {
		return
	}
	literally := func(p policy.OpenPattern) bool {
		return !refusedByStock(p) && strings.ContainsAny(hostOf(p), "*?") && hostOf(p) != "*"
	}
	if i := slices.IndexFunc(s.PermitOpen, refusedByStock); i >= 0 {
		r.note(l.at, l.keyword.name, fmt.Sprintf("stock sshd doesn't start on %q", s.PermitOpen[i]))
	} else if i := slices.IndexFunc(s.PermitOpen, literally); i >= 0 {
		r.note(l.at, l.keyword.name, fmt.Sprintf("stock sshd takes %q literally: no host has this name", s.PermitOpen[i]))
	}
}

// refusedByStock reports whether sshd ends with an error when it reads the word.
func refusedByStock(p policy.OpenPattern) bool {
	_, ports, _ := cutLast(p.String(), ":")
	return p.FTP() || strings.ContainsAny(ports, ",-") || strings.Contains(hostOf(p), "/")
}

func hostOf(p policy.OpenPattern) string {
	host, _, _ := cutLast(strings.TrimPrefix(strings.TrimPrefix(p.String(), "ftp/"), "ftps/"), ":")
	return host
}

// warnBlock warns of the i-th scope, if it is a Match block that never matches or isn't what it looks like.
func (r *reader) warnBlock(i int, sc *scope) {
	switch {
	case i == 0 || len(sc.lines) == 0:
	case r.useDNS && slices.ContainsFunc(sc.said, func(c condition) bool { return c.name == "host" && namesHost(c.value) }):
		r.warn(sc.at, matchName, "names of clients aren't looked up: host is compared with the address")
	case never(sc.said) != "":
		r.warn(sc.at, matchName, "it never matches: "+never(sc.said))
	case sc.all && i == len(r.config.blocks) && len(r.config.blocks) > 1:
		r.warn(sc.at, matchName, "what stands below counts before the lines outside of Match, not after them")
	}
}
