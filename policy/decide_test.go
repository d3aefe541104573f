package policy

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// words parses words with blanks between.
func words(t testing.TB, text string) []OpenPattern {
	t.Helper()
	var all []OpenPattern
	for _, word := range strings.Fields(text) {
		p, err := ParseOpenPattern(word)
		if err != nil {
			t.Fatalf("word %q: %v", word, err)
		}
		all = append(all, p)
	}
	return all
}

func openLine(t testing.TB, source, text string) *Line[[]OpenPattern] {
	t.Helper()
	return &Line[[]OpenPattern]{Source: source, Value: words(t, text)}
}

func forward(source string, f Forwarding) *Line[Forwarding] {
	return &Line[Forwarding]{Source: source, Value: f}
}

// examplePolicy is the policy of the tests below, as if it were read from this file:
//
//	 1 PermitOpen db*.corp:5432,6432 10.1.0.0/16:22 [2001:db8::/32]:443 web.corp:8000-8099 plain.corp:21 ftp/*.corp:21 ftp/10.4.0.9:21
//	 2 DenyOpen 169.254.0.0/16:* 127.0.0.0/8:* [::1]:*
//	 3 DenyOpen secret.corp:*
//	 4 Match User bob
//	 5   PermitOpen *:*
//	 6   DenyOpen 10.1.9.0/24:*
//	 7   FTPDataPorts 50000-50100
//	 8 Match User carol
//	 9   AllowTcpForwarding no
//	10 Match User dave
//	11   PermitOpen
//	12 Match User erin
//	13   AllowTcpForwarding remote
//	14 Match User frank
//	15   FTPDataPorts 50000-50100
//	16   AllowTcpForwarding local
func examplePolicy(t testing.TB) *Policy {
	t.Helper()
	user := func(name string) Criteria {
		c, err := MatchUser(name)
		if err != nil {
			t.Fatal(err)
		}
		return Criteria{c}
	}
	dataPorts := func(source string) *Line[[]PortRange] {
		return &Line[[]PortRange]{Source: source, Value: []PortRange{{50000, 50100}}}
	}
	return &Policy{
		Global: Rules{
			AllowTCPForwarding: forward("", ForwardAll),
			PermitOpen:         openLine(t, "f:1", "db*.corp:5432,6432 10.1.0.0/16:22 [2001:db8::/32]:443 web.corp:8000-8099 plain.corp:21 ftp/*.corp:21 ftp/10.4.0.9:21"),
			DenyOpen: []Line[[]OpenPattern]{
				*openLine(t, "f:2", "169.254.0.0/16:* 127.0.0.0/8:* [::1]:*"),
				*openLine(t, "f:3", "secret.corp:*"),
			},
			FTPDataTimeout: &Line[time.Duration]{Value: time.Minute},
		},
		Blocks: []Block{
			{Criteria: user("bob"), Rules: Rules{
				PermitOpen:   openLine(t, "f:5", "*:*"),
				DenyOpen:     []Line[[]OpenPattern]{*openLine(t, "f:6", "10.1.9.0/24:*")},
				FTPDataPorts: dataPorts("f:7"),
			}},
			{Criteria: user("carol"), Rules: Rules{AllowTCPForwarding: forward("f:9", ForwardNone)}},
			{Criteria: user("dave"), Rules: Rules{PermitOpen: openLine(t, "f:11", "")}},
			{Criteria: user("erin"), Rules: Rules{AllowTCPForwarding: forward("f:13", ForwardRemote)}},
			{Criteria: user("frank"), Rules: Rules{FTPDataPorts: dataPorts("f:15"), AllowTCPForwarding: forward("f:16", ForwardLocal)}},
		},
	}
}

