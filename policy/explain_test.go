package policy

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// told is an explanation as lines of text.
func told(e Explanation) string {
	var b strings.Builder
	for _, s := range e.Steps {
		fmt.Fprintf(&b, "%s %s %s: %s\n", s.Kind, s.Source, s.Rule, s.Result())
	}
	fmt.Fprintf(&b, "%v %s %s", e.Decision.Allowed(), e.Decision.Rule, e.Decision.Reason)
	return b.String()
}

func explainedPolicy(t *testing.T) *Policy {
	t.Helper()
	group, err := MatchGroup("finance")
	if err != nil {
		t.Fatal(err)
	}
	address, err := MatchAddress("10.0.0.0/8")
	if err != nil {
		t.Fatal(err)
	}
	return &Policy{
		Global: Rules{
			AllowTCPForwarding: forward("", ForwardAll),
			PermitOpen:         openLine(t, "f:2", "db.corp:5432"),
			DenyOpen:           []Line[[]OpenPattern]{*openLine(t, "f:12", "169.254.0.0/16:*")},
			PermitListen:       &Line[[]ListenPattern]{Source: "f:3", Value: listenWords(t, "localhost:8080")},
			DenyUsers:          whoLines(t, "f:4", []string{"mallory"}, ParseUserPattern),
		},
		Blocks: []Block{
			{Source: "f:31", Criteria: Criteria{group}, Rules: Rules{
				PermitOpen:     openLine(t, "f:33", "ftp/ftp.corp:21"),
				FTPDataPorts:   &Line[[]PortRange]{Source: "f:34", Value: []PortRange{{50000, 50100}}},
				FTPDataAddress: &Line[[]netip.Prefix]{Source: "f:35", Value: []netip.Prefix{netip.MustParsePrefix("10.5.0.0/16")}},
			}},
			{Source: "f:40", Criteria: Criteria{group, address}, Rules: Rules{GatewayPorts: &Line[GatewayPorts]{"f:41", GatewayYes}}},
		},
	}
}

func TestExplain(t *testing.T) {
	alice := Subject{
		User: "alice", Groups: []string{"finance"}, Addr: netip.MustParseAddr("203.0.113.7"),
		KeyRules: &KeyRules{Source: "keys/alice:2", PermitOpen: words(t, "ftp/ftp.corp:21")},
	}
	ftp := Target{Host: "ftp.corp", Port: 21, Addr: netip.MustParseAddr("10.4.0.9")}
	for _, test := range []struct {
		name string
		r    Request
		want string
	}{
		{"allowed", Request{Subject: alice, Action: Open, Target: ftp}, `match f:31 Match Group finance: yes
match f:40 Match Group finance Address 10.0.0.0/8: no (not Address 10.0.0.0/8)
forward  AllowTcpForwarding yes: permits
deny f:12 DenyOpen: no hit (ftp.corp is 10.4.0.9)
permit f:33 PermitOpen ftp/ftp.corp:21: hit
key keys/alice:2 permitopen ftp/ftp.corp:21: hit
true f:33 PermitOpen ftp/ftp.corp:21`},
		{"not permitted", Request{Subject: alice, Action: Open, Target: Target{Host: "db.corp", Port: 5432}}, `match f:31 Match Group finance: yes
match f:40 Match Group finance Address 10.0.0.0/8: no (not Address 10.0.0.0/8)
forward  AllowTcpForwarding yes: permits
deny f:12 DenyOpen: no hit (db.corp isn't looked up yet)
permit f:33 PermitOpen: no hit (db.corp isn't looked up yet)
false f:33 not in PermitOpen`},
		{"denied", Request{Subject: Subject{User: "bob"}, Action: Open, Target: Target{Host: "db.corp", Port: 5432, Addr: netip.MustParseAddr("169.254.1.1")}}, `match f:31 Match Group finance: no
match f:40 Match Group finance Address 10.0.0.0/8: no (not Group finance)
forward  AllowTcpForwarding yes: permits
deny f:12 DenyOpen 169.254.0.0/16:*: hit (db.corp is 169.254.1.1)
false f:12 DenyOpen 169.254.0.0/16:*`},
		{"listen", Request{Subject: Subject{User: "bob"}, Action: Listen, Target: Target{Host: "localhost", Port: 8080}}, `match f:31 Match Group finance: no
match f:40 Match Group finance Address 10.0.0.0/8: no (not Group finance)
forward  AllowTcpForwarding yes: permits
permit f:3 PermitListen localhost:8080: hit
bind  GatewayPorts no: 127.0.0.1 and ::1
true f:3 PermitListen localhost:8080`},
	} {
		if got := told(explainedPolicy(t).Explain(test.r)); got != test.want {
			t.Errorf("%s: got\n%s\nwant\n%s", test.name, got, test.want)
		}
	}
	const admitted = `match f:31 Match Group finance: yes
match f:40 Match Group finance Address 10.0.0.0/8: no (not Address 10.0.0.0/8)
deny f:4.0 DenyUsers: no hit
true  no line is against it`
	if got := told(explainedPolicy(t).ExplainAdmit(alice, time.Time{})); got != admitted {
		t.Errorf("admit: got\n%s\nwant\n%s", got, admitted)
	}
}

