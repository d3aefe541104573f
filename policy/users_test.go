package policy

import (
	"net/netip"
	"testing"
)

func TestUserPattern(t *testing.T) {
	for _, test := range []struct {
		word, user, host, addr string
		want                   bool
	}{
		{"alice", "alice", "", "192.0.2.7", true},
		{"alice", "Alice", "", "192.0.2.7", false},
		{"al*", "alice", "", "192.0.2.7", true},
		{"*", "", "", "192.0.2.7", false},
		{"alice@192.0.2.7", "alice", "", "192.0.2.7", true},
		{"alice@192.0.2.7", "alice", "", "::ffff:192.0.2.7", true},
		{"alice@192.0.2.7", "bob", "", "192.0.2.7", false},
		{"alice@192.0.2.0/24", "alice", "gate.example.com", "192.0.2.7", true},
		{"alice@192.0.2.*", "alice", "gate.example.com", "192.0.2.7", true},
		{"alice@198.51.100.0/24", "alice", "", "192.0.2.7", false},
		{"*@2001:db8::/32", "alice", "", "2001:db8::1", true},
		{"alice@*.example.com", "alice", "Gate.example.com", "192.0.2.7", true},
		{"alice@*.Example.com", "alice", "gate.example.com", "192.0.2.7", true},
		{"alice@*.example.com", "alice", "", "192.0.2.7", false},
		{"alice@192.0.2.0/24,!192.0.2.7", "alice", "", "192.0.2.7", false},
		{"alice@192.0.2.0/24,!gate.*", "alice", "gate.example.com", "192.0.2.7", false},
		{"alice@!198.51.100.0/24", "alice", "", "192.0.2.7", false}, // nothing but a negation never matches
		{"alice@corp@192.0.2.7", "alice@corp", "", "192.0.2.7", true},
		{"alice@*", "alice", "", "", false}, // nobody knows from where
	} {
		p, err := ParseUserPattern(test.word)
		if err != nil {
			t.Errorf("%s: %v", test.word, err)
			continue
		}
		s := Subject{User: test.user, Host: test.host}
		if test.addr != "" {
			s.Addr = netip.MustParseAddr(test.addr)
		}
		if got := p.matches(s); got != test.want {
			t.Errorf("%s for %q from %q, %s: got %v, want %v", test.word, test.user, test.host, test.addr, got, test.want)
		}
	}
	if (UserPattern{}).matches(Subject{User: "alice"}) || (GroupPattern{}).matches("staff") {
		t.Error("a zero pattern matches somebody")
	}
}

func TestUserAndGroupPatternErrors(t *testing.T) {
	for word, want := range map[string]string{
		"":                   `user "" is empty: everybody is *`,
		"@192.0.2.7":         `user "@192.0.2.7" is empty: everybody is *`,
		"!alice":             `user "!alice" can't be negated: there are lines for Deny and for Allow`,
		"alice@":             `user "alice@": after the @ the list "" has an empty pattern`,
		"alice@192.0.2.1/24": `user "alice@192.0.2.1/24": after the @ network "192.0.2.1/24" has host bits set: write 192.0.2.0/24`,
		"alice@host/8":       `user "alice@host/8": after the @ "host/8" is neither an address nor a network`,
	} {
		if _, err := ParseUserPattern(word); err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", word, err, want)
		}
	}
	for word, want := range map[string]string{
		"":       `group "" is empty: everybody is *`,
		"!staff": `group "!staff" can't be negated: there are lines for Deny and for Allow`,
	} {
		if _, err := ParseGroupPattern(word); err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", word, err, want)
		}
	}
}

// FuzzParseUserPattern holds that what is read is written in a form that reads back to the same, and that it
// matches nobody who isn't named.
func FuzzParseUserPattern(f *testing.F) {
	for _, word := range []string{"alice", "*@192.0.2.0/24", "al?ce@*.example.com,!gate.*,2001:db8::1", "a@b@c", "!x", "x@"} {
		f.Add(word)
	}
	f.Fuzz(func(t *testing.T, word string) {
		p, err := ParseUserPattern(word)
		if err != nil {
			if p.user != "" || p.from != nil {
				t.Fatalf("%q: %v, and yet %+v", word, err, p)
			}
			return
		}
		if again, err := ParseUserPattern(p.String()); err != nil || again.user != p.user || len(again.from) != len(p.from) {
			t.Fatalf("%q is written as %q, which reads back to %+v, %v", word, p, again, err)
		}
		if p.matches(Subject{Addr: netip.MustParseAddr("192.0.2.7")}) {
			t.Errorf("%q matches nobody at all", word)
		}
	})
}
