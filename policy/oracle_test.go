package policy

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// sketch is a configuration as text, from which the policy and the oracle are both made.
type sketch struct {
	scopes []sketchScope // the last is the global one
	key    string        // permitopen= words
	keyNo  bool          // no-port-forwarding
}

type sketchScope struct {
	user       string
	forwarding string // empty: not said
	permit     []string
	hasPermit  bool
	deny       []string
	dataPorts  string // empty: not said
}

var sketchForwardings = map[string]Forwarding{"yes": ForwardAll, "no": ForwardNone, "local": ForwardLocal, "remote": ForwardRemote}

func (s sketch) policy(t testing.TB) (*Policy, *KeyRules) {
	p := &Policy{}
	for i, sc := range s.scopes {
		var r Rules
		if sc.forwarding != "" {
			r.AllowTCPForwarding = forward(fmt.Sprintf("forwarding:%d", i), sketchForwardings[sc.forwarding])
		}
		if sc.hasPermit {
			r.PermitOpen = openLine(t, fmt.Sprintf("permit:%d", i), strings.Join(sc.permit, " "))
		}
		for j, word := range sc.deny {
			r.DenyOpen = append(r.DenyOpen, *openLine(t, fmt.Sprintf("deny:%d.%d", i, j), word))
		}
		if sc.dataPorts != "" {
			ports, err := ParsePorts(sc.dataPorts)
			if err != nil {
				t.Fatal(err)
			}
			r.FTPDataPorts = &Line[[]PortRange]{Source: fmt.Sprintf("ports:%d", i), Value: ports}
		}
		if i == len(s.scopes)-1 {
			p.Global = r
			continue
		}
		user, err := MatchUser(sc.user)
		if err != nil {
			t.Fatal(err)
		}
		p.Blocks = append(p.Blocks, Block{Criteria: Criteria{user}, Rules: r})
	}
	return p, &KeyRules{Source: "key", NoPortForwarding: s.keyNo, PermitOpen: words(t, s.key)}
}

// ftpOf is what a decision says about FTP, in the words of the oracle.
func ftpOf(d Decision) string {
	switch {
	case d.FTP == nil:
		return ""
	case d.FTP.Data:
		return "ftp"
	}
	return "control"
}

// oracle decides as the manual says it, over text, with regular expressions and package net.
type oracle struct {
	sketch
	user string
	r    Request
}

func (o oracle) applicable() []int {
	var all []int
	for i, sc := range o.scopes {
		if i == len(o.scopes)-1 || sc.user == o.user || sc.user == "*" {
			all = append(all, i)
		}
	}
	return all
}

var (
	oracleName   = regexp.MustCompile(`(?i)^([a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?$`)
	oracleNumber = regexp.MustCompile(`(?i)(^|\.)([0-9]+|0x[0-9a-f]*)\.?$`)
)

func (o oracle) decide() (allowed bool, ftp, rule string) {
	host, port := o.r.Target.Host, o.r.Target.Port
	literal := net.ParseIP(strings.TrimSuffix(host, "."))
	ip := net.IP(o.r.Target.Addr.AsSlice())
	switch {
	case literal == nil && (!oracleName.MatchString(host) || oracleNumber.MatchString(host)),
		port == 0, o.r.Target.Addr.Zone() != "",
		o.r.Action == OpenData && (ip == nil || port < 1024),
		o.r.Action == Open && ip != nil && literal != nil && !literal.Equal(ip):
		return false, "", ""
	}
	if ip == nil {
		ip = literal
	}
	if ip != nil && ip.IsUnspecified() {
		return false, "", ""
	}
	name := ""
	if literal == nil {
		name = host
	}
	forwarding, permitAt, portsAt := -1, -1, -1
	for _, i := range o.applicable() {
		if forwarding < 0 && o.scopes[i].forwarding != "" {
			forwarding = i
		}
		if permitAt < 0 && o.scopes[i].hasPermit {
			permitAt = i
		}
		if portsAt < 0 && o.scopes[i].dataPorts != "" {
			portsAt = i
		}
	}
	if forwarding < 0 {
		return false, "", ""
	}
	if f := o.scopes[forwarding].forwarding; f == "no" || f == "remote" {
		return false, "", fmt.Sprintf("forwarding:%d", forwarding)
	}
	if o.keyNo {
		return false, "", "key"
	}
	for _, i := range o.applicable() {
		for j, word := range o.scopes[i].deny {
			if hits, _ := oracleHit(word, name, ip, port, false); hits {
				return false, "", fmt.Sprintf("deny:%d.%d", i, j)
			}
		}
	}
	if permitAt < 0 {
		return false, "", ""
	}
	rule = fmt.Sprintf("permit:%d", permitAt)
	permit, key := o.scopes[permitAt].permit, strings.Fields(o.key)
	if o.r.Action == OpenData {
		switch {
		case !strings.Contains(strings.Join(permit, " "), "ftp/"):
			return false, "", rule
		case len(key) > 0 && !strings.Contains(o.key, "ftp/"):
			return false, "", "key"
		case portsAt >= 0 && !oraclePort(o.scopes[portsAt].dataPorts, port):
			return false, "", fmt.Sprintf("ports:%d", portsAt)
		}
		return true, "", rule
	}
	hits, asFTP := oracleFirst(permit, name, ip, port)
	if !hits {
		return false, "", rule
	}
	if len(key) > 0 {
		keyHits, keyFTP := oracleFirst(key, name, ip, port)
		if !keyHits {
			return false, "", "key"
		}
		if keyFTP != asFTP {
			return true, map[bool]string{true: "control"}[ip != nil], rule
		}
	}
	return true, map[bool]string{true: "ftp"}[asFTP && ip != nil], rule
}

