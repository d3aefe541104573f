package policy

import (
	"errors"
	"fmt"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// maxPathComponents bounds a pattern, so that the places in it fit into the bits of a word.
const maxPathComponents = 60

// PathPattern is one word of FTPDeny or FTPAllow: an absolute path on an FTP server, in which * and ? stand for any
// characters and one character of a name, and ** alone for any number of names, even none. It is also for everything below what
// it is for. The zero PathPattern is for nothing.
type PathPattern struct {
	names  []string // between the slashes
	folded []string // the same, for comparison with folded names
	text   string
}

// ParsePathPattern reads a PathPattern. A slash at the end means nothing.
func ParsePathPattern(word string) (PathPattern, error) {
	rest, absolute := strings.CutPrefix(word, "/")
	if !absolute {
		return PathPattern{}, fmt.Errorf("%q would match nothing, as a path begins with /; write %q for the name in any directory", word, "/**/"+word)
	}
	p := PathPattern{text: "/" + strings.TrimSuffix(rest, "/")}
	if p.text == "/" {
		return p, nil
	}
	for name := range strings.SplitSeq(p.text[1:], "/") {
		if err := checkPathName(name); err != nil {
			return PathPattern{}, fmt.Errorf("%q %w", word, err)
		}
		p.names, p.folded = append(p.names, name), append(p.folded, fold(name))
	}
	if len(p.names) > maxPathComponents {
		return PathPattern{}, fmt.Errorf("%q has more than %d names", word, maxPathComponents)
	}
	return p, nil
}

// checkPathName refuses what no path has in it that is ever asked about, so that it would match nothing.
func checkPathName(name string) error {
	switch {
	case name == "":
		return errors.New("has a name that is empty: one slash goes between two names")
	case name == ".", name == "..":
		return fmt.Errorf("has %s in it: write the path as it is without", name)
	case name != "**" && strings.Contains(name, "**"):
		return fmt.Errorf("has %q in it: ** stands for whole names, between slashes", name)
	case strings.ContainsAny(name, `[{\`):
		return errors.New(`has [, { or \ in it, with which a path is always refused: there are *, ? and **`)
	case strings.ContainsFunc(name, unicode.IsControl):
		return errors.New("has a control character in it, with which a path is always refused")
	}
	return nil
}

// AnyPath is the pattern of the word any: it is for every path.
func AnyPath() PathPattern { return PathPattern{text: "/"} }

// IsAny reports whether p is for every path.
func (p PathPattern) IsAny() bool { return p.text == "/" }

// String returns the word that reads back to p.
func (p PathPattern) String() string { return p.text }

// shown is p as it is mostly written.
func (p PathPattern) shown() string {
	if p.IsAny() {
		return "any"
	}
	return p.text
}

// Covers reports whether p is for everything that q is for, as far as that is easily told: if q has no * and no ?.
func (p PathPattern) Covers(q PathPattern) bool {
	return q.text != "" && !strings.ContainsAny(q.text, "*?") && p.denies(q.names).matched
}

// progress is how far a path has come in a pattern.
type progress struct {
	at      uint64 // a bit for each name of the pattern that may be next
	matched bool   // the pattern is for the path
}

// beyond reports whether p may be for something below the path, though it isn't for the path.
func (w progress) beyond() bool { return !w.matched && w.at != 0 }

// denies is how far a path comes in a pattern of FTPDeny. It takes two names for one that a server may take for one: those that differ
// in case, in how characters are composed, in characters that aren't seen, and by the dots, spaces and streams that Windows allows behind a name.
func (p PathPattern) denies(path []string) progress {
	return p.follow(path, func(i int, name string) bool {
		folded := fold(name)
		return globPath(p.names[i], name) || globPath(p.folded[i], folded) || globPath(p.folded[i], bareName(folded))
	})
}

// allows is how far a path comes in a pattern of FTPAllow, in which every byte counts.
func (p PathPattern) allows(path []string) progress {
	return p.follow(path, func(i int, name string) bool { return globPath(p.names[i], name) })
}

// follow walks the names of a path through the pattern, whose i-th name hits says a name matches.
func (p PathPattern) follow(path []string, hits func(i int, name string) bool) progress {
	if p.text == "" {
		return progress{}
	}
	w := p.skip(1)
	for _, name := range path {
		if w.matched {
			return w
		}
		var next uint64
		for i := range p.names {
			switch {
			case w.at&(1<<i) == 0:
			case p.names[i] == "**":
				next |= 1 << i
			case hits(i, name):
				next |= 1 << (i + 1)
			}
		}
		w = p.skip(next)
	}
	return w
}

// skip adds the places in the pattern that a ** may be left for without a name.
func (p PathPattern) skip(at uint64) progress {
	for i := range p.names {
		if at&(1<<i) != 0 && p.names[i] == "**" {
			at |= 1 << (i + 1)
		}
	}
	return progress{at: at, matched: at&(1<<len(p.names)) != 0}
}

// fold makes names alike that differ in case, in how their characters are composed, or in characters that aren't seen. Of the file systems that
// keep no such names apart, some decompose them (HFS+), some compare what they are made of (APFS, ZFS, ext4), and to some a ß is ss.
func fold(name string) string {
	return norm.NFKC.String(unsharp.Replace(strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Cf, r) {
			return -1
		}
		return unicode.ToLower(unicode.ToUpper(r))
	}, norm.NFKC.String(name))))
}

var unsharp = strings.NewReplacer("ß", "ss")

// bareName is a name without the stream, dots and spaces that Windows allows behind it: "f.txt. " and "f.txt::$DATA" are f.txt there.
func bareName(name string) string {
	if i := strings.IndexByte(name, ':'); i > 0 {
		name = name[:i]
	}
	return strings.TrimRight(name, ". ")
}

// globPath is glob over characters.
func globPath(pattern, name string) bool { return globOf([]rune(pattern), []rune(name)) }
