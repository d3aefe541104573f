package config

import (
	"errors"
	"fmt"
	"strings"
)

// maxLine bounds a line, in bytes; a PermitOpen of a thousand words fits.
const maxLine = 64 << 10

// splitLine splits a line into its keyword and the words after it, as sshd does: between the
// keyword and its value there may be one =, a # begins a comment where a word would begin. An
// empty line and a comment have no keyword.
func splitLine(text string) (keyword string, words []string, err error) {
	if len(text) > maxLine {
		return "", nil, fmt.Errorf("the line is over %d bytes", maxLine)
	}
	text = strings.Trim(text, " \t\r\f")
	if text == "" || text[0] == '#' {
		return "", nil, nil
	}
	for i := range len(text) {
		if c := text[i]; c < ' ' && c != '\t' || c == 0x7f {
			return "", nil, fmt.Errorf("the line has the control character %q", c)
		}
	}
	end := strings.IndexAny(text, " \t=\"")
	if end < 0 {
		return text, nil, nil
	}
	keyword, value := text[:end], strings.TrimLeft(text[end:], " \t")
	value, _ = strings.CutPrefix(value, "=")
	words, err = splitWords(value)
	return keyword, words, err
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
