package sshconfig

import (
	"crypto/sha1" //nolint:gosec // %C names a file, and ssh(1) names it so
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Tokens are what stands for % and a letter in values of ssh_config(5).
type Tokens struct {
	Host         string // %h: what is connected to
	Typed        string // %n: as it was typed
	Port         string // %p
	User         string // %r: who logs in
	LocalUser    string // %u: who is at this machine
	Home         string // %d
	HostKeyAlias string // %k: or, if there is none, the host
	Jump         string // %j: the host of the last hop
}

// Path expands a value in which all tokens and variables of the environment, as ${NAME}, may stand.
func (t Tokens) Path(value string) (string, error) {
	return expand(value, t.all(), os.LookupEnv)
}

// Text expands a value in which all tokens may stand, and no variables.
func (t Tokens) Text(value string) (string, error) { return expand(value, t.all(), nil) }

// Command expands ProxyCommand, or if all is set, a command in which every token may stand. What a shell would take for more
// than a word must not come in by a token: names of hosts and users are often somebody else's idea, and a port may not have been looked at yet.
func (t Tokens) Command(value string, all bool) (string, error) {
	tokens := t.all()
	if !all {
		tokens = map[byte]string{'h': t.Host, 'n': t.Typed, 'p': t.Port, 'r': t.User, 'k': t.HostKeyAlias}
	}
	for key, text := range tokens {
		if !strings.Contains(value, "%"+string(key)) || !strings.ContainsRune("hnprkj", rune(key)) {
			continue
		}
		if strings.HasPrefix(text, "-") || strings.ContainsAny(text, "'`\"$\\;&<>|(){}\n\r\t *?!~#") {
			return "", fmt.Errorf("%%%c stands for %q, which a shell would not take for a name", key, text)
		}
	}
	return expand(value, tokens, nil)
}

func (t Tokens) all() map[byte]string {
	machine, _ := os.Hostname() // without a name, it has none
	short, _, _ := strings.Cut(machine, ".")
	//nolint:gosec // as above
	sum := sha1.Sum([]byte(machine + t.Host + t.Port + t.User + t.Jump))
	return map[byte]string{
		'h': t.Host, 'n': t.Typed, 'p': t.Port, 'r': t.User, 'u': t.LocalUser, 'd': t.Home, 'k': t.HostKeyAlias, 'j': t.Jump,
		'l': machine, 'L': short, 'i': strconv.Itoa(os.Getuid()), 'C': hex.EncodeToString(sum[:]),
	}
}

// expand puts values in the places of tokens and, with lookup, of variables. A token or variable that there isn't is an error.
func expand(text string, tokens map[byte]string, lookup func(string) (string, bool)) (string, error) {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '%':
			if i++; i == len(text) {
				return "", fmt.Errorf("%q ends with a %%: write %%%%", text)
			}
			value, ok := tokens[text[i]]
			if text[i] == '%' {
				value, ok = "%", true
			}
			if !ok {
				return "", fmt.Errorf("%q: there is no %%%c here", text, text[i])
			}
			b.WriteString(value)
		case lookup != nil && strings.HasPrefix(text[i:], "${"):
			name, _, ok := strings.Cut(text[i+2:], "}")
			if !ok || name == "" {
				return "", fmt.Errorf("%q: a variable is written ${NAME}", text)
			}
			value, ok := lookup(name)
			if !ok {
				return "", fmt.Errorf("%q: there is no %s in the environment", text, name)
			}
			b.WriteString(value)
			i += len(name) + 2
		default:
			b.WriteByte(text[i])
		}
		if b.Len() > maxLine {
			return "", errors.New("the value is too long")
		}
	}
	return b.String(), nil
}

// LastHop returns the host of the last word of ProxyJump, or nothing if it has none.
func LastHop(jump string) string {
	if strings.EqualFold(jump, "none") {
		return ""
	}
	hop := jump[strings.LastIndexByte(jump, ',')+1:]
	hop, _ = CutPrefixFold(hop, "ssh://")
	hop = strings.TrimSuffix(hop[strings.LastIndexByte(hop, '@')+1:], "/")
	fields, err := Fields(hop)
	if err != nil || len(fields) > 2 {
		return hop
	}
	return fields[0]
}
