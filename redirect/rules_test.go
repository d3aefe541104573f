package redirect_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/culvert-ssh/culvert/redirect"
)

func TestRulesThatCanNotBe(t *testing.T) {
	good := redirect.Rules{Port: 2121, ControlPorts: []uint16{21}, Users: []int{1000}}
	if err := good.Check(); err != nil {
		t.Errorf("%+v: %v, want no error", good, err)
	}
	for want, change := range map[string]func(r *redirect.Rules){
		"listener":            func(r *redirect.Rules) { r.Port = 0 },
		"port of the FTP":     func(r *redirect.Rules) { r.ControlPorts = nil },
		"port 50000":          func(r *redirect.Rules) { r.ControlPorts = []uint16{21, 50000} },
		"whose":               func(r *redirect.Rules) { r.Users = nil },
		`"eth0\"; x" is no`:   func(r *redirect.Rules) { r.Interfaces = []string{`eth0"; x`} },
		`"-j" is no name of`:  func(r *redirect.Rules) { r.Interfaces = []string{"-j"} },
		`"0123456789012345"`:  func(r *redirect.Rules) { r.Interfaces = []string{"0123456789012345"} },
		"is missing":          func(r *redirect.Rules) { *r = redirect.Rules{} },
		"port of the FTP ser": func(r *redirect.Rules) { r.ControlPorts = []uint16{0} },
	} {
		r := good
		change(&r)
		if err := r.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want one with %q", r, err, want)
		}
	}
}

// A family that has no network in the list has none of its connections redirected.
func TestNetworksOfOneFamilyLeaveTheOtherAlone(t *testing.T) {
	r := redirect.Rules{Port: 2121, ControlPorts: []uint16{21}, Users: []int{1000}, To: []netip.Prefix{netip.MustParsePrefix("10.9.8.7/16")}}
	for name, text := range map[string]string{"nft": r.NFTables(), "iptables": r.IPTables()} {
		if !strings.Contains(text, "10.9.0.0/16") || strings.Contains(text, "ip6 daddr") || strings.Contains(text, "ip6tables") {
			t.Errorf("%s: want rules for 10.9.0.0/16, and none for IPv6:\n%s", name, text)
		}
	}
}
