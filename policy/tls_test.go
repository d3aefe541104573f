package policy

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

const (
	pinA = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"
	pinB = "SHA256:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0"
)

func tlsLine(t *testing.T, source string, v TLS, targets string) Line[Targeted[TLS]] {
	return Line[Targeted[TLS]]{Source: source, Value: Targeted[TLS]{v, words(t, targets)}}
}

func pinLine(t *testing.T, source, pins, targets string) Line[Targeted[[]Pin]] {
	line := Line[Targeted[[]Pin]]{Source: source, Value: Targeted[[]Pin]{Targets: words(t, targets)}}
	for _, word := range strings.Fields(pins) {
		p, err := ParsePin(word)
		if err != nil {
			t.Fatal(err)
		}
		line.Value.Value = append(line.Value.Value, p)
	}
	return line
}

// tlsPolicy is
//
//	1 PermitOpen ftp/*.corp:21 ftp/10.0.0.0/8:21 ftps/*.corp:990
//	2 FTPUpstreamTLS off old.corp:21 10.9.0.0/16:21
//	3 FTPUpstreamTLS require
//	4 FTPUpstreamTLSPin A secret.corp:*
//	5 FTPUpstreamTLSPin B
//	6 FTPUpstreamTLSCAFile /ca
//	  FTPOpaqueTLS 50000-50100 (line 7)
//	8 Match User bob
//	9   FTPUpstreamTLS prefer 10.0.0.0/8:*
//	10  FTPUpstreamTLSMaxVersion 1.2
func tlsPolicy(t *testing.T) *Policy {
	bob, err := MatchUser("bob")
	if err != nil {
		t.Fatal(err)
	}
	return &Policy{
		Global: Rules{
			AllowTCPForwarding:   forward("", ForwardAll),
			PermitOpen:           openLine(t, "f:1", "ftp/*.corp:21 ftp/10.0.0.0/8:21 ftps/*.corp:990"),
			FTPUpstreamTLS:       []Line[Targeted[TLS]]{tlsLine(t, "f:2", TLSOff, "old.corp:21 10.9.0.0/16:21"), tlsLine(t, "f:3", TLSRequire, "")},
			FTPUpstreamTLSPin:    []Line[Targeted[[]Pin]]{pinLine(t, "f:4", pinA, "secret.corp:*"), pinLine(t, "f:5", pinB, "")},
			FTPUpstreamTLSCAFile: &Line[string]{"f:6", "/ca"},
			FTPOpaqueTLS:         &Line[[]PortRange]{"f:7", []PortRange{{50000, 50100}}},
		},
		Blocks: []Block{{Source: "f:8", Criteria: Criteria{bob}, Rules: Rules{
			FTPUpstreamTLS:           []Line[Targeted[TLS]]{tlsLine(t, "f:9", TLSPrefer, "10.0.0.0/8:*")},
			FTPUpstreamTLSMaxVersion: &Line[TLSVersion]{"f:10", TLS12},
		}}},
	}
}

func TestTLSOfATarget(t *testing.T) {
	p := tlsPolicy(t)
	for _, test := range []struct {
		user, host string
		port       uint16
		addr, key  string
		want       string // TLS, line, pins, CA file, version, opaque ports
	}{
		{"alice", "ftp.corp", 21, "192.0.2.1", "", "require f:3 " + pinB + " /ca 0 "},
		{"alice", "secret.corp", 21, "192.0.2.1", "", "require f:3 " + pinA + " /ca 0 "},
		{"alice", "old.corp", 21, "192.0.2.1", "", "off f:2 none  0 50000-50100"},
		{"alice", "new.corp", 21, "10.9.1.1", "", "off f:2 none  0 50000-50100"},
		{"alice", "10.1.1.1", 21, "10.1.1.1", "", "require f:3 " + pinB + " /ca 0 "},
		{"alice", "old.corp", 990, "10.9.1.1", "", "implicit f:1 " + pinB + " /ca 0 "},
		{"alice", "secret.corp", 990, "192.0.2.1", "", "implicit f:1 " + pinA + " /ca 0 "},
		{"alice", "old.corp", 21, "192.0.2.1", "ftps/old.corp:21", "implicit key " + pinB + " /ca 0 "},
		{"alice", "old.corp", 990, "192.0.2.1", "ftp/old.corp:990", "implicit f:1 " + pinB + " /ca 0 "},
		{"bob", "new.corp", 21, "10.9.1.1", "", "prefer f:9 " + pinB + " /ca 771 "},
		{"bob", "old.corp", 21, "192.0.2.1", "", "off f:2 none  0 50000-50100"},
		{"bob", "ftp.corp", 21, "192.0.2.1", "", "require f:3 " + pinB + " /ca 771 "},
	} {
		r := Request{
			Subject: Subject{User: test.user}, Action: Open,
			Target: Target{Host: test.host, Port: test.port, Addr: netip.MustParseAddr(test.addr)},
		}
		if test.key != "" {
			r.Subject.KeyRules = &KeyRules{Source: "key", PermitOpen: words(t, test.key)}
		}
		d := p.Decide(r)
		if d.FTP == nil {
			t.Errorf("%+v: got %+v, want FTP", test, d)
			continue
		}
		f := d.FTP
		got := fmt.Sprintf("%s %s %s %s %d %s", f.TLS, f.TLSRule, PinsText(f.TLSPins), f.TLSCAFile, f.TLSMaxVersion, PortsText(f.OpaquePorts))
		if got != test.want {
			t.Errorf("%s to %s:%d at %s, key %q:\n got %s\nwant %s", test.user, test.host, test.port, test.addr, test.key, got, test.want)
		}
	}
}

