package config

import (
	"fmt"
	"io"
	"strings"

	"github.com/culvert-ssh/culvert/sshconfig"
)

// Dump writes s as sshd -T does, a keyword in lower case and its value on each line, and also the keywords of OpenSSH that have one
// value here. What it writes reads back to s, as a file without any Match.
func (s Settings) Dump(w io.Writer) error {
	for i := range keywords {
		k := &keywords[i]
		for _, words := range k.show(&s) {
			if err := writeLine(w, k.name, k.line(words)); err != nil {
				return err
			}
		}
	}
	for _, f := range foreigns {
		if len(f.so) > 0 {
			if err := writeLine(w, f.name, f.so[0]); err != nil {
				return err
			}
		}
	}
	return nil
}

func writeLine(w io.Writer, name, value string) error {
	_, err := fmt.Fprintf(w, "%s %s\n", strings.ToLower(name), value)
	return err
}

// line returns what stands after the keyword so that the words are read.
func (k *keyword) line(words []string) string {
	if !k.wholeLine {
		quoted := make([]string, len(words))
		for i, word := range words {
			quoted[i] = sshconfig.Quote(word)
		}
		return strings.Join(quoted, " ")
	}
	if strings.HasPrefix(words[0], "=") {
		return "= " + words[0] // or it would be taken for the one that may stand there
	}
	return words[0]
}
