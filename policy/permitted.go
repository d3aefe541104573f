package policy

import (
	"slices"
	"time"
)

// Permitted returns the PermitOpen words that apply to s, narrowed by its key, for a text shown to
// users. It is not a decision: DenyOpen isn't taken off, and where what the key and the
// configuration both permit can't be said in a word, it is the key's.
func (p *Policy) Permitted(s Subject, now time.Time) []string {
	if p == nil || s.User == "" {
		return nil
	}
	rules := p.rulesFor(s, now, nil)
	if _, denied := rules.forwardingDenied(ForwardLocal, s.KeyRules, nil); denied || rules.PermitOpen == nil {
		return nil
	}
	var words []string
	for _, word := range narrow(rules.PermitOpen.Value, s.KeyRules) {
		if w := word.String(); !slices.Contains(words, w) {
			words = append(words, w)
		}
	}
	return words
}

func narrow(permit []OpenPattern, key *KeyRules) []OpenPattern {
	if key == nil || len(key.PermitOpen) == 0 {
		return permit
	}
	var both []OpenPattern
	for _, p := range permit {
		for _, k := range key.PermitOpen {
			if m, ok := p.meet(k); ok {
				both = append(both, m)
			}
		}
	}
	return both
}
