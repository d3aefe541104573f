package policy

import "strings"

// String returns the list in canonical form; [ParseAddressList] reads it back to l. It is empty for the zero AddressList.
func (l AddressList) String() string {
	words := make([]string, len(l.patterns))
	for i, p := range l.patterns {
		words[i] = p.String()
	}
	return strings.Join(words, ",")
}

func (p addressPattern) String() string {
	text := p.glob
	if p.net.IsValid() {
		text = p.net.String()
		if p.net.IsSingleIP() {
			text = p.net.Addr().String()
		}
	}
	if p.negated {
		text = "!" + text
	}
	return text
}
