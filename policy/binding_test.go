package policy

import (
	"strings"
	"testing"
	"time"
)

func TestDecideListen(t *testing.T) {
	base := func() *Policy {
		return &Policy{Global: Rules{
			AllowTCPForwarding: forward("", ForwardAll),
			PermitListen:       &Line[[]ListenPattern]{Source: "f:1", Value: listenWords(t, "localhost:8080 10.1.*:* *:9000 [2001:db8::1]:8080")},
			PermitOpen:         openLine(t, "f:2", "*:*"),
		}}
	}
	gateway := func(g GatewayPorts) func(*Policy, *KeyRules) {
		return func(p *Policy, _ *KeyRules) { p.Global.GatewayPorts = &Line[GatewayPorts]{Source: "f:3", Value: g} }
	}
	ftpListen := func(words string) func(*Policy, *KeyRules) {
		return func(p *Policy, _ *KeyRules) { p.Global.PermitListen.Value = listenWords(t, words) }
	}
	none := func(*Policy, *KeyRules) {}
	const loopback, all = "127.0.0.1 ::1", "0.0.0.0 ::"
	for _, test := range []struct {
		name   string
		change func(*Policy, *KeyRules)
		host   string
		port   uint16
		want   answer
		reason string
	}{
		{"localhost", none, "localhost", 8080, answer{true, "", loopback, "f:1"}, "PermitListen localhost:8080"},
		{"case", none, "LOCALHOST", 8080, answer{true, "", loopback, "f:1"}, "PermitListen localhost:8080"},
		{"other port", none, "localhost", 8081, answer{rule: "f:1"}, "not in PermitListen"},
		{"everything, by a bare port", none, "", 9000, answer{true, "", loopback, "f:1"}, "PermitListen *:9000"},
		{"a port that the system chooses", none, "localhost", 0, answer{rule: "f:1"}, "not in PermitListen"},
		{"a port that the system chooses, of any", none, "10.1.2.3", 0, answer{true, "", loopback, "f:1"}, "PermitListen 10.1.*:*"},
		{"gateway no binds the loopback", gateway(GatewayNo), "10.1.2.3", 9000, answer{true, "", loopback, "f:1"}, "PermitListen 10.1.*:*"},
		{"gateway no, one loopback", gateway(GatewayNo), "::1", 9000, answer{true, "", "::1", "f:1"}, "PermitListen *:9000"},
		{"gateway yes binds all", gateway(GatewayYes), "127.0.0.1", 9000, answer{true, "", all, "f:1"}, "PermitListen *:9000"},
		{"clientspecified, an address", gateway(GatewayClientSpecified), "10.1.2.3", 8080, answer{true, "", "10.1.2.3", "f:1"}, "PermitListen 10.1.*:*"},
		{"clientspecified, localhost", gateway(GatewayClientSpecified), "localhost", 9000, answer{true, "", loopback, "f:1"}, "PermitListen *:9000"},
		{"clientspecified, nothing", gateway(GatewayClientSpecified), "", 9000, answer{true, "", all, "f:1"}, "PermitListen *:9000"},
		{"clientspecified, star", gateway(GatewayClientSpecified), "*", 9000, answer{true, "", all, "f:1"}, "PermitListen *:9000"},
		{"clientspecified, another spelling", gateway(GatewayClientSpecified), "2001:DB8:0::1", 8080, answer{true, "", "2001:db8::1", "f:1"}, "PermitListen [2001:db8::1]:8080"},
		{"clientspecified, IPv4 in IPv6", gateway(GatewayClientSpecified), "::ffff:10.1.2.3", 8080, answer{true, "", "10.1.2.3", "f:1"}, "PermitListen 10.1.*:*"},
		{"a low port", none, "localhost", 1023, answer{}, "a port to listen on is 1024 or more"},
		{"a name", none, "gate.corp", 9000, answer{}, "the host to listen on is not an address, nor localhost, * or empty"},
		{"an odd spelling", none, "127.1", 9000, answer{}, "the host to listen on is not an address, nor localhost, * or empty"},
		{"a zone", none, "fe80::1%eth0", 9000, answer{}, "the address has a zone"},
		{"no PermitListen", func(p *Policy, _ *KeyRules) { p.Global.PermitListen = nil }, "localhost", 8080, answer{}, "no PermitListen applies, and the default is deny"},
		{"PermitListen none", func(p *Policy, _ *KeyRules) { p.Global.PermitListen.Value = nil }, "localhost", 8080, answer{rule: "f:1"}, "not in PermitListen"},
		{"a zero word", func(p *Policy, _ *KeyRules) { p.Global.PermitListen.Value = []ListenPattern{{}} }, "", 8080, answer{rule: "f:1"}, "not in PermitListen"},
		{"AllowTcpForwarding local", func(p *Policy, _ *KeyRules) { p.Global.AllowTCPForwarding = forward("f:4", ForwardLocal) }, "localhost", 8080, answer{rule: "f:4"}, "AllowTcpForwarding"},
		{"AllowTcpForwarding remote", func(p *Policy, _ *KeyRules) { p.Global.AllowTCPForwarding = forward("f:4", ForwardRemote) }, "localhost", 8080, answer{true, "", loopback, "f:1"}, "PermitListen localhost:8080"},
		{"DisableForwarding", func(p *Policy, _ *KeyRules) { p.Global.DisableForwarding = &Line[bool]{"f:5", true} }, "localhost", 8080, answer{rule: "f:5"}, "DisableForwarding"},
		{"DisableForwarding no", func(p *Policy, _ *KeyRules) { p.Global.DisableForwarding = &Line[bool]{"f:5", false} }, "localhost", 8080, answer{true, "", loopback, "f:1"}, "PermitListen localhost:8080"},
		{"no-port-forwarding", func(_ *Policy, k *KeyRules) { k.NoPortForwarding = true }, "localhost", 8080, answer{rule: "k:1"}, "the key has no port-forwarding"},
		{"FTP by a word without ftp/", none, "ftp/localhost", 8080, answer{rule: "f:1"}, "not in PermitListen"},
		{"FTP", ftpListen("localhost:8080 ftp/*:8080"), "ftp/localhost", 8080, answer{true, "ftp", loopback, "f:1"}, "PermitListen ftp/*:8080"},
		{"FTP at another port", ftpListen("ftp/2121"), "ftp/localhost", 8080, answer{rule: "f:1"}, "not in PermitListen"},
		{"FTP at a port below 1024", ftpListen("ftp/*"), "ftp/localhost", 21, answer{}, "a port to listen on is 1024 or more"},
		{"anything by a word with ftp/", ftpListen("ftp/*"), "localhost", 8080, answer{rule: "f:1"}, "not in PermitListen"},
		{"FTP by any", func(p *Policy, _ *KeyRules) { p.Global.PermitListen.Value = []ListenPattern{AnyListen()} }, "ftp/localhost", 8080, answer{rule: "f:1"}, "not in PermitListen"},
		{"FTP and permitlisten", func(p *Policy, k *KeyRules) {
			ftpListen("ftp/*")(p, k)
			k.PermitListen = listenWords(t, "ftp/localhost:8080")
		}, "ftp/localhost", 8080, answer{true, "ftp", loopback, "f:1"}, "PermitListen ftp/*:*"},
		{"FTP and permitlisten without ftp/", func(p *Policy, k *KeyRules) {
			ftpListen("ftp/*")(p, k)
			k.PermitListen = listenWords(t, "localhost:8080")
		}, "ftp/localhost", 8080, answer{rule: "k:1"}, "not in the key's permitlisten"},
		{"permitlisten", func(_ *Policy, k *KeyRules) { k.PermitListen = listenWords(t, "localhost:*") }, "localhost", 8080, answer{true, "", loopback, "f:1"}, "PermitListen localhost:8080"},
		{"another permitlisten", func(_ *Policy, k *KeyRules) { k.PermitListen = listenWords(t, "localhost:8081") }, "localhost", 8080, answer{rule: "k:1"}, "not in the key's permitlisten"},
		{"permitlisten permits nothing by itself", func(p *Policy, k *KeyRules) {
			k.PermitListen = listenWords(t, "localhost:8080")
			p.Global.PermitListen = nil
		}, "localhost", 8080, answer{}, "no PermitListen applies, and the default is deny"},
	} {
		p, key := base(), &KeyRules{Source: "k:1"}
		test.change(p, key)
		action := Listen
		host, ftp := strings.CutPrefix(test.host, "ftp/")
		if ftp {
			action = ListenFTP
		}
		d := p.Decide(Request{Subject{User: "alice", KeyRules: key}, action, Target{Host: host, Port: test.port}, time.Time{}})
		if got := answerOf(d); got != test.want || d.Reason != test.reason {
			t.Errorf("%s: %q:%d\n got %+v %q\nwant %+v %q", test.name, test.host, test.port, got, d.Reason, test.want, test.reason)
		}
	}
}

