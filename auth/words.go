package auth

import (
	"errors"
	"strings"
)

// splitWords splits a command line as sshd does (argv_split in misc.c), and as no shell does: words are separated by blanks and
// tabs; in single or double quotes those are part of a word; a backslash before a quote, a backslash or, outside of
// quotes, a blank takes its meaning away, and stands for itself before anything else.
func splitWords(line string) ([]string, error) {
	var words []string
	for i := 0; i < len(line); {
		if isBlank(line[i]) {
			i++
			continue
		}
		var (
			word  strings.Builder
			quote byte
		)
	word:
		for ; i < len(line); i++ {
			switch b := line[i]; {
			case b == '\\' && i+1 < len(line) && (strings.IndexByte(`'"\`, line[i+1]) >= 0 || quote == 0 && line[i+1] == ' '):
				i++
				word.WriteByte(line[i])
			case quote == 0 && isBlank(b):
				break word
			case quote == 0 && (b == '"' || b == '\''):
				quote = b
			case quote != 0 && b == quote:
				quote = 0
			default:
				word.WriteByte(b)
			}
		}
		if quote != 0 {
			return nil, errors.New("a quote is not closed")
		}
		words = append(words, word.String())
	}
	return words, nil
}

func isBlank(b byte) bool { return b == ' ' || b == '\t' }
