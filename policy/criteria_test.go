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
		Groups:    []string{"staff", "finance"},
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
		{"group", MatchGroup, "finance", true},
		{"group", MatchGroup, "wheel,fin*", true},
		{"group", MatchGroup, "Finance", false},
		{"group", MatchGroup, "finance,!staff", false}, // another of her groups is negated
		{"group", MatchGroup, "!wheel", false},
		{"group", MatchGroup, "!wheel,*", true},
		{"host", MatchHost, "192.0.2.*", true}, // she has no name, so it is the address
		{"host", MatchHost, "*.example.com", false},
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
		{MatchGroup, ",a", `the list ",a" has an empty pattern`},
		{MatchHost, "10.0.0.0/8", `"10.0.0.0/8" is no pattern of host names: a network is for the criterion address`},
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

func TestMatchHostTakesTheName(t *testing.T) {
	s := Subject{User: "alice", Host: "Gate.Example.COM", Addr: netip.MustParseAddr("192.0.2.7")}
	for list, want := range map[string]bool{
		"*.example.com": true, "*.EXAMPLE.com": true, "192.0.2.7": false, "*,!gate.*": false, "example.com": false,
	} {
		c, err := MatchHost(list)
		if err != nil {
			t.Fatal(err)
		}
		if got := (Criteria{c}).Match(s, time.Time{}); got != want {
			t.Errorf("host %s: got %v, want %v", list, got, want)
		}
	}
}

func TestMatchInvalidUser(t *testing.T) {
	c := Criteria{MatchInvalidUser()}
	if c.Match(Subject{User: "alice"}, time.Time{}) || !c.Match(Subject{User: "mallory", Invalid: true}, time.Time{}) {
		t.Error("invalid-user must match whoever nobody knows, and nobody else")
	}
}

func TestCriteriaReadAsTheyWereWritten(t *testing.T) {
	group, _ := MatchGroup("finance,!guests")
	port, _ := MatchLocalPort("22")
	const want = "Group finance,!guests LocalPort 22 invalid-user"
	if got := (Criteria{group, port, MatchInvalidUser()}).String(); got != want {
		t.Errorf("got %q, want %q", got, want)
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
