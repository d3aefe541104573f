package sshconfig

import (
	"fmt"
	"slices"
	"strings"
)

// Keyword is one word of a configuration, whose value goes into a C.
type Keyword[C any] struct {
	name   string
	many   bool // every value counts
	spaced bool // the value is several words
	assign func(c *C, value string) error
}

// One is a keyword of which the first value counts.
func One[C any](name string, assign func(c *C, value string) error) Keyword[C] {
	return Keyword[C]{name: name, assign: assign}
}

// Many is a keyword of which every value counts.
func Many[C any](name string, assign func(c *C, value string) error) Keyword[C] {
	return Keyword[C]{name: name, many: true, assign: assign}
}

// Spaced is k with a value of several words: assign is given them as [Join] writes them.
func (k Keyword[C]) Spaced() Keyword[C] {
	k.spaced = true
	return k
}

// Table is the keywords that there are, by their names in lower case.
type Table[C any] map[string]Keyword[C]

// NewTable returns the table of all.
func NewTable[C any](all ...Keyword[C]) Table[C] {
	t := make(Table[C], len(all))
	for _, k := range all {
		t[strings.ToLower(k.name)] = k
	}
	return t
}

// Has reports whether there is such a keyword.
func (t Table[C]) Has(keyword string) bool {
	_, ok := t[strings.ToLower(keyword)]
	return ok
}

// Names are the keywords as they are written.
func (t Table[C]) Names() []string {
	var names []string
	for _, k := range t {
		names = append(names, k.name)
	}
	slices.Sort(names)
	return names
}

// Set gives keyword its value in c. As in ssh_config(5), the first value counts and later ones are ignored, except for
// the keywords that may be given several times; case doesn't matter. A wrong value is an error all the same: it goes
// into spare. What has its value already is remembered in seen.
func (t Table[C]) Set(c, spare *C, seen map[string]bool, keyword, value string) error {
	name := strings.ToLower(keyword)
	k, ok := t[name]
	if !ok {
		return fmt.Errorf("unknown option %q: culvert(1) lists the ones there are", keyword)
	}
	if seen[name] && !k.many {
		c = spare
	}
	if err := k.assign(c, value); err != nil {
		return fmt.Errorf("%s: %w", k.name, err)
	}
	seen[name] = true
	return nil
}

// SetWords is [Table.Set] for the words of a line.
func (t Table[C]) SetWords(c, spare *C, seen map[string]bool, keyword string, words []string) error {
	k, ok := t[strings.ToLower(keyword)]
	switch {
	case ok && len(words) == 0:
		return fmt.Errorf("%s: the value is missing", k.name)
	case ok && k.spaced:
		return t.Set(c, spare, seen, keyword, Join(words))
	case ok && len(words) > 1:
		return fmt.Errorf("%s: %q is one word too many", k.name, words[1])
	case ok && words[0] == "":
		return fmt.Errorf("%s: the value is empty", k.name)
	}
	return t.Set(c, spare, seen, keyword, strings.Join(words, " "))
}
