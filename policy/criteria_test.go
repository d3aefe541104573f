package policy

import (
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestCriteria(t *testing.T) {
	s := Subject{
		User:      "alice",
		Addr:      netip.MustParseAddr("::ffff:192.0.2.7"),
		LocalAddr: netip.MustParseAddrPort("[2001:db8::5]:2222"),
	}
	for _, test := range []struct {
		name  string
		parse func(string) (Criterion, error)
		value string
		want  bool
	}{
		{"user", MatchUser, "alice", true},
		{"user", MatchUser, "bob,al*", true},
		{"user", MatchUser, "Alice", false},
		{"user", MatchUser, "al?ce", true},
		{"user", MatchUser, "*,!alice", false},
		{"user", MatchUser, "!alice,*", false},
		{"user", MatchUser, "!bob", false}, // nothing but negations never matches
		{"user", MatchUser, "!bob,*", true},
		{"address", MatchAddress, "192.0.2.7", true},
		{"address", MatchAddress, "192.0.2.0/24", true},
		{"address", MatchAddress, "192.0.2.*", true},
		{"address", MatchAddress, "192.0.2.0/24,!192.0.2.7", false},
		{"address", MatchAddress, "198.51.100.0/24,2001:db8::/32", false},
		{"address", MatchAddress, "::ffff:192.0.2.7", true},
		{"localaddress", MatchLocalAddress, "2001:db8::/32", true},
		{"localaddress", MatchLocalAddress, "2001:DB8::*", true},
		{"localaddress", MatchLocalAddress, "192.0.2.7", false},
		{"localport", MatchLocalPort, "2222", true},
		{"localport", MatchLocalPort, "22", false},
	} {
		c, err := test.parse(test.value)
		if err != nil {
			t.Errorf("%s %s: %v", test.name, test.value, err)
			continue
		}
		if got := (Criteria{c}).Match(s, time.Time{}); got != test.want {
			t.Errorf("%s %s: got %v, want %v", test.name, test.value, got, test.want)
		}
		if (Criteria{c}).Match(Subject{}, time.Time{}) {
			t.Errorf("%s %s matches nobody at all", test.name, test.value)
		}
		if never, _ := MatchUser("bob"); (Criteria{c, never}).Match(s, time.Time{}) {
			t.Errorf("%s %s and user bob: matches, though one of them doesn't", test.name, test.value)
		}
	}
	if !(Criteria{MatchAll()}).Match(Subject{}, time.Time{}) || (Criteria{}).Match(s, time.Time{}) {
		t.Error("all must match everybody, and no criteria nobody")
	}
}

func TestCriteriaErrors(t *testing.T) {
	for _, test := range []struct {
		parse       func(string) (Criterion, error)
		value, want string
	}{
		{MatchUser, "", `the list "" has an empty pattern`},
		{MatchUser, "a,,b", `the list "a,,b" has an empty pattern`},
		{MatchUser, "a,!", `the list "a,!" has an empty pattern`},
		{MatchAddress, "192.0.2.1/24", `network "192.0.2.1/24" has host bits set: write 192.0.2.0/24`},
		{MatchAddress, "example.com", `"example.com" is neither an address nor a network`},
		{MatchAddress, "*.example.com", `"*.example.com" is not a pattern of addresses`},
		{MatchLocalPort, "0", `port "0" is out of range`},
		{MatchLocalPort, "22,23", `port "22,23" is not a number`},
	} {
		if _, err := test.parse(test.value); err == nil || err.Error() != test.want {
			t.Errorf("%q: got %v, want %s", test.value, err, test.want)
		}
	}
}

func FuzzGlob(f *testing.F) {
	f.Add("db*.c?rp", "db1.corp")
	f.Add("***a", "aaab")
	f.Fuzz(func(t *testing.T, pattern, s string) {
		if len(pattern) > 100 || strings.ContainsFunc(pattern+s, func(r rune) bool { return r >= 0x80 }) {
			return
		}
		quoted := strings.NewReplacer(`\*`, `.*`, `\?`, `.`).Replace(regexp.QuoteMeta(pattern))
		want := regexp.MustCompile(`\A(?s:` + quoted + `)\z`).MatchString(s)
		if got := glob(pattern, s); got != want {
			t.Errorf("pattern %q on %q: got %v, want %v", pattern, s, got, want)
		}
	})
}