func TestExplainData(t *testing.T) {
	alice := Subject{User: "alice", Groups: []string{"finance"}}
	for _, test := range []struct {
		name, host, addr string
		key              string
		at               string
		want             string // the last lines
	}{
		{"its own address", "ftp.corp", "10.4.0.9", "", "10.4.0.9:50000", `permit f:33 PermitOpen ftp/: hit
data f:34 FTPDataPorts 50000-50100: hit
true f:33 announced on a permitted control channel`},
		{"another port", "ftp.corp", "10.4.0.9", "", "10.4.0.9:50101", `permit f:33 PermitOpen ftp/: hit
data f:34 FTPDataPorts 50000-50100: no hit
false f:34 not in FTPDataPorts`},
		{"an address that it may announce", "ftp.corp", "10.4.0.9", "", "10.5.0.1:50000", `data f:35 FTPDataAddress 10.5.0.0/16: hit
deny f:12 DenyOpen: no hit (ftp.corp is 10.5.0.1)
permit f:33 PermitOpen ftp/: hit
data f:34 FTPDataPorts 50000-50100: hit
true f:33 announced on a permitted control channel`},
		{"a foreign address", "ftp.corp", "10.4.0.9", "", "10.6.0.1:50000", `data f:35 FTPDataAddress: no hit
false f:35 not in FTPDataAddress: the control connection's own address is opened instead`},
		{"the control channel is refused", "ftp.corp", "169.254.1.1", "", "169.254.1.1:50000", `deny f:12 DenyOpen 169.254.0.0/16:*: hit (ftp.corp is 169.254.1.1)
false f:12 the control channel: DenyOpen 169.254.0.0/16:*`},
		{"the key wants no data", "ftp.corp", "10.4.0.9", "ftp.corp:21", "10.4.0.9:50000", `key k:1 permitopen ftp.corp:21: hit
false f:33 PermitOpen and the key's permitopen don't both say ftp/`},
	} {
		s := alice
		if test.key != "" {
			s.KeyRules = &KeyRules{Source: "k:1", PermitOpen: words(t, test.key)}
		}
		control := Request{Subject: s, Action: Open, Target: Target{Host: test.host, Port: 21, Addr: netip.MustParseAddr(test.addr)}}
		got := told(explainedPolicy(t).ExplainData(control, netip.MustParseAddrPort(test.at)))
		if !strings.HasSuffix(got, "\n"+test.want) {
			t.Errorf("%s: got\n%s\nwant at its end\n%s", test.name, got, test.want)
		}
	}
}

// What isn't asked for isn't paid for: deciding is on the way of every channel.
func TestDecideWritesNoExplanation(t *testing.T) {
	p := explainedPolicy(t)
	r := Request{Subject: Subject{User: "alice", Groups: []string{"finance"}}, Action: Open, Target: Target{Host: "10.9.9.9", Port: 5432}}
	if n := testing.AllocsPerRun(100, func() { p.Decide(r) }); n > 0 {
		t.Errorf("a denial allocates %v times, want 0", n)
	}
}
