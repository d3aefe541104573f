package policy

import "strings"

// PathRequest is a question about a path on an FTP server.
type PathRequest struct {
	// Path is what a command names, as the server will see it: from / on, without . and .., and without a slash at the end.
	Path string
	// From is, if Path is the new name in a rename, the old one; else it is empty.
	From string
	// Enter is set if Path is to become the working directory: nothing in it is shown by that.
	Enter bool
}

// HasPathRules reports whether some path may be refused.
func (f *FTP) HasPathRules() bool {
	for _, line := range f.Deny {
		if len(line.Value) > 0 {
			return true
		}
	}
	return f.Allow != nil && !(len(f.Allow.Value) == 1 && f.Allow.Value[0].IsAny())
}

// SamePathRules reports whether f and g have the same path rules, wherever they stand.
func (f *FTP) SamePathRules(g *FTP) bool { return f.pathRulesText() == g.pathRulesText() }

func (f *FTP) pathRulesText() string {
	if !f.HasPathRules() {
		return ""
	}
	var b strings.Builder
	for _, line := range f.Deny {
		writeWords(&b, line.Value)
	}
	b.WriteByte('\n')
	if f.Allow != nil {
		b.WriteByte('\n')
		writeWords(&b, f.Allow.Value)
	}
	return b.String()
}

func writeWords(b *strings.Builder, words []PathPattern) {
	for _, word := range words {
		b.WriteString(word.String())
		b.WriteByte(0) // which no word has
	}
}

// DecidePath answers r. It looks at FTPDeny, all lines of it, then at FTPAllow, if there is one. On the way to what
// FTPAllow permits, directories may be entered.
//
// What is renamed may be a directory, with all that is in it. So a rename is refused as well if things in it would be denied under
// one of its names and not under the other.
func (f *FTP) DecidePath(r PathRequest) Decision { return f.decidePath(r, nil) }

// ExplainPath answers r as DecidePath does, and tells the lines that were looked at.
func (f *FTP) ExplainPath(r PathRequest) Explanation {
	var tr trail
	d := f.decidePath(r, &tr)
	return Explanation{tr.steps, d}
}

func (f *FTP) decidePath(r PathRequest, tr *trail) Decision {
	path, ok := splitPath(r.Path)
	from, fromOK := path, true
	if r.From != "" {
		from, fromOK = splitPath(r.From)
	}
	if f == nil || !ok || !fromOK {
		return Decision{Reason: "the path isn't known"}
	}
	for _, line := range f.Deny {
		d, denied := denyPath(line, path, from)
		tr.path(KindDeny, line.Source, "FTPDeny", d.Reason, denied)
		if denied {
			return d
		}
	}
	if f.Allow == nil {
		return Decision{Reason: "no FTPDeny is against it", allowed: true}
	}
	word, hit := f.allowPath(path, r.Enter)
	tr.path(KindPermit, f.Allow.Source, "FTPAllow", word.shown(), hit)
	if !hit {
		return Decision{Rule: f.Allow.Source, Reason: "not in FTPAllow"}
	}
	return Decision{Rule: f.Allow.Source, Reason: "FTPAllow " + word.shown(), allowed: true}
}

// denyPath looks for a word that is for the path, or that a rename would take things away from or bring things under.
func denyPath(line Line[[]PathPattern], path, from []string) (Decision, bool) {
	for _, word := range line.Value {
		switch here, there := word.denies(path), word.denies(from); {
		case here.matched, there.matched:
			return Decision{Rule: line.Source, Reason: "FTPDeny " + word.shown()}, true
		case here.at != there.at:
			return Decision{Rule: line.Source, Reason: "FTPDeny " + word.shown() + ", of which it may hold something"}, true
		}
	}
	return Decision{}, false
}

func (f *FTP) allowPath(path []string, enter bool) (PathPattern, bool) {
	for _, word := range f.Allow.Value {
		if w := word.allows(path); w.matched || enter && w.beyond() {
			return word, true
		}
	}
	return PathPattern{}, false
}

// splitPath returns the names in a path, if it is one as a PathRequest has it.
func splitPath(path string) (names []string, ok bool) {
	rest, ok := strings.CutPrefix(path, "/")
	if !ok || rest == "" {
		return nil, ok
	}
	names = strings.Split(rest, "/")
	for _, name := range names {
		if name == "" || name == "." || name == ".." {
			return nil, false
		}
	}
	return names, true
}

// path is a line of FTPDeny or FTPAllow, with what of it decided, which may have the keyword before it.
func (tr *trail) path(kind Kind, source, keyword, word string, hit bool) {
	if !hit {
		word = ""
	}
	tr.line(kind, source, keyword, strings.TrimPrefix(word, keyword+" "), hit)
}
