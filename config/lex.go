package config

import (
	"errors"
	"fmt"
	"strings"
)

// maxLine bounds a line, in bytes; a PermitOpen of a thousand words fits.
const maxLine = 64 << 10

// cutLine cuts a line into its keyword and what stands after it, as sshd does: between the two there may be one =. An
// empty line and a comment have no keyword.
func cutLine(text string) (keyword, rest string, err error) {
	if len(text) > maxLine {
		return "", "", fmt.Errorf("the line is over %d bytes", maxLine)
	}
	text = strings.Trim(text, " \t\r\f")
	if text == "" || text[0] == '#' {
		return "", "", nil
	}
	for i := range len(text) {
		if c := text[i]; c < ' ' && c != '\t' || c == 0x7f {
			return "", "", fmt.Errorf("the line has the control character %q", c)
		}
	}
	end := strings.IndexAny(text, " \t=\"")
	if end < 0 {
		return text, "", nil
	}
	keyword, rest = text[:end], strings.TrimLeft(text[end:], " \t")
	rest, _ = strings.CutPrefix(rest, "=")
	return keyword, strings.TrimLeft(rest, " \t"), nil
}

// splitWords splits at blanks. Quotes, of either kind and anywhere in a word, keep blanks and #; a
// backslash keeps a quote or a backslash from meaning anything, and outside of quotes a blank.
func splitWords(text string) ([]string, error) {
	var words []string
	for {
		text = strings.TrimLeft(text, " \t")
		if text == "" || text[0] == '#' {
			return words, nil
		}
		word, rest, err := splitWord(text)
		if err != nil {
			return nil, err
		}
		words, text = append(words, word), rest
	}
}

func splitWord(text string) (word, rest string, err error) {
	var b strings.Builder
	var quote byte // 0 outside of quotes
	i := 0
	for ; i < len(text); i++ {
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

// splitCommand splits a command line, in which a # is a character like any other.
func splitCommand(text string) ([]string, error) {
	var words []string
	for {
		if text = strings.TrimLeft(text, " \t"); text == "" {
			return words, nil
		}
		word, rest, err := splitWord(text)
		if err != nil {
			return nil, err
		}
		words, text = append(words, word), rest
	}
}

// quoteWord writes a word so that it reads back as one word: [splitWords] of it is word alone.
func quoteWord(word string) string {
	if word != "" && !strings.ContainsAny(word, " \t\"'\\") && word[0] != '#' && word[0] != '=' {
		return word
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(word) + `"`
}