// What is opaque can't be kept to FTPAccess, and brings data connections only where they may be had.
func TestOpaquePortsWantWholeAccess(t *testing.T) {
	secret, err := ParsePathPattern("/secret")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name   string
		change func(*Policy, *KeyRules)
		want   string
	}{
		{"as it is", func(*Policy, *KeyRules) {}, "50000-50100"},
		{"read-only", func(p *Policy, _ *KeyRules) { p.Global.FTPAccess = &Line[Access]{"f:20", ReadOnly} }, ""},
		{"list-only", func(p *Policy, _ *KeyRules) { p.Global.FTPAccess = &Line[Access]{"f:20", ListOnly} }, ""},
		{"a path is denied", func(p *Policy, _ *KeyRules) {
			p.Global.FTPDeny = []Line[[]PathPattern]{{"f:20", []PathPattern{secret}}}
		}, ""},
		{"a path alone is allowed", func(p *Policy, _ *KeyRules) { p.Global.FTPAllow = &Line[[]PathPattern]{"f:20", []PathPattern{secret}} }, ""},
		{"TLS is preferred", func(p *Policy, _ *KeyRules) { p.Global.FTPUpstreamTLS[0].Value.Value = TLSPrefer }, ""},
		{"none", func(p *Policy, _ *KeyRules) { p.Global.FTPOpaqueTLS.Value = nil }, ""},
		{"not said", func(p *Policy, _ *KeyRules) { p.Global.FTPOpaqueTLS = nil }, ""},
		{"the key has no ftp/", func(_ *Policy, k *KeyRules) { k.PermitOpen = words(t, "old.corp:21") }, ""},
	} {
		p, key := tlsPolicy(t), &KeyRules{Source: "key", PermitOpen: words(t, "ftp/old.corp:21")}
		test.change(p, key)
		d := p.Decide(Request{
			Subject: Subject{User: "alice", KeyRules: key}, Action: Open,
			Target: Target{Host: "old.corp", Port: 21, Addr: netip.MustParseAddr("192.0.2.1")},
		})
		if d.FTP == nil || PortsText(d.FTP.OpaquePorts) != test.want {
			t.Errorf("%s: got %+v, want the opaque ports %q", test.name, d.FTP, test.want)
		}
	}
}

func TestExplainTLS(t *testing.T) {
	for _, test := range []struct{ user, host, addr, want string }{
		{"alice", "old.corp", "192.0.2.1", `tls f:2 FTPUpstreamTLS off old.corp:21: hit (old.corp is 192.0.2.1)
tls f:7 FTPOpaqueTLS 50000-50100: hit
true f:1 PermitOpen ftp/*.corp:21`},
		{"bob", "secret.corp", "192.0.2.1", `tls f:9 FTPUpstreamTLS: no hit (secret.corp is 192.0.2.1)
tls f:2 FTPUpstreamTLS: no hit (secret.corp is 192.0.2.1)
tls f:3 FTPUpstreamTLS require: hit
tls f:4 FTPUpstreamTLSPin ` + pinA + ` secret.corp:*: hit (secret.corp is 192.0.2.1)
tls f:6 FTPUpstreamTLSCAFile /ca: hit
tls f:7 FTPOpaqueTLS 50000-50100: no hit (FTPUpstreamTLS is require)
true f:1 PermitOpen ftp/*.corp:21`},
	} {
		text := told(tlsPolicy(t).Explain(Request{
			Subject: Subject{User: test.user}, Action: Open,
			Target: Target{Host: test.host, Port: 21, Addr: netip.MustParseAddr(test.addr)},
		}))
		if _, got, _ := strings.Cut(text, "\ntls "); "tls "+got != test.want {
			t.Errorf("%s to %s:\n got tls %s\nwant %s", test.user, test.host, got, test.want)
		}
	}
}

func TestParsePin(t *testing.T) {
	for word, want := range map[string]string{
		pinA: pinA, pinA + "=": pinA, strings.ToLower(pinA[:7]) + pinA[7:]: pinA,
		pinA[:49]: "", pinA + "A": "", pinA + "==": "", "": "", "SHA256:": "", "sha512:" + pinA[7:]: "", strings.ReplaceAll(pinA, "+", "-"): "",
		pinA[:49] + "V": "", // bits that no byte has
	} {
		p, err := ParsePin(word)
		if want == "" && err == nil || want != "" && (err != nil || p.String() != want) {
			t.Errorf("%q: got %s, %v, want %q", word, p, err, want)
		}
	}
}
