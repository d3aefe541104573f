package policy

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// sketch is a configuration as text, from which the policy and the oracle are both made.
type sketch struct {
	scopes    []sketchScope // the last is the global one
	key       string        // permitopen= words
	keyListen string        // permitlisten= words
	keyNo     bool          // no-port-forwarding
}

type sketchScope struct {
	match      string // criterion and value
	forwarding string // empty: not said
	disable    string // empty: not said
	permit     []string
	hasPermit  bool
	deny       []string
	listen     []string
	hasListen  bool
	gateway    string   // empty: not said
	dataPorts  string   // empty: not said
	opaque     string   // empty: not said
	tls        []string // lines of FTPUpstreamTLS

	// A line for each word.
	denyUsers, allowUsers, denyGroups, allowGroups []string
}

var (
	sketchForwardings = map[string]Forwarding{"yes": ForwardAll, "no": ForwardNone, "local": ForwardLocal, "remote": ForwardRemote}
	sketchGateways    = map[string]GatewayPorts{"no": GatewayNo, "yes": GatewayYes, "clientspecified": GatewayClientSpecified}
	sketchTLS         = map[string]TLS{"off": TLSOff, "prefer": TLSPrefer, "require": TLSRequire}
	sketchCriteria    = map[string]func(string) (Criterion, error){
		"User": MatchUser, "Group": MatchGroup, "Address": MatchAddress, "Time": MatchTime,
		"all": func(string) (Criterion, error) { return MatchAll(), nil },
	}
)

func (s sketch) policy(t testing.TB) (*Policy, *KeyRules) {
	p := &Policy{}
	for i, sc := range s.scopes {
		r := sc.rules(t, i)
		if i == len(s.scopes)-1 {
			p.Global = r
			continue
		}
		name, value, _ := strings.Cut(sc.match, " ")
		criterion, err := sketchCriteria[name](value)
		if err != nil {
			t.Fatal(err)
		}
		p.Blocks = append(p.Blocks, Block{Source: fmt.Sprintf("match:%d", i), Criteria: Criteria{criterion}, Rules: r})
	}
	return p, &KeyRules{
		Source: "key", NoPortForwarding: s.keyNo,
		PermitOpen: words(t, s.key), PermitListen: listenWords(t, s.keyListen),
	}
}

func (sc sketchScope) rules(t testing.TB, i int) Rules {
	at := func(keyword string) string { return fmt.Sprintf("%s:%d", keyword, i) }
	var r Rules
	if sc.forwarding != "" {
		r.AllowTCPForwarding = forward(at("forwarding"), sketchForwardings[sc.forwarding])
	}
	if sc.disable != "" {
		r.DisableForwarding = &Line[bool]{Source: at("disable"), Value: sc.disable == "yes"}
	}
	if sc.hasPermit {
		r.PermitOpen = openLine(t, at("permit"), strings.Join(sc.permit, " "))
	}
	for j, word := range sc.deny {
		r.DenyOpen = append(r.DenyOpen, *openLine(t, fmt.Sprintf("deny:%d.%d", i, j), word))
	}
	if sc.hasListen {
		r.PermitListen = &Line[[]ListenPattern]{Source: at("listen"), Value: listenWords(t, strings.Join(sc.listen, " "))}
	}
	if sc.gateway != "" {
		r.GatewayPorts = &Line[GatewayPorts]{Source: at("gateway"), Value: sketchGateways[sc.gateway]}
	}
	if sc.dataPorts != "" {
		ports, err := ParsePorts(sc.dataPorts)
		if err != nil {
			t.Fatal(err)
		}
		r.FTPDataPorts = &Line[[]PortRange]{Source: at("ports"), Value: ports}
	}
	if sc.opaque != "" {
		ports, err := ParsePorts(sc.opaque)
		if err != nil {
			t.Fatal(err)
		}
		r.FTPOpaqueTLS = &Line[[]PortRange]{Source: at("opaque"), Value: ports}
	}
	for j, text := range sc.tls {
		value, targets, _ := strings.Cut(text, " ")
		r.FTPUpstreamTLS = append(r.FTPUpstreamTLS, Line[Targeted[TLS]]{
			Source: fmt.Sprintf("tls:%d.%d", i, j), Value: Targeted[TLS]{sketchTLS[value], words(t, targets)},
		})
	}
	r.DenyUsers = whoLines(t, at("denyusers"), sc.denyUsers, ParseUserPattern)
	r.AllowUsers = whoLines(t, at("allowusers"), sc.allowUsers, ParseUserPattern)
	r.DenyGroups = whoLines(t, at("denygroups"), sc.denyGroups, ParseGroupPattern)
	r.AllowGroups = whoLines(t, at("allowgroups"), sc.allowGroups, ParseGroupPattern)
	return r
}