func TestDecideOpen(t *testing.T) {
	const permit = "PermitOpen "
	const unlisted = "not in PermitOpen"
	const odd = "the host is an uncommon spelling of an address"
	for _, test := range []struct {
		user, host string
		port       uint16
		addr       string // empty: may it be resolved
		allowed    bool
		rule       string
		reason     string
	}{
		// Names, as spelled.
		{"alice", "db7.corp", 5432, "10.9.9.9", true, "f:1", permit + "db*.corp:5432,6432"},
		{"alice", "db7.corp", 6432, "", true, "f:1", permit + "db*.corp:5432,6432"},
		{"alice", "DB7.Corp.", 5432, "10.9.9.9", true, "f:1", permit + "db*.corp:5432,6432"},
		{"alice", "db7.corp..", 5432, "10.9.9.9", false, "", "the host is not a host name"},
		{"alice", "db7.corp", 5433, "10.9.9.9", false, "f:1", unlisted},
		{"alice", "db7.corp.example.com", 5432, "10.9.9.9", false, "f:1", unlisted},
		{"alice", "web.corp", 8099, "10.9.9.9", true, "f:1", permit + "web.corp:8000-8099"},
		{"alice", "web.corp", 8100, "10.9.9.9", false, "f:1", unlisted},
		{"alice", "\u212aorp", 22, "10.1.2.3", false, "", "the host is not a host name"},
		{"alice", "a b", 22, "10.1.2.3", false, "", "the host is not a host name"},
		{"alice", "", 22, "10.1.2.3", false, "", "the host is not a host name"},
		{"alice", "[10.1.2.3]", 22, "10.1.2.3", false, "", "the host is not a host name"},
		{"alice", "x\x00y", 22, "10.1.2.3", false, "", "the host is not a host name"},
		// Addresses and networks, spelled or resolved.
		{"alice", "10.1.2.3", 22, "10.1.2.3", true, "f:1", permit + "10.1.0.0/16:22"},
		{"alice", "10.1.2.3", 22, "", true, "f:1", permit + "10.1.0.0/16:22"},
		{"alice", "::ffff:10.1.2.3", 22, "", true, "f:1", permit + "10.1.0.0/16:22"},
		{"alice", "::ffff:10.1.2.3", 22, "10.1.2.3", true, "f:1", permit + "10.1.0.0/16:22"},
		{"alice", "10.1.2.3", 22, "::ffff:10.1.2.3", true, "f:1", permit + "10.1.0.0/16:22"},
		{"alice", "10.2.2.3", 22, "", false, "f:1", unlisted},
		{"alice", "host.example", 22, "", true, "f:1", permit + "10.1.0.0/16:22"},
		{"alice", "host.example", 22, "10.1.2.3", true, "f:1", permit + "10.1.0.0/16:22"},
		{"alice", "host.example", 22, "10.2.2.3", false, "f:1", unlisted},
		{"alice", "host.example", 23, "", false, "f:1", unlisted},
		{"alice", "2001:DB8::7", 443, "2001:db8::7", true, "f:1", permit + "[2001:db8::/32]:443"},
		{"alice", "2001:db9::7", 443, "", false, "f:1", unlisted},
		// What the dialler might take for something else.
		{"bob", "127.1", 80, "", false, "", odd},
		{"bob", "0x7f.1", 80, "", false, "", odd},
		{"bob", "0x7F000001", 80, "", false, "", odd},
		{"bob", "2130706433", 80, "", false, "", odd},
		{"bob", "0177.0.0.1", 80, "", false, "", odd},
		{"bob", "127.0.0.01", 80, "", false, "", odd},
		{"bob", "127.0.0.0x1", 80, "", false, "", odd},
		{"bob", "2130706433.", 80, "", false, "", odd},
		{"bob", "fe80::1%eth0", 80, "", false, "", "the address has a zone"},
		{"bob", "host.example", 80, "fe80::1%eth0", false, "", "the address has a zone"},
		{"bob", "0.0.0.0", 80, "", false, "", "the address is unspecified"},
		{"bob", "::", 80, "", false, "", "the address is unspecified"},
		{"bob", "::ffff:0.0.0.0", 80, "", false, "", "the address is unspecified"},
		{"bob", "host.example", 80, "0.0.0.0", false, "", "the address is unspecified"},
		{"bob", "10.1.2.3", 80, "10.1.2.4", false, "", "the address is not the one that was spelled"},
		{"bob", "host.example", 0, "", false, "", "port 0 is no port"},
		// DenyOpen.
		{"bob", "host.example", 80, "10.1.2.3", true, "f:5", permit + "*:*"},
		{"bob", "host.example", 80, "127.0.0.1", false, "f:2", "DenyOpen 127.0.0.0/8:*"},
		{"bob", "127.0.0.1.", 80, "", false, "f:2", "DenyOpen 127.0.0.0/8:*"},
		{"bob", "host.example", 80, "::ffff:127.0.0.1", false, "f:2", "DenyOpen 127.0.0.0/8:*"},
		{"bob", "::ffff:7f00:1", 80, "", false, "f:2", "DenyOpen 127.0.0.0/8:*"},
		{"bob", "host.example", 80, "64:ff9b::7f00:1", false, "f:2", "DenyOpen 127.0.0.0/8:*"},
		{"bob", "64:ff9b:1::169.254.169.254", 80, "", false, "f:2", "DenyOpen 169.254.0.0/16:*"},
		{"bob", "0:0:0:0:0:0:0:1", 80, "", false, "f:2", "DenyOpen [::1]:*"},
		{"bob", "host.example", 80, "169.254.169.254", false, "f:2", "DenyOpen 169.254.0.0/16:*"},
		{"bob", "Secret.CORP.", 80, "", false, "f:3", "DenyOpen secret.corp:*"},
		{"bob", "secret.corp", 80, "10.1.2.3", false, "f:3", "DenyOpen secret.corp:*"},
		{"bob", "host.example", 80, "10.1.9.1", false, "f:6", "DenyOpen 10.1.9.0/24:*"},
		{"alice", "host.example", 22, "10.1.9.1", true, "f:1", permit + "10.1.0.0/16:22"},
		// The rest of the file.
		{"carol", "db7.corp", 5432, "10.9.9.9", false, "f:9", "AllowTcpForwarding"},
		{"dave", "db7.corp", 5432, "10.9.9.9", false, "f:11", unlisted},
		{"erin", "db7.corp", 5432, "10.9.9.9", false, "f:13", "AllowTcpForwarding"},
		{"frank", "db7.corp", 5432, "10.9.9.9", true, "f:1", permit + "db*.corp:5432,6432"},
		{"", "db7.corp", 5432, "10.9.9.9", false, "", "nobody is authenticated"},
	} {
		r := Request{Subject: Subject{User: test.user}, Action: Open, Target: Target{Host: test.host, Port: test.port}}
		if test.addr != "" {
			r.Target.Addr = netip.MustParseAddr(test.addr)
		}
		d := examplePolicy(t).Decide(r)
		if d.Allowed() != test.allowed || d.Rule != test.rule || d.Reason != test.reason {
			t.Errorf("%s %q:%d at %q:\n got %v %q %q\nwant %v %q %q", test.user, test.host, test.port, test.addr,
				d.Allowed(), d.Rule, d.Reason, test.allowed, test.rule, test.reason)
		}
	}
}