func oracleFirst(list []string, name string, ip net.IP, port uint16) (hits, ftp bool) {
	for _, word := range list {
		if hits, ftp = oracleHit(word, name, ip, port, true); hits {
			return true, ftp
		}
	}
	return false, false
}

// oracleHit takes a network for a hit on a name without an address if perhaps is set.
func oracleHit(word, name string, ip net.IP, port uint16, perhaps bool) (hits, ftp bool) {
	rest, ftp := strings.CutPrefix(word, "ftp/")
	colon := strings.LastIndex(rest, ":")
	host, ports := strings.Trim(rest[:colon], "[]"), rest[colon+1:]
	if !oraclePort(ports, port) {
		return false, false
	}
	if host == "*" {
		return true, ftp
	}
	if single := net.ParseIP(host); single != nil {
		return ip != nil && single.Equal(ip) || ip == nil && perhaps, ftp
	}
	if _, network, err := net.ParseCIDR(host); err == nil {
		return ip != nil && network.Contains(ip) || ip == nil && perhaps, ftp
	}
	quoted := strings.NewReplacer(`\*`, `.*`, `\?`, `.`).Replace(regexp.QuoteMeta(strings.TrimSuffix(host, ".")))
	return name != "" && regexp.MustCompile(`^(?i:`+quoted+`)\.?$`).MatchString(name), ftp
}

func oraclePort(ports string, port uint16) bool {
	for _, element := range strings.Split(strings.ReplaceAll(ports, "*", "1-65535"), ",") {
		low, high, isRange := strings.Cut(element, "-")
		if !isRange {
			high = low
		}
		first, _ := strconv.Atoi(low)
		last, _ := strconv.Atoi(high)
		if first <= int(port) && int(port) <= last {
			return true
		}
	}
	return false
}

var (
	sketchHosts = []string{
		"*", "db*.corp", "db?.corp", "*.corp", "db1.corp", "DB1.corp.", "web.corp", "localhost", "ftp/*", "ftp/*.corp", "ftp/db1.corp",
		"10.1.0.0/16", "10.1.2.0/24", "10.1.2.3", "[2001:db8::/32]", "[2001:db8::1]", "[::1]", "127.0.0.0/8", "0.0.0.0/0", "[::/0]",
		"ftp/10.1.0.0/16", "ftp/[2001:db8::1]", "ftp/10.1.2.3", "[::ffff:10.1.2.3]",
	}
	sketchPorts  = []string{"*", "21", "22", "21,22", "20-30", "1000-2000", "50000-50100", "22,50000-50050"}
	targetHosts  = []string{"db1.corp", "DB1.Corp.", "db22.corp", "web.corp", "corp", "localhost", "10.1.2.3", "10.1.2.3.", "::ffff:10.1.2.3", "10.1.9.9", "2001:db8::1", "2001:DB8:0::1", "::1", "127.0.0.1", "127.1", "0x7f.1", "2130706433", "0.0.0.0", "::", "a..b", "", "1.corp", "fe80::1%eth0"}
	targetAddrs  = []string{"", "10.1.2.3", "::ffff:10.1.2.3", "10.1.9.9", "2001:db8::1", "::1", "127.0.0.1", "0.0.0.0", "fe80::1%eth0", "198.51.100.1"}
	targetPorts  = []uint16{0, 20, 21, 22, 23, 1023, 1024, 1500, 50000, 50100, 50101, 65535}
	sketchValues = []string{"", "yes", "yes", "yes", "local", "remote", "no"}
)

func pick[T any](rng *rand.Rand, from []T) T { return from[rng.IntN(len(from))] }