func whoLines[P any](t testing.TB, source string, words []string, parse func(string) (P, error)) []Line[[]P] {
	t.Helper()
	var lines []Line[[]P]
	for j, word := range words {
		p, err := parse(word)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, Line[[]P]{Source: fmt.Sprintf("%s.%d", source, j), Value: []P{p}})
	}
	return lines
}

var (
	sketchHosts = []string{
		"*", "db*.corp", "db?.corp", "*.corp", "db1.corp", "DB1.corp.", "web.corp", "localhost", "ftp/*", "ftp/*.corp", "ftp/db1.corp",
		"10.1.0.0/16", "10.1.2.0/24", "10.1.2.3", "[2001:db8::/32]", "[2001:db8::1]", "[::1]", "127.0.0.0/8", "0.0.0.0/0", "[::/0]",
		"ftp/10.1.0.0/16", "ftp/[2001:db8::1]", "ftp/10.1.2.3", "[::ffff:10.1.2.3]", "ftps/*.corp", "ftps/10.1.0.0/16",
	}
	sketchPorts  = []string{"*", "21", "22", "21,22", "20-30", "1000-2000", "50000-50100", "22,50000-50050"}
	targetHosts  = []string{"db1.corp", "DB1.Corp.", "db22.corp", "web.corp", "corp", "localhost", "10.1.2.3", "10.1.2.3.", "::ffff:10.1.2.3", "10.1.9.9", "2001:db8::1", "2001:DB8:0::1", "::1", "64:ff9b::10.1.2.3", "64:ff9b:1::7f00:1", "127.0.0.1", "127.1", "0x7f.1", "2130706433", "0.0.0.0", "::", "a..b", "", "1.corp", "fe80::1%eth0"}
	targetAddrs  = []string{"", "10.1.2.3", "::ffff:10.1.2.3", "10.1.9.9", "2001:db8::1", "::1", "127.0.0.1", "0.0.0.0", "fe80::1%eth0", "198.51.100.1", "64:ff9b::a01:203"}
	targetPorts  = []uint16{0, 20, 21, 22, 23, 1023, 1024, 1500, 50000, 50100, 50101, 65535}
	sketchValues = []string{"", "yes", "yes", "yes", "local", "remote", "no"}

	sketchMatches = []string{
		"User alice", "User bob", "User *", "all", "Group finance", "Group finance,!guests", "Group *", "Address 192.0.2.0/24", "Address *,!192.0.2.7",
		"Time Mon-Fri,08:00-19:00", "Time Fri,22:00-06:00", "Time Sat-Mon", "Time 12:00-13:00,20:00-24:00",
	}
	sketchListens = []string{
		"8080", "*", "*:9000", "localhost:8080", "localhost:*", "127.0.0.1:8080", "127.*:*", "[::1]:*", "[2001:db8::1]:8080", "10.1.2.3:8080", "0.0.0.0:*",
		"ftp/8080", "ftp/*", "ftp/localhost:8080", "ftp/[::1]:*", "ftp/127.*:*",
	}
	sketchUsers  = []string{"alice", "bob", "al*", "*", "alice@192.0.2.0/24", "*@192.0.2.7", "alice@198.51.100.*", "*@192.0.2.0/24,!192.0.2.7"}
	sketchGroups = []string{"finance", "guests", "wheel", "f*", "*"}
	listenHosts  = []string{"", "*", "localhost", "LocalHost", "127.0.0.1", "::1", "::ffff:127.0.0.1", "0.0.0.0", "::", "10.1.2.3", "2001:DB8:0::1", "127.1", "gate.corp", "fe80::1%eth0", "[::1]"}
	listenPorts  = []uint16{0, 80, 1023, 1024, 8080, 9000, 65535}
)

func pick[T any](rng *rand.Rand, from []T) T { return from[rng.IntN(len(from))] }

func some(rng *rand.Rand, most int, from []string) []string {
	var list []string
	for range rng.IntN(most + 1) {
		list = append(list, pick(rng, from))
	}
	return list
}

