package ftp

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"
)

// PathRequest is a question about a path that a command names.
type PathRequest struct {
	Verb  string
	Class Class
	Path  string // as the server will see it: from / on, without . and .., and without a slash at the end
	From  string // of a RNTO: the path that gets the new name
	Enter bool   // Path is to become the working directory
}

// PathDecision is the answer to a PathRequest. The zero PathDecision refuses.
type PathDecision struct {
	Allowed      bool
	Rule, Reason string // for the record
}

// Refusal says why a command was refused here by what its client may do. The client is told the number.
type Refusal struct {
	Number string // Options.Request, a dot, and how many it was on this connection; empty if there was no refusal
	Path   string // as the server would have seen it, escaped; empty if it can't be known
	Rule   string // "file:line" that decided, if one did
	Reason string // in words
}

// The reasons why it isn't known which file a path is for. Servers differ in all of these, or the answer depends on
// what is on the server.
var (
	errNotUTF8    = errors.New("the path isn't UTF-8, so its characters can't be known")
	errControl    = errors.New("the path has a control character in it")
	errPattern    = errors.New(`the path has one of * ? [ { in it, which some servers take for a pattern`)
	errBackslash  = errors.New("the path has a backslash in it, which some servers take for a slash")
	errBegins     = errors.New("the path begins with a space, a quote or ~, of which servers make different things")
	errTwoSlashes = errors.New("the path begins with two slashes, which may be another root")
	errDrive      = errors.New("the path begins with the letter of a drive")
	errDots       = errors.New("a name in the path has dots and spaces only")
	errShort      = errors.New("a name in the path may be the short one of another (~1)")
	errParent     = errors.New("the path has .. behind a name: where a link leads can't be known")
	errDirectory  = errors.New("the path is relative, and the working directory isn't known")
	errOption     = errors.New("an option of it may list more than the directory")
	errAnywhere   = errors.New("what the command does to which path can't be known")
	errNothing    = errors.New("the command names no path")
)

// named returns the paths that c may mean, as the server will see them: none if it is about no path, and several
// where servers read it differently. An error says why they can't be known.
func (c command) named(wd string) (paths []string, err error) {
	v, known := verbs[c.verb]
	if !known {
		return nil, errAnywhere // who knows
	}
	arg := c.arg()
	var meant []string
	switch v.argument {
	case noPath:
		return nil, nil
	case anywhere:
		return nil, errAnywhere
	case ahead:
		return parseCommand([]byte(arg)).named(wd)
	case parent:
		meant = []string{".."}
	case path:
		meant = []string{arg}
	case ownName: // the server may take the word for a name, or choose one
		meant = []string{arg, ""}
	case directory:
		if arg == "" {
			return nil, errNothing // it may be to go home
		}
		meant = []string{arg}
	case secondPath:
		first, second, found := strings.Cut(arg, " ")
		if !found || !decimals(first) && !strings.Contains(first, "=") {
			return nil, errNothing // a time or facts (RFC 3659) stand before it
		}
		meant = []string{second}
	case timedPath:
		meant = []string{arg}
		if _, second, found := strings.Cut(arg, " "); found {
			meant = append(meant, second)
		}
	case digest:
		meant = withoutNumbers(arg)
	case listing:
		if c.overtakes() {
			return nil, nil // how the server is
		}
		if meant, err = listed(arg); err != nil {
			return nil, err
		}
		if c.verb == "MLSD" || c.verb == "MLST" { // there are no options in RFC 3659
			meant = append(meant, arg)
		}
	}
	for _, text := range meant {
		at, err := resolve(wd, text)
		if err != nil {
			return nil, err
		}
		paths = append(paths, at)
	}
	return paths, nil
}

// withoutNumbers returns the argument of a digest as it stands, and without the one or two numbers behind a path that may be
// where it begins and ends.
func withoutNumbers(arg string) []string {
	all := []string{arg}
	for range 2 {
		i := strings.LastIndexByte(arg, ' ')
		if i < 0 || !decimals(arg[i+1:]) {
			break
		}
		arg = arg[:i]
		all = append(all, arg)
	}
	return all
}

// plainOptions are the letters of ls(1) that change how a directory is listed, and not how much of what is below.
const plainOptions = "1aAcCdFgGhiklLnopqrsStuU"

// listed returns what LIST and its kin list: options may stand before the path, or anywhere, as some servers hand the argument to
// ls(1). There each word is a path.
func listed(arg string) (meant []string, err error) {
	words := strings.Split(arg, " ")
	first := 0 // that is no option
	for i, word := range words {
		option := len(word) > 1 && word[0] == '-'
		if option && strings.Trim(word[1:], plainOptions) != "" {
			return nil, errOption
		}
		if option && i == first {
			first++
		}
	}
	meant = []string{strings.Join(words[first:], " ")}
	if len(words) == first+1 {
		return meant, nil
	}
	for _, word := range words[first:] {
		if len(word) < 2 || word[0] != '-' {
			meant = append(meant, word)
		}
	}
	return meant, nil
}

// resolve returns the path that the server will see for text, in the working directory wd, which is empty if it isn't known. An
// empty text is the working directory.
func resolve(wd, text string) (string, error) {
	if err := checkPath(text); err != nil {
		return "", err
	}
	var names []string
	if !strings.HasPrefix(text, "/") {
		if wd == "" {
			return "", errDirectory
		}
		names = split(wd)
	}
	up := text == "" || text[0] != '/' // nothing but .. so far
	for _, name := range strings.Split(text, "/") {
		switch {
		case name == "", name == ".":
		case name == ".." && !up:
			return "", errParent
		case name == "..":
			names = names[:max(0, len(names)-1)]
		default:
			if err := checkName(name); err != nil {
				return "", err
			}
			names, up = append(names, name), false
		}
	}
	return "/" + strings.Join(names, "/"), nil
}

// split returns the names in a path that resolve has made.
func split(path string) []string {
	if path == "/" {
		return nil
	}
	return strings.Split(path[1:], "/")
}

// checkPath refuses what not all servers take for the same path.
func checkPath(text string) error {
	switch {
	case !utf8.ValidString(text):
		return errNotUTF8
	case strings.ContainsFunc(text, unicode.IsControl):
		return errControl
	case strings.ContainsAny(text, `*?[{`):
		return errPattern
	case strings.Contains(text, `\`):
		return errBackslash
	case text != "" && strings.IndexByte(" ~'\"`", text[0]) >= 0:
		return errBegins
	case strings.HasPrefix(text, "//"):
		return errTwoSlashes
	case len(text) > 1 && text[1] == ':' && (text[0]|0x20 >= 'a' && text[0]|0x20 <= 'z'):
		return errDrive
	}
	return nil
}

// checkName refuses a name that may be another one.
func checkName(name string) error {
	if strings.Trim(name, ". ") == "" {
		return errDots
	}
	if i := strings.LastIndexByte(name, '~'); i >= 0 && i+1 < len(name) && digit(name[i+1]) {
		return errShort
	}
	return nil
}
