package auth

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// tokens are what %-letters stand for in a path or a command. What isn't known of a user is not among them, so that
// a word that wants it serves nobody.
type tokens map[byte]string

// tokens are those that stand in paths: the user name, and of a user of the operating system also home and number.
func (a account) tokens(user string) tokens {
	t := tokens{'u': user}
	if a.home != "" {
		t['h'] = a.home
	}
	if a.uid != "" {
		t['U'] = a.uid
	}
	return t
}

// UserPath puts what the tokens %%, %h, %U and %u stand for into a path of a user's. What isn't known of the user is an error.
func UserPath(path, user string) (string, error) {
	if err := ValidUser(user); err != nil {
		return "", err
	}
	of := systemAccount(user)
	if of.err != nil {
		return "", fmt.Errorf("look up the account: %w", of.err)
	}
	return expand(path, of.tokens(user))
}

// expand puts what tokens stand for into word. %% is %.
func expand(word string, t tokens) (string, error) {
	var text strings.Builder
	for rest := word; ; {
		before, after, found := strings.Cut(rest, "%")
		text.WriteString(before)
		if !found {
			return text.String(), nil
		}
		if after == "" {
			return "", fmt.Errorf("%q ends with %%: a %% is written %%%%", word)
		}
		value, known := t[after[0]]
		switch {
		case after[0] == '%':
			text.WriteByte('%')
		case known:
			text.WriteString(value)
		default:
			return "", fmt.Errorf("%q: nothing is known here for %%%c, but for %%%s", word, after[0], letters(t))
		}
		rest = after[1:]
	}
}

func letters(t tokens) string { return string(slices.Sorted(maps.Keys(t))) }

// namesUser reports whether there is a file of its own for each user.
func namesUser(path string) bool {
	return strings.Contains(strings.ReplaceAll(path, "%%", ""), "%u")
}
