package config

import (
	"slices"
	"strings"

	"github.com/culvert-ssh/culvert/policy"
)

// keyword is a row of the table that drives reading, validation, defaults and -T.
type keyword struct {
	name     string
	aliases  []string // what OpenSSH has called it before
	where    where
	repeats  repeats
	wants    string   // its value, in words that go on after "wants"
	standard []string // the default, one element a line as it would be written; nil if there is none
	value
	wholeLine bool // its value is the rest of the line as it stands, quotes and all

	// remarks are what to warn of in a valid value. If nil, there is nothing.
	remarks func(words []string) []string
	// rule hands a line on to the policy; nil if the policy has no part in it. What the scope
	// says already stays.
	rule func(r *policy.Rules, source string, s Settings)
}

// parser turns the words after a keyword into a setter.
type parser func(words []string) (setter, error)

// where a keyword may stand.
type where int

const (
	anywhere     where = iota
	outsideMatch       // as with sshd, or because there is one of it
	notYetMatch        // sshd takes it inside Match, and this version doesn't serve it there
)

// repeats is what a keyword that stands there twice means.
type repeats int

const (
	firstWins repeats = iota
	accumulates
	accumulatesUnlessOverridden // a line of -o replaces those of the file
	accumulatesInMatch          // lines in Match blocks together replace the global ones, which accumulate among themselves
)

// keywords are in the order in which -T shows them.
var keywords = slices.Concat(listenKeywords, keyKeywords, whoKeywords, whatKeywords, ftpKeywords, ftpTLSKeywords, limitKeywords, recordKeywords)

func findKeyword(name string) *keyword {
	for i := range keywords {
		if keywords[i].called(name) {
			return &keywords[i]
		}
	}
	return nil
}

func (k *keyword) called(name string) bool {
	is := func(n string) bool { return strings.EqualFold(n, name) }
	return is(k.name) || slices.ContainsFunc(k.aliases, is)
}

// firstRule sets what the scope doesn't say yet.
func firstRule[T any](have **policy.Line[T], source string, v T) {
	if *have == nil {
		*have = &policy.Line[T]{Source: source, Value: v}
	}
}