func randomWords(rng *rand.Rand, most int, ftp bool) []string {
	var list []string
	for range rng.IntN(most + 1) {
		host := pick(rng, sketchHosts)
		if !ftp {
			host = strings.TrimPrefix(host, "ftp/")
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
	scopes := 1 + rng.IntN(3)
	for i := range scopes {
		sc := sketchScope{user: pick(rng, []string{"alice", "bob", "*"}), forwarding: pick(rng, sketchValues)}
		if i == scopes-1 && rng.IntN(4) > 0 {
			sc.forwarding = "yes"
		}
		if sc.hasPermit = rng.IntN(3) > 0; sc.hasPermit {
			sc.permit = randomWords(rng, 6, true)
		}
		if rng.IntN(2) == 0 {
			sc.deny = randomWords(rng, 2, false)
		}
		if rng.IntN(3) == 0 {
			sc.dataPorts = pick(rng, sketchPorts)
		}
		s.scopes = append(s.scopes, sc)
	}
	return s
}

func randomRequest(rng *rand.Rand, key *KeyRules) Request {
	r := Request{
		Subject: Subject{User: "alice", KeyRules: key},
		Action:  pick(rng, []Action{Open, Open, Open, OpenData}),
		Target:  Target{Host: pick(rng, targetHosts), Port: pick(rng, targetPorts)},
	}
	if addr := pick(rng, targetAddrs); addr != "" {
		r.Target.Addr = netip.MustParseAddr(addr)
	}
	return r
}

func TestDecideAgreesWithOracle(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	answers := map[string]int{}
	for range 20_000 {
		s := randomSketch(rng)
		p, key := s.policy(t)
		r := randomRequest(rng, key)
		d := p.Decide(r)
		allowed, ftp, rule := oracle{s, "alice", r}.decide()
		if d.Allowed() != allowed || ftpOf(d) != ftp || d.Rule != rule {
			t.Fatalf("%+v\n%+v\n got %+v\nwant allowed %v, ftp %q, rule %q", s, r.Target, d, allowed, ftp, rule)
		}
		kind, _, _ := strings.Cut(rule, ":")
		answers[fmt.Sprint(kind, " ", allowed, " ", ftp)]++
	}
	// The test means something only if it sees each kind of answer often.
	for _, kind := range []string{"permit true ftp", "permit true ", "permit false ", "key false ", "deny false ", "forwarding false ", "ports false ", " false "} {
		if answers[kind] < 100 {
			t.Errorf("%q was the answer %d times only: %v", kind, answers[kind], answers)
		}
	}
	if n := answers["permit true control"]; n < 20 {
		t.Errorf("FTP without data was the answer %d times only", n)
	}
}

func TestRestrictionsNeverAllowMore(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	compared := 0
	for range 10_000 {
		s := randomSketch(rng)
		p, key := s.policy(t)
		r := randomRequest(rng, key)
		before := p.Decide(r)

		narrower := s
		switch rng.IntN(4) {
		case 0:
			i := rng.IntN(len(s.scopes))
			narrower.scopes = append([]sketchScope(nil), s.scopes...)
			narrower.scopes[i].deny = append(randomWords(rng, 3, false), s.scopes[i].deny...)
		case 1:
			narrower.keyNo = true
		case 2:
			if s.key != "" {
				narrower.key = strings.Join(strings.Fields(s.key)[1:], " ")
				if narrower.key == "" { // no permitopen= at all is wider
					continue
				}
			} else {
				narrower.key = strings.Join(randomWords(rng, 3, true), " ")
			}
		case 3:
			r.Subject.KeyRules = nil
			before = p.Decide(r) // any key's options against none
		}
		p, key = narrower.policy(t)
		r.Subject.KeyRules = key
		after := p.Decide(r)
		if after.Allowed() && !before.Allowed() {
			t.Fatalf("%+v\nbecame %+v\nfor %+v: %+v, before %+v", s, narrower, r.Target, after, before)
		}
		// FTPAccess holds only for what is read as FTP.
		if r.Subject.KeyRules != nil && s.key == "" && before.FTP != nil && after.Allowed() && after.FTP == nil {
			t.Fatalf("%+v\nbecame %+v\nfor %+v: not read as FTP any more", s, narrower, r.Target)
		}
		if before.Allowed() {
			compared++
		}
	}
	if compared < 200 {
		t.Errorf("only %d were allowed to begin with", compared)
	}
}

// What may be opened at some address may be resolved.
func TestAllowedAddressMayBeResolved(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 10_000 {
		s := randomSketch(rng)
		p, key := s.policy(t)
		r := randomRequest(rng, key)
		r.Action = Open
		if !p.Decide(r).Allowed() {
			continue
		}
		r.Target.Addr = netip.Addr{}
		if d := p.Decide(r); !d.Allowed() || d.FTP != nil && netipInvalid(r.Target.Host) {
			t.Fatalf("%+v\nfor %+v: %+v", s, r.Target, d)
		}
	}
}

func netipInvalid(host string) bool {
	_, err := netip.ParseAddr(strings.TrimSuffix(host, "."))
	return err != nil
}