func TestZeroValuesDeny(t *testing.T) {
	target := Target{Host: "db7.corp", Port: 5432, Addr: netip.MustParseAddr("10.9.9.9")}
	everything := Rules{AllowTCPForwarding: forward("", ForwardAll), PermitOpen: openLine(t, "f:1", "*:*")}
	for _, test := range []struct {
		name   string
		policy *Policy
		r      Request
	}{
		{"no policy", nil, Request{Subject{User: "alice"}, Open, target, time.Time{}}},
		{"zero policy", &Policy{}, Request{Subject{User: "alice"}, Open, target, time.Time{}}},
		{"zero request", &Policy{Global: everything}, Request{}},
		{"no subject", &Policy{Global: everything}, Request{Subject{}, Open, target, time.Time{}}},
		{"no action", &Policy{Global: everything}, Request{Subject{User: "alice"}, 0, target, time.Time{}}},
		{"no target", &Policy{Global: everything}, Request{Subject{User: "alice"}, Open, Target{}, time.Time{}}},
		{
			"PermitOpen without AllowTcpForwarding", &Policy{Global: Rules{PermitOpen: everything.PermitOpen}},
			Request{Subject{User: "alice"}, Open, target, time.Time{}},
		},
		{
			"AllowTcpForwarding without PermitOpen", &Policy{Global: Rules{AllowTCPForwarding: everything.AllowTCPForwarding}},
			Request{Subject{User: "alice"}, Open, target, time.Time{}},
		},
		{
			"an empty Criteria", &Policy{Blocks: []Block{{Rules: everything}}},
			Request{Subject{User: "alice"}, Open, target, time.Time{}},
		},
		{
			"a zero word", &Policy{Global: Rules{
				AllowTCPForwarding: everything.AllowTCPForwarding,
				PermitOpen:         &Line[[]OpenPattern]{Value: []OpenPattern{{}}},
			}},
			Request{Subject{User: "alice"}, Open, target, time.Time{}},
		},
	} {
		if d := test.policy.Decide(test.r); d.Allowed() || d.Rule != "" || d.Reason == "" {
			t.Errorf("%s: got %+v, want a denial with a reason and no rule", test.name, d)
		}
	}
	if d := (&Policy{Global: everything}).Decide(Request{Subject{User: "alice"}, Open, target, time.Time{}}); !d.Allowed() {
		t.Errorf("with everything in place: got %+v, want it allowed", d)
	}
}

