package policy

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseOpenPattern(t *testing.T) {
	for _, test := range []struct{ word, want string }{
		{"host:22", "host:22"},
		{"HOST.Corp.:22", "host.corp:22"},
		{"host:5432,6432", "host:5432,6432"},
		{"host:8000-8099,1-1", "host:8000-8099,1"},
		{"host:022", "host:22"},
		{"host:1-65535", "host:*"},
		{"host:*", "host:*"},
		{"*:*", "*:*"},
		{"**:22", "*:22"},
		{"db?.c*:22", "db?.c*:22"},
		{"*.*:22", "*.*:22"},
		{"[host]:22", "host:22"},
		{"10.1.2.3:22", "10.1.2.3:22"},
		{"10.1.2.3/32:22", "10.1.2.3:22"},
		{"[10.1.2.3]:22", "10.1.2.3:22"},
		{"10.1.0.0/16:22", "10.1.0.0/16:22"},
		{"0.0.0.0/0:22", "0.0.0.0/0:22"},
		{"[2001:DB8::]:443", "[2001:db8::]:443"},
		{"[2001:db8::/32]:443", "[2001:db8::/32]:443"},
		{"[::ffff:10.1.2.3]:22", "10.1.2.3:22"},
		{"[::ffff:10.1.0.0/112]:22", "10.1.0.0/16:22"},
		{"ftp/ftp.corp:21", "ftp/ftp.corp:21"},
		{"ftps/FTP.corp.:990", "ftps/ftp.corp:990"},
		{"ftps/[2001:db8::/32]:990", "ftps/[2001:db8::/32]:990"},
		{"ftp/[2001:db8::/32]:21", "ftp/[2001:db8::/32]:21"},
		{"ftp/10.0.0.0/8:21,2121", "ftp/10.0.0.0/8:21,2121"},
		{"1.example:22", "1.example:22"},
		{"a_b.example:22", "a_b.example:22"},
	} {
		p, err := ParseOpenPattern(test.word)
		if err != nil || p.String() != test.want {
			t.Errorf("%q: got %q, %v, want %q", test.word, p, err, test.want)
		}
	}
}

func TestParseOpenPatternErrors(t *testing.T) {
	for _, test := range []struct{ word, want string }{
		{"", `"" has no port: write :22, or :* for every port`},
		{"host", `"host" has no port: write host:22, or host:* for every port`},
		{"*", `"*" has no port: write *:22, or *:* for every port`},
		{"any", `"any" has no port: write any:22, or any:* for every port`},
		{"[::1]", `"[::1]" has no port: write [::1]:22, or [::1]:* for every port`},
		{"ftp/host", `"ftp/host" has no port: write ftp/host:21, or ftp/host:* for every port`},
		{"ftps/[::1]", `"ftps/[::1]" has no port: write ftps/[::1]:990, or ftps/[::1]:* for every port`},
		{"[::1]22", `"[::1]22" has no port: write [::1]:22, or [::1]:* for every port`},
		{"[::1:22", `"[::1:22" has no closing bracket`},
		{"[2001:db8::]/32:22", `"[2001:db8::]/32:22" has no port: write [2001:db8::]:22, or [2001:db8::]:* for every port`},
		{"::1:22", `"::1:22": an IPv6 address stands in brackets, [2001:db8::1]:22`},
		{"host:", `port "" is not a number`},
		{"host:70000", `port "70000" is out of range`},
		{"host:99999999999999999999", `port "99999999999999999999" is out of range`},
		{"host:0", `port "0" is out of range`},
		{"host:-1", `port "" is not a number`},
		{"host:+1", `port "+1" is not a number`},
		{"host:ssh", `port "ssh" is not a number`},
		{"host:22,", `port "" is not a number`},
		{"host:22-", `port "" is not a number`},
		{"host:*,22", `port "*" is not a number`},
		{"host:30-20", `port range "30-20" is the wrong way round`},
		{":22", `host "" is not a host name`},
		{".:22", `host "." is not a host name`},
		{"a..b:22", `host "a..b" is not a host name`},
		{"ho st:22", `host "ho st" is not a host name`},
		{"!host:22", `host "!host" is not a host name`},
		{"höst:22", `host "höst" is not a host name`},
		{"127.1:22", `host "127.1" is an uncommon spelling of an address`},
		{"0x7f000001:22", `host "0x7f000001" is an uncommon spelling of an address`},
		{"10.1.2.03:22", `host "10.1.2.03" is an uncommon spelling of an address`},
		{"10.1.*:22", `host "10.1.*": patterns are for names: write a network, such as 10.1.0.0/16`},
		{"10.1.2.?:22", `host "10.1.2.?": patterns are for names: write a network, such as 10.1.0.0/16`},
		{"10.1.2.3/16:22", `network "10.1.2.3/16" has host bits set: write 10.1.0.0/16`},
		{"10.1.0.0/33:22", `network "10.1.0.0/33": "33" is no prefix length`},
		{"10.1.0.0/:22", `network "10.1.0.0/": "" is no prefix length`},
		{"[::ffff:0.0.0.0/95]:22", `network "::ffff:0.0.0.0/95" has host bits set: write ::fffe:0:0/95`},
		{"[fe80::1%eth0]:22", `"fe80::1%eth0" is neither an address nor a network`},
		{"host/22:22", `"host/22:22": before the host stands ftp/, ftps/ or nothing`},
		{"fpt/host:21", `"fpt/host:21": before the host stands ftp/, ftps/ or nothing`},
		{"FTP/host:21", `"FTP/host:21": before the host stands ftp/, ftps/ or nothing`},
		{"ftp/ftps/host:21", `"ftp/ftps/host:21": before the host stands ftp/, ftps/ or nothing`},
		{"ftps/ftp/host:21", `"ftps/ftp/host:21": before the host stands ftp/, ftps/ or nothing`},
		{"ftp/ftp/host:21", `"ftp/ftp/host:21": before the host stands ftp/, ftps/ or nothing`},
		{"web1/host:21", `"web1/host" is neither an address nor a network`},
	} {
		p, err := ParseOpenPattern(test.word)
		if err == nil || err.Error() != test.want {
			t.Errorf("%q: got %q, %v\nwant %s", test.word, p, err, test.want)
		}
	}
}

