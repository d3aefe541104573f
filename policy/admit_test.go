package policy

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestAdmit(t *testing.T) {
	users := func(source, text string) []Line[[]UserPattern] {
		line := Line[[]UserPattern]{Source: source}
		for _, word := range strings.Fields(text) {
			p, err := ParseUserPattern(word)
			if err != nil {
				t.Fatal(err)
			}
			line.Value = append(line.Value, p)
		}
		return []Line[[]UserPattern]{line}
	}
	groups := func(source, text string) []Line[[]GroupPattern] {
		return whoLines(t, source, strings.Fields(text), ParseGroupPattern)
	}
	match := func(list string) Criteria {
		c, err := MatchUser(list)
		if err != nil {
			t.Fatal(err)
		}
		return Criteria{c}
	}
	for _, test := range []struct {
		name    string
		policy  Policy
		allowed bool
		rule    string
		reason  string
	}{
		{"nothing is said", Policy{}, true, "", "no line is against it"},
		{"DenyUsers", Policy{Global: Rules{DenyUsers: users("f:1", "bob alice")}}, false, "f:1", "DenyUsers alice"},
		{"DenyUsers of others", Policy{Global: Rules{DenyUsers: users("f:1", "bob")}}, true, "", "no line is against it"},
		{"AllowUsers", Policy{Global: Rules{AllowUsers: users("f:1", "bob al*")}}, true, "f:1", "AllowUsers al*"},
		{"AllowUsers of others", Policy{Global: Rules{AllowUsers: users("f:1", "bob")}}, false, "f:1", "not in AllowUsers"},
		{"AllowUsers from here", Policy{Global: Rules{AllowUsers: users("f:1", "alice@192.0.2.0/24")}}, true, "f:1", "AllowUsers alice@192.0.2.0/24"},
		{"AllowUsers from elsewhere", Policy{Global: Rules{AllowUsers: users("f:1", "alice@198.51.100.0/24")}}, false, "f:1", "not in AllowUsers"},
		{"deny before allow", Policy{Global: Rules{AllowUsers: users("f:1", "alice"), DenyUsers: users("f:2", "alice")}}, false, "f:2", "DenyUsers alice"},
		{"users before groups", Policy{Global: Rules{AllowUsers: users("f:1", "bob"), DenyGroups: groups("f:2", "staff")}}, false, "f:1", "not in AllowUsers"},
		{"allowed by name, denied by group", Policy{Global: Rules{AllowUsers: users("f:1", "alice"), DenyGroups: groups("f:2", "staff")}}, false, "f:2.0", "DenyGroups staff"},
		{"AllowGroups", Policy{Global: Rules{AllowUsers: users("f:1", "alice"), AllowGroups: groups("f:2", "wheel fin*")}}, true, "f:2.1", "AllowGroups fin*"},
		{"AllowGroups of others", Policy{Global: Rules{AllowGroups: groups("f:2", "wheel")}}, false, "f:2.0", "not in AllowGroups"},
		{"a Match list takes the place of the global one", Policy{
			Global: Rules{AllowUsers: users("f:1", "alice")},
			Blocks: []Block{{Criteria: match("*"), Rules: Rules{AllowUsers: users("f:3", "bob")}}},
		}, false, "f:3", "not in AllowUsers"},
		{"the lists of matching blocks add up", Policy{
			Global: Rules{AllowUsers: users("f:1", "carol")},
			Blocks: []Block{
				{Criteria: match("*"), Rules: Rules{AllowUsers: users("f:3", "bob")}},
				{Criteria: match("bob"), Rules: Rules{DenyUsers: users("f:5", "*")}},
				{Criteria: match("alice"), Rules: Rules{AllowUsers: users("f:7", "alice")}},
			},
		}, true, "f:7", "AllowUsers alice"},
	} {
		s := Subject{User: "alice", Groups: []string{"staff", "finance"}, Addr: netip.MustParseAddr("192.0.2.7")}
		if d := test.policy.Admit(s, time.Time{}); d.Allowed() != test.allowed || d.Rule != test.rule || d.Reason != test.reason {
			t.Errorf("%s:\n got %v %q %q\nwant %v %q %q", test.name, d.Allowed(), d.Rule, d.Reason, test.allowed, test.rule, test.reason)
		}
		if test.policy.Admit(Subject{}, time.Time{}).Allowed() {
			t.Errorf("%s: nobody is admitted", test.name)
		}
	}
	nobody := Subject{User: "alice"}
	if d := (&Policy{Global: Rules{DenyGroups: groups("f:1", "wheel")}}).Admit(nobody, time.Time{}); d.Allowed() || d.Rule != "f:1.0" {
		t.Errorf("in no group: got %+v, want a denial by f:1.0, as sshd", d)
	}
	if (*Policy)(nil).Admit(nobody, time.Time{}).Allowed() {
		t.Error("no policy admits somebody")
	}
}
