package sshconfig

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// maxLine bounds a line, in bytes; a Host of a thousand patterns fits.
const maxLine = 64 << 10

// Position is where something stands: a file and a line, counted from 1. Line 0 is the file as a whole.
type Position struct {
	File string
	Line int
}

func (p Position) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d", p.File, p.Line)
}

// Error is one thing that is wrong with a file.
type Error struct {
	At      Position
	Keyword string // as written; empty if none was read, or if Err has it
	Err     error
}

func (e *Error) Error() string {
	if e.Keyword == "" {
		return e.At.String() + ": " + e.Err.Error()
	}
	return e.At.String() + ": " + e.Keyword + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Line is a line that says something.
type Line struct {
	At      Position
	Keyword string   // as written
	Words   []string // what stands after it, without quotes and comments

	ours bool // nobody but us and root can write to the file
}

// fail is err with the place of l, unless it has one.
func (l Line) fail(err error) error {
	if placed := (*Error)(nil); errors.As(err, &placed) {
		return err
	}
	return &Error{At: l.At, Keyword: l.Keyword, Err: err}
}

// Split is the line grammar of ssh_config(5): a keyword, then space, or "=" with optional space around it, then words.
// Quotes of either kind, and backslashes before quotes, backslashes and spaces, keep a word together; a # where a word
// could begin ends the line. After a keyword whose value is a command, what follows is one word, as it stands. A line that
// says nothing has no keyword.
func Split(line string) (keyword string, words []string, err error) {
	keyword, rest, err := cutKeyword(line)
	if err != nil || keyword == "" {
		return "", nil, err
	}
	words, err = Words(rest)
	if err != nil {
		return "", nil, fmt.Errorf("%s: %w", keyword, err)
	}
	if slices.Contains(commands, strings.ToLower(keyword)) && len(words) > 0 {
		words = []string{strings.TrimLeft(rest, " \t=")}
	}
	return keyword, words, nil
}

// commands are the keywords whose value is the rest of the line.
var commands = []string{"knownhostscommand", "localcommand", "proxycommand", "remotecommand", "versionaddendum"}

// cutKeyword cuts a line into its keyword and what stands after it.
func cutKeyword(line string) (keyword, rest string, err error) {
	if len(line) > maxLine {
		return "", "", fmt.Errorf("the line is over %d bytes", maxLine)
	}
	line = strings.Trim(line, " \t\r\n\f")
	if line == "" || line[0] == '#' {
		return "", "", nil
	}
	for i := range len(line) {
		if c := line[i]; c < ' ' && c != '\t' || c == 0x7f {
			return "", "", fmt.Errorf("the line has the control character %q", c)
		}
	}
	if line[0] == '"' { // ssh(1) takes a keyword in quotes
		keyword, rest, ok := strings.Cut(line[1:], `"`)
		if !ok || keyword == "" || strings.ContainsAny(keyword, " \t=#") {
			return "", "", errors.New("a quote stands where a keyword should")
		}
		return keyword, strings.TrimLeft(rest, " \t"), nil
	}
	end := strings.IndexAny(line, " \t=\"")
	switch {
	case end < 0:
		return line, "", nil
	case end == 0 || line[end] == '"':
		return "", "", fmt.Errorf("%q stands where a keyword should", line[end])
	}
	keyword, rest = line[:end], strings.TrimLeft(line[end:], " \t")
	rest, _ = strings.CutPrefix(rest, "=")
	return keyword, strings.TrimLeft(rest, " \t"), nil
}

// Words splits the value of a keyword into its words.
func Words(text string) ([]string, error) { return splitWords(text, true) }

// CommandWords splits a command, in which a # is a character like any other.
func CommandWords(text string) ([]string, error) { return splitWords(text, false) }

func splitWords(text string, comments bool) ([]string, error) {
	var words []string
	for {
		text = strings.TrimLeft(text, " \t")
		if text == "" || comments && text[0] == '#' {
			return words, nil
		}
		word, rest, err := cutWord(text)
		if err != nil {
			return nil, err
		}
		words, text = append(words, word), rest
	}
}

func cutWord(text string) (word, rest string, err error) {
	var b strings.Builder
	var quote byte // 0 outside of quotes
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '\\' && i+1 < len(text) && escapes(text[i+1], quote):
			i++
			b.WriteByte(text[i])
		case quote == 0 && (c == ' ' || c == '\t'):
			return b.String(), text[i:], nil
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case quote != 0 && c == quote:
			quote = 0
		default:
			b.WriteByte(c)
		}
	}
	if quote != 0 {
		return "", "", errors.New("a quote isn't closed")
	}
	return b.String(), "", nil
}

func escapes(c, quote byte) bool {
	return c == '"' || c == '\'' || c == '\\' || c == ' ' && quote == 0
}

// Join writes words as one value, which [Words] splits into them again.
func Join(words []string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = Quote(word)
	}
	return strings.Join(quoted, " ")
}

// Quote writes a word so that [Words] of it is the word alone.
func Quote(word string) string {
	if word != "" && !strings.ContainsAny(word, " \t\"'\\") && word[0] != '#' && word[0] != '=' {
		return word
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(word) + `"`
}