// ftpOf is what a decision says about FTP, in the words of the oracle.
func ftpOf(d Decision) string { return answerOf(d).ftp }

func TestFTPFollowsTheFirstWordThatMatches(t *testing.T) {
	key := func(text string) *KeyRules {
		return &KeyRules{Source: "keys/alice:2", PermitOpen: words(t, text)}
	}
	for _, test := range []struct {
		host, addr string
		key        *KeyRules
		allowed    bool
		ftp        string
		rule       string
	}{
		{"ftp.corp", "10.9.9.9", nil, true, "ftp", "f:1"},
		{"plain.corp", "10.9.9.9", nil, true, "", "f:1"},
		{"10.4.0.9", "10.4.0.9", nil, true, "ftp", "f:1"},
		{"ftp.example", "10.4.0.9", nil, true, "ftp", "f:1"},
		{"ftp.corp", "10.9.9.9", key("ftp/ftp.corp:21"), true, "ftp", "f:1"},
		{"ftp.corp", "10.9.9.9", key("ftp/other.corp:21 ftp/*:21"), true, "ftp", "f:1"},
		{"ftp.corp", "10.9.9.9", key("ftp.corp:21"), true, "control", "f:1"},
		{"ftp.corp", "10.9.9.9", key("ftp.corp:21 ftp/ftp.corp:21"), true, "control", "f:1"},
		{"plain.corp", "10.9.9.9", key("ftp/plain.corp:21"), true, "control", "f:1"},
		{"plain.corp", "10.9.9.9", key("plain.corp:21"), true, "", "f:1"},
		{"ftp.corp", "10.9.9.9", key("ftp/other.corp:21"), false, "", "keys/alice:2"},
	} {
		d := examplePolicy(t).Decide(Request{
			Subject: Subject{User: "alice", KeyRules: test.key}, Action: Open,
			Target: Target{Host: test.host, Port: 21, Addr: netip.MustParseAddr(test.addr)},
		})
		if d.Allowed() != test.allowed || ftpOf(d) != test.ftp || d.Rule != test.rule {
			t.Errorf("%s key %+v:\n got %+v\nwant allowed %v, ftp %q, rule %s", test.host, test.key, d, test.allowed, test.ftp, test.rule)
		}
	}
}

