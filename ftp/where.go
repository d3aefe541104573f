package ftp

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// whereabouts is what is known of where the server is, and of a rename under way. Nothing is, without Options.Paths.
type whereabouts struct {
	directory string // absolute and clean; empty if it isn't known
	asks      bool   // the server is to be asked before anything else goes to it
	renames   string // the path of the RNFR that the server took last, with nothing sent since
}

// judge looks at what c may do. If it is refused, ok is false and the plan is the answer; else the plan has what c is to the
// whereabouts: an entry that goes alone, as what follows depends on its reply.
func (s *Session) judge(c command) (p plan, ok bool) {
	if !s.opt.Access.allows(c) {
		return refusal(Refusal{Rule: s.opt.AccessRule, Reason: "FTPAccess is against it"}), false
	}
	if s.opt.Paths == nil {
		return plan{}, true
	}
	ask := PathRequest{Verb: c.verb, Class: c.recorded().Class, Enter: verbs[c.verb].argument.enters()}
	if c.verb == "RNTO" {
		if ask.From = s.where.renames; ask.From == "" {
			return answer("503 Use RNFR first"), false
		}
	}
	paths, err := c.named(s.where.directory)
	if err != nil {
		return refusal(Refusal{Reason: err.Error()}), false
	}
	for _, ask.Path = range paths {
		if d := s.opt.Paths(ask); !d.Allowed {
			return refusal(Refusal{Path: escape(ask.Path), Rule: d.Rule, Reason: d.Reason}), false
		}
	}
	switch c.verb {
	case "CWD", "XCWD", "CDUP", "XCUP":
		p.entry.kind = move
	case "RNFR":
		p.entry.kind, p.entry.name = rename, ask.Path
	case "USER", "PASS", "ACCT":
		p.entry.alone = true
	}
	return p, true
}

// Refuses reports whether a command, as a client sends it first after the login, is refused by what its client may do. Where the server is
// then isn't known.
func (o Options) Refuses(line string) (Refusal, bool) {
	c := parseCommand([]byte(line))
	if c.refusal != "" {
		return Refusal{Reason: c.refusal}, true
	}
	p, ok := NewSession(o).judge(c)
	if p.entry.local != "" && p.entry.refusal.Reason == "" {
		p.entry.refusal.Reason = p.entry.local
	}
	return p.entry.refusal, !ok
}

// enters reports whether a command with the argument a changes the working directory.
func (a argument) enters() bool { return a == directory || a == parent }

// refusal refuses what a client may not do. The number of it is given when it is said.
func refusal(r Refusal) plan {
	return plan{entry: entry{local: "550 Permission denied here", refusal: r, numbered: true}}
}

// number counts the refusal of an entry, and says it.
func (s *Session) number(e *entry) {
	if !e.numbered {
		return
	}
	s.refusals++
	e.refusal.Number = strconv.Itoa(s.refusals)
	if s.opt.Request != "" {
		e.refusal.Number = s.opt.Request + "." + e.refusal.Number
	}
	e.local += ", number " + e.refusal.Number
}

// moved follows the final reply to a command that went alone.
func (s *Session) moved(e entry, r reply) {
	if s.opt.Paths == nil {
		return
	}
	switch {
	case r.code == 257 && e.kind == plain && !strings.Contains("PWD XPWD MKD XMKD", e.command.Verb):
		s.lost() // it may be the real answer to a PWD of ours
	case e.kind == rename:
		if r.code >= 300 && r.code < 400 {
			s.where.renames = e.name
		}
	case r.code >= 400:
	case e.kind == move:
		s.lost()
		s.where.asks = true
	case e.kind == userName, e.kind == login, e.kind == rein:
		s.lost()
		s.where.asks = s.loggedIn
	}
}

// lost forgets where the server is.
func (s *Session) lost() { s.where.directory, s.where.asks = "", false }

// asksWhere asks the server for its working directory, if that is what comes next.
func (s *Session) asksWhere() bool {
	if !s.where.asks || len(s.due) > 0 || s.clientEnded && len(s.held) == 0 {
		return false
	}
	s.where.asks = false
	s.ask(location)
	return true
}

// located takes the answer to our PWD.
func (s *Session) located(r reply) {
	if r.code == 421 {
		s.forward(r)
		return
	}
	at, ok := directoryIn(r)
	if !ok {
		s.note(NoteRefused, "relative paths are refused, as the server doesn't say where it is: "+quote(r.lines[0]))
	}
	s.where.directory = at
}

// directoryIn reads the 257 of a PWD: a path in quotes, in which a quote is doubled (RFC 959, appendix II). It must be the only one
// in the reply, as a server that doesn't double them shows another directory than it is in.
func directoryIn(r reply) (at string, ok bool) {
	text, quoted := strings.CutPrefix(strings.TrimLeft(r.lines[0][len("257 "):], " "), `"`)
	if r.code != 257 || !quoted {
		return "", false
	}
	var b strings.Builder
	for {
		name, rest, closed := strings.Cut(text, `"`)
		if !closed {
			return "", false
		}
		b.WriteString(name)
		if text, quoted = strings.CutPrefix(rest, `"`); !quoted {
			break
		}
		b.WriteByte('"')
	}
	if strings.Contains(text+strings.Join(r.lines[1:], ""), `"`) {
		return "", false
	}
	return cleanDirectory(b.String())
}

// cleanDirectory returns a directory without slashes too many. What stands for a byte that was replaced could be anything.
func cleanDirectory(text string) (at string, ok bool) {
	if !strings.HasPrefix(text, "/") || !utf8.ValidString(text) || strings.ContainsAny(text, `\?`) {
		return "", false
	}
	var names []string
	for _, name := range strings.Split(text, "/") {
		switch {
		case name == "":
		case strings.Trim(name, ". ") == "":
			return "", false
		default:
			names = append(names, name)
		}
	}
	return "/" + strings.Join(names, "/"), true
}
