package sshconfig

import (
	"strings"
	"unicode"
)

// Printable makes one short line of what a peer said, with nothing in it that a terminal or
// an FTP client would obey.
func Printable(s string) string {
	const most = 500 // bytes; a line of a log
	if len(s) > most {
		s = s[:most] + "..."
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}