func TestFTPSettingsAreThoseInForce(t *testing.T) {
	p := examplePolicy(t)
	p.Global.FTPDataPorts = &Line[[]PortRange]{Value: []PortRange{{1024, 65535}}}
	p.Global.FTPAccess = &Line[Access]{Value: ListOnly}
	p.Global.FTPActive = &Line[Active]{Value: ActiveYes}
	p.Global.FTPDataAddress = &Line[[]netip.Prefix]{Value: []netip.Prefix{netip.MustParsePrefix("10.4.0.0/16")}}
	p.Blocks[4].Rules.FTPActive = &Line[Active]{Value: ActiveForward}
	d := p.Decide(Request{
		Subject: Subject{User: "frank"}, Action: Open,
		Target: Target{Host: "ftp.corp", Port: 21, Addr: netip.MustParseAddr("10.9.9.9")},
	})
	if d.FTP == nil {
		t.Fatalf("got %+v, want FTP", d)
	}
	if !slices.Equal(d.FTP.DataPorts, []PortRange{{50000, 50100}}) || d.FTP.Access != ListOnly || d.FTP.Active != ActiveForward ||
		d.FTP.DataTimeout != time.Minute || len(d.FTP.DataAddresses) != 1 {
		t.Errorf("got %+v, want frank's ports and FTPActive, and the global rest", *d.FTP)
	}
}

func TestDecideOpenData(t *testing.T) {
	for _, test := range []struct {
		user, host, addr string
		port             uint16
		key              *KeyRules
		allowed          bool
		rule, reason     string
	}{
		{"alice", "ftp.corp", "10.9.9.9", 1024, nil, true, "f:1", "announced on a permitted control channel"},
		{"alice", "10.9.9.9", "10.9.9.9", 50000, nil, true, "f:1", "announced on a permitted control channel"},
		{"alice", "10.9.9.9", "10.4.0.9", 50000, nil, true, "f:1", "announced on a permitted control channel"},
		{"alice", "ftp.corp", "10.9.9.9", 1023, nil, false, "", "a data port is 1024 or more"},
		{"alice", "ftp.corp", "", 50000, nil, false, "", "a data endpoint has an address"},
		{"alice", "10.9.9.9", "", 50000, nil, false, "", "a data endpoint has an address"},
		{"alice", "ftp.corp", "127.0.0.1", 50000, nil, false, "f:2", "DenyOpen 127.0.0.0/8:*"},
		{"alice", "ftp.corp", "::ffff:127.0.0.1", 50000, nil, false, "f:2", "DenyOpen 127.0.0.0/8:*"},
		{"alice", "secret.corp", "10.9.9.9", 50000, nil, false, "f:3", "DenyOpen secret.corp:*"},
		{"frank", "ftp.corp", "10.9.9.9", 50100, nil, true, "f:1", "announced on a permitted control channel"},
		{"frank", "ftp.corp", "10.9.9.9", 50101, nil, false, "f:15", "not in FTPDataPorts"},
		{"bob", "ftp.corp", "10.9.9.9", 50000, nil, false, "f:5", "no ftp/ in PermitOpen"},
		{"carol", "ftp.corp", "10.9.9.9", 50000, nil, false, "f:9", "AllowTcpForwarding"},
		{"alice", "ftp.corp", "10.9.9.9", 50000, &KeyRules{Source: "k:1", NoPortForwarding: true}, false, "k:1", "the key has no port-forwarding"},
		{"alice", "ftp.corp", "10.9.9.9", 50000, &KeyRules{Source: "k:1", PermitOpen: words(t, "ftp.corp:21")}, false, "k:1", "no ftp/ in the key's permitopen"},
		{"alice", "ftp.corp", "10.9.9.9", 50000, &KeyRules{Source: "k:1", PermitOpen: words(t, "ftp/ftp.corp:21")}, true, "f:1", "announced on a permitted control channel"},
		{
			"alice", "ftp.corp", "10.9.9.9", 2121, &KeyRules{Source: "k:1", PermitOpen: words(t, "ftp/ftp.corp:21 ftp/10.9.0.0/16:2121")}, false, "k:1",
			"the port is for what is read as FTP, and data isn't: ftp/10.9.0.0/16:2121",
		},
		{
			"alice", "ftp.corp", "10.9.9.9", 2121, &KeyRules{Source: "k:1", PermitOpen: words(t, "ftp/ftp.corp:* ftp/10.8.0.0/16:2121 10.9.9.9:2121")}, true, "f:1",
			"announced on a permitted control channel",
		},
	} {
		r := Request{Subject: Subject{User: test.user, KeyRules: test.key}, Action: OpenData, Target: Target{Host: test.host, Port: test.port}}
		if test.addr != "" {
			r.Target.Addr = netip.MustParseAddr(test.addr)
		}
		d := examplePolicy(t).Decide(r)
		if d.Allowed() != test.allowed || d.Rule != test.rule || d.Reason != test.reason || d.FTP != nil {
			t.Errorf("%s %q:%d at %q key %+v:\n got %+v\nwant %v %q %q", test.user, test.host, test.port, test.addr, test.key,
				d, test.allowed, test.rule, test.reason)
		}
	}
}