func listenWords(t testing.TB, text string) []ListenPattern {
	t.Helper()
	var all []ListenPattern
	for _, word := range strings.Fields(text) {
		p, err := ParseListenPattern(word)
		if err != nil {
			t.Fatalf("word %q: %v", word, err)
		}
		all = append(all, p)
	}
	return all
}

func randomWords(rng *rand.Rand, most int, ftp bool) []string {
	var list []string
	for range rng.IntN(most + 1) {
		host := pick(rng, sketchHosts)
		if !ftp {
			host = strings.TrimPrefix(strings.TrimPrefix(host, "ftp/"), "ftps/")
		}
		list = append(list, host+":"+pick(rng, sketchPorts))
	}
	return list
}

func randomSketch(rng *rand.Rand) sketch {
	s := sketch{keyNo: rng.IntN(20) == 0}
	if rng.IntN(2) == 0 {
		s.key = strings.Join(randomWords(rng, 4, true), " ")
	}
	if rng.IntN(2) == 0 {
		s.keyListen = strings.Join(some(rng, 3, sketchListens), " ")
	}
	scopes := 1 + rng.IntN(4)
	for i := range scopes {
		s.scopes = append(s.scopes, randomScope(rng, i == scopes-1))
	}
	return s
}

func randomScope(rng *rand.Rand, global bool) sketchScope {
	sc := sketchScope{match: pick(rng, sketchMatches), forwarding: pick(rng, sketchValues)}
	if global && rng.IntN(4) > 0 {
		sc.forwarding = "yes"
	}
	if rng.IntN(8) == 0 {
		sc.disable = pick(rng, []string{"yes", "no"})
	}
	if sc.hasPermit = rng.IntN(3) > 0; sc.hasPermit {
		sc.permit = randomWords(rng, 6, true)
	}
	if rng.IntN(2) == 0 {
		sc.deny = randomWords(rng, 2, false)
	}
	if sc.hasListen = rng.IntN(3) > 0; sc.hasListen {
		sc.listen = some(rng, 5, sketchListens)
	}
	if rng.IntN(2) == 0 {
		sc.gateway = pick(rng, []string{"no", "yes", "clientspecified"})
	}
	if rng.IntN(3) == 0 {
		sc.dataPorts = pick(rng, sketchPorts)
	}
	if rng.IntN(3) == 0 {
		sc.opaque = pick(rng, sketchPorts)
	}
	for range rng.IntN(3) {
		sc.tls = append(sc.tls, strings.Join(append([]string{pick(rng, []string{"off", "prefer", "require"})}, randomWords(rng, 2, false)...), " "))
	}
	if rng.IntN(4) == 0 {
		sc.denyUsers = some(rng, 2, sketchUsers)
	}
	if rng.IntN(4) == 0 {
		sc.allowUsers = some(rng, 3, sketchUsers)
	}
	if rng.IntN(4) == 0 {
		sc.denyGroups = some(rng, 2, sketchGroups)
	}
	if rng.IntN(4) == 0 {
		sc.allowGroups = some(rng, 2, sketchGroups)
	}
	return sc
}

func randomSubject(rng *rand.Rand, key *KeyRules) Subject {
	return Subject{
		User: "alice", KeyRules: key, Groups: some(rng, 2, []string{"finance", "guests", "staff"}),
		Addr: netip.MustParseAddr(pick(rng, []string{"192.0.2.7", "192.0.2.8", "198.51.100.1", "2001:db8::1"})),
	}
}

func randomRequest(rng *rand.Rand, key *KeyRules) Request {
	r := Request{
		Subject: randomSubject(rng, key),
		Action:  pick(rng, []Action{Open, Open, Open, Open, OpenData, Listen, Listen, ListenFTP}),
		Target:  Target{Host: pick(rng, targetHosts), Port: pick(rng, targetPorts)},
		// Three weeks of minutes.
		Time: time.Date(2026, time.June, 1, 0, rng.IntN(3*7*minutesOfDay), 0, 0, time.UTC),
	}
	if r.Action == Listen || r.Action == ListenFTP {
		r.Target = Target{Host: pick(rng, listenHosts), Port: pick(rng, listenPorts)}
		return r
	}
	if addr := pick(rng, targetAddrs); addr != "" {
		r.Target.Addr = netip.MustParseAddr(addr)
	}
	return r
}
