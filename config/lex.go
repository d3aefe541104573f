package config

import (
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