func TestCovers(t *testing.T) {
	for _, test := range []struct {
		p, q string
		want bool
	}{
		{"*:*", "10.0.0.0/8:22", true},
		{"*:22", "host:22-23", false},
		{"host:1-100", "host:22,23", true},
		{"h*:22", "host:22", true},
		{"h*:22", "ho*:22", false}, // true, and too hard to tell
		{"10.0.0.0/8:22", "10.1.0.0/16:22", true},
		{"10.1.0.0/16:22", "10.0.0.0/8:22", false},
		{"10.0.0.0/8:22", "host:22", false},
		{"h*:22", "*:22", false},
	} {
		if got := words(t, test.p)[0].Covers(words(t, test.q)[0]); got != test.want {
			t.Errorf("%s covers %s: got %v, want %v", test.p, test.q, got, test.want)
		}
	}
}

// FuzzParseOpenPattern holds that what is read is written in a form that reads back to the same, and
// that no word permits port 0, an address with a zone, or what isn't a host.
func FuzzParseOpenPattern(f *testing.F) {
	for _, word := range []string{
		"host:22", "db*.corp:5432,6432", "10.1.0.0/16:22", "[2001:db8::/32]:443", "web.corp:8000-8099", "ftp/ftp.corp:21",
		"*:*", "[::ffff:10.1.0.0/112]:*", "ftp/[::1]:21", "ftps/a:990", "ftp/ftps/a:1", "127.1:22", "[fe80::1%e]:1",
	} {
		f.Add(word, "host", uint16(22))
	}
	f.Fuzz(func(t *testing.T, word, host string, port uint16) {
		p, err := ParseOpenPattern(word)
		if err != nil {
			if p.ports != nil || p.name != "" || p.net.IsValid() {
				t.Fatalf("%q: %v, and yet %v", word, err, p)
			}
			return
		}
		again, err := ParseOpenPattern(p.String())
		if err != nil || !cmp.Equal(p, again, cmp.AllowUnexported(OpenPattern{}), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })) {
			t.Fatalf("%q is written as %q, which reads back to %q, %v", word, p, again, err)
		}
		if !p.Covers(p) {
			t.Errorf("%q doesn't cover itself", p)
		}
		if m, ok := p.meet(p); !ok || m.String() != p.String() && len(p.ports) == 1 {
			t.Errorf("%q meets itself in %q, %v", p, m, ok)
		}
		pol := &Policy{Global: Rules{
			AllowTCPForwarding: forward("", ForwardAll),
			PermitOpen:         &Line[[]OpenPattern]{Value: []OpenPattern{p}},
		}}
		d := pol.Decide(Request{Subject: Subject{User: "u"}, Action: Open, Target: Target{Host: host, Port: port}})
		if d.Allowed() && (port == 0 || host == "" || len(host) > 254) {
			t.Errorf("%q permits %q:%d", word, host, port)
		}
		if addr, err := netip.ParseAddr(host); d.Allowed() && err == nil && addr.Zone() != "" {
			t.Errorf("%q permits %q, with a zone", word, host)
		}
	})
}