func TestDecideOpenClient(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*Policy, *KeyRules)
		host   string
		want   answer
		reason string
	}{
		{"a client", func(*Policy, *KeyRules) {}, "10.1.2.3", answer{allowed: true, rule: "f:7"}, "FTPActive"},
		{"forward is more", func(p *Policy, _ *KeyRules) { p.Global.FTPActive.Value = ActiveForward }, "10.1.2.3", answer{allowed: true, rule: "f:7"}, "FTPActive"},
		{"no", func(p *Policy, _ *KeyRules) { p.Global.FTPActive.Value = ActiveNo }, "10.1.2.3", answer{rule: "f:7"}, "FTPActive is no"},
		{"nothing said", func(p *Policy, _ *KeyRules) { p.Global.FTPActive = nil }, "10.1.2.3", answer{}, "FTPActive is no"},
		{"DenyOpen wins", func(*Policy, *KeyRules) {}, "127.0.0.1", answer{rule: "f:8"}, "DenyOpen 127.0.0.0/8:*"},
		{"PermitOpen means nothing", func(p *Policy, _ *KeyRules) { p.Global.PermitOpen = openLine(t, "f:9", "") }, "10.1.2.3", answer{allowed: true, rule: "f:7"}, "FTPActive"},
		{"AllowTcpForwarding local", func(p *Policy, _ *KeyRules) { p.Global.AllowTCPForwarding = forward("f:4", ForwardLocal) }, "10.1.2.3", answer{rule: "f:4"}, "AllowTcpForwarding"},
		{"no-port-forwarding", func(_ *Policy, k *KeyRules) { k.NoPortForwarding = true }, "10.1.2.3", answer{rule: "k:1"}, "the key has no port-forwarding"},
		{"not an address", func(*Policy, *KeyRules) {}, "", answer{}, "the host is not a host name"},
	} {
		p := &Policy{Global: Rules{
			AllowTCPForwarding: forward("", ForwardAll),
			FTPActive:          &Line[Active]{Source: "f:7", Value: ActiveYes},
			DenyOpen:           []Line[[]OpenPattern]{*openLine(t, "f:8", "127.0.0.0/8:*")},
		}}
		key := &KeyRules{Source: "k:1"}
		test.change(p, key)
		d := p.Decide(Request{Subject{User: "alice", KeyRules: key}, OpenClient, Target{Host: test.host, Port: 40000}, time.Time{}})
		if got := answerOf(d); got != test.want || d.Reason != test.reason {
			t.Errorf("%s: got %+v (%s), want %+v (%s)", test.name, got, d.Reason, test.want, test.reason)
		}
	}
}