func TestPermittedIsNarrowedByKey(t *testing.T) {
	for _, test := range []struct {
		permit, key, want string
	}{
		{"ftp/ftp.corp:21 10.1.0.0/16:22", "", "ftp/ftp.corp:21 10.1.0.0/16:22"},
		{"ftp/*.corp:21 10.1.0.0/16:22", "ftp/ftp.corp:21 10.1.2.0/24:22", "ftp/ftp.corp:21 10.1.2.0/24:22"},
		{"ftp/ftp.corp:21", "*:*", "ftp.corp:21"},
		{"ftp/ftp.corp:21", "ftps/*:*", "ftps/ftp.corp:21"},
		{"ftps/ftp.corp:990", "ftp/*:*", "ftps/ftp.corp:990"},
		{"ftps/ftp.corp:990", "*:*", "ftp.corp:990"},
		{"*:*", "ftp/ftp.corp:21", "ftp.corp:21"},
		{"db.corp:5432,6432,8000-8099", "*:6000-8010", "db.corp:6432,8000-8010"},
		{"db.corp:22", "web.corp:22", ""},
		{"10.1.0.0/16:22", "10.2.0.0/16:22", ""},
		{"db*.corp:22", "*1.corp:22", "*1.corp:22"},
		{"db.corp:22", "db.corp:23", ""},
		{"*:22 10.1.0.0/16:22", "10.1.2.3:22", "10.1.2.3:22"},
	} {
		p := &Policy{Global: Rules{AllowTCPForwarding: forward("", ForwardAll), PermitOpen: openLine(t, "f:1", test.permit)}}
		s := Subject{User: "alice"}
		if test.key != "" {
			s.KeyRules = &KeyRules{PermitOpen: words(t, test.key)}
		}
		if got := strings.Join(p.Permitted(s, time.Time{}), " "); got != test.want {
			t.Errorf("PermitOpen %s, permitopen %s:\n got %q\nwant %q", test.permit, test.key, got, test.want)
		}
	}
	p := examplePolicy(t)
	for _, user := range []string{"carol", "dave", "erin", ""} {
		if got := p.Permitted(Subject{User: user}, time.Time{}); got != nil {
			t.Errorf("user %q: got %q, want nothing", user, got)
		}
	}
	if got := p.Permitted(Subject{User: "bob", KeyRules: &KeyRules{NoPortForwarding: true}}, time.Time{}); got != nil {
		t.Errorf("no-port-forwarding: got %q, want nothing", got)
	}
}
