package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/culvert-ssh/culvert/policy"
)

// parse reads a configuration that includes nothing.
func parse(file, text string, overrides []string) (*Config, []Warning, error) {
	r, err := newReader()
	if err != nil {
		return nil, nil, err
	}
	if err := r.all(file, text, overrides); err != nil {
		return nil, r.warnings, err
	}
	return r.config, r.warnings, nil
}

func mustParse(t testing.TB, text string, overrides ...string) *Config {
	t.Helper()
	c, _, err := parse("sshd_config", text, overrides)
	if err != nil {
		t.Fatalf("parse %q: %v", text, err)
	}
	return c
}

// compareWords compares what has no exported fields by its text.
var compareWords = cmp.Options{
	cmp.Transformer("text", func(p policy.OpenPattern) string { return p.String() }),
	cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
	cmp.AllowUnexported(Settings{}),
	cmp.Comparer(func(_, _ map[*keyword]Position) bool { return true }), // see TestLineOfAKeyword
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	cmp.Transformer("list", func(l policy.AddressList) string { return l.String() }),
	cmp.Transformer("listen", func(p policy.ListenPattern) string { return p.String() }),
	cmp.Transformer("user", func(p policy.UserPattern) string { return p.String() }),
	cmp.Transformer("group", func(p policy.GroupPattern) string { return p.String() }),
	cmp.Transformer("path", func(p policy.PathPattern) string { return p.String() }),
}

func TestDefaults(t *testing.T) {
	got := mustParse(t, "HostKey /key").Global()
	want := Settings{
		Ports:                []uint16{22},
		ListenAddress:        []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:22"), netip.MustParseAddrPort("[::]:22")},
		HostKeys:             []string{"/key"},
		AuthorizedKeysFile:   []string{"/etc/culvert/authorized_keys/%u"},
		PubkeyAuthentication: true,
		TCPKeepAlive:         true,
		RequiredRSASize:      2048,
		PermitRootLogin:      RootKeys,
		PermitTTY:            true,
		PerSourceBits4:       32, PerSourceBits6: 128,
		PerSourcePenalties: PerSourcePenalties{
			Enabled: true, Crash: 90 * time.Second, AuthFail: 5 * time.Second, InvalidUser: 5 * time.Second, NoAuth: time.Second,
			GraceExceeded: 10 * time.Second, RefuseConnection: 10 * time.Second, Min: 15 * time.Second, Max: 10 * time.Minute,
			MaxSources4: 65536, MaxSources6: 65536,
		},
		ControlSocket:       "/run/culvert/culvertd.sock",
		AllowTCPForwarding:  policy.ForwardAll,
		LoginGraceTime:      2 * time.Minute,
		MaxAuthTries:        6,
		MaxConnections:      100,
		MaxStartups:         MaxStartups{10, 30, 100},
		MaxSessions:         10,
		MaxChannels:         64,
		MaxStripes:          8,
		ConnectTimeout:      10 * time.Second,
		ClientAliveCountMax: 3,
		FTP:                 policy.FTP{DataTimeout: time.Minute, TLSMaxVersion: policy.TLS13},
		FTPUpstreamTLS:      []policy.Targeted[policy.TLS]{{}},
		FTPUpstreamTLSPin:   []policy.Targeted[[]policy.Pin]{{}},
		FTPAllow:            []policy.PathPattern{policy.AnyPath()},
		LogLevel:            slog.LevelInfo,
	}
	if diff := cmp.Diff(want, got, compareWords); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
}

func TestEveryKeyword(t *testing.T) {
	working, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		text string
		get  func(Settings) any
		want string // of the value with %v
	}{
		{"Port 22\nPort 2222\nPort 22", func(s Settings) any { return s.ListenAddress }, "[0.0.0.0:22 0.0.0.0:2222 [::]:22 [::]:2222]"},
		{"ListenAddress 127.0.0.1\nListenAddress [::1]:9\nPort 1\nPort 2", func(s Settings) any { return s.ListenAddress }, "[127.0.0.1:1 127.0.0.1:2 [::1]:9]"},
		{"ListenAddress ::1\nListenAddress [::]\nListenAddress 127.0.0.1:23", func(s Settings) any { return s.ListenAddress }, "[[::1]:22 [::]:22 127.0.0.1:23]"},
		{"ListenAddress 127.0.0.1:0\nListenAddress [::1]:0", func(s Settings) any { return s.ListenAddress }, "[127.0.0.1:0 [::1]:0]"},
		{"ListenAddress fe80::1%eth0", func(s Settings) any { return s.ListenAddress }, "[[fe80::1%eth0]:22]"},
		{"HostKey /second\nHostKey third", func(s Settings) any { return s.HostKeys }, "[/key /second " + filepath.Join(working, "third") + "]"},
		{"AuthorizedKeysFile /keys/%u /more/%%%u", func(s Settings) any { return s.AuthorizedKeysFile }, "[/keys/%u /more/%%%u]"},
		{"AuthorizedKeysFile none", func(s Settings) any { return s.AuthorizedKeysFile }, "[]"},
		{"PubkeyAuthentication no", func(s Settings) any { return s.PubkeyAuthentication }, "false"},
		{"PasswordAuthentication yes\nPasswordFile /users", func(s Settings) any { return s.PasswordAuthentication }, "true"},
		{"PasswordFile /users", func(s Settings) any { return s.PasswordFile }, "/users"},
		{"AllowTcpForwarding local", func(s Settings) any { return s.AllowTCPForwarding == policy.ForwardLocal }, "true"},
		{"AllowTcpForwarding remote", func(s Settings) any { return s.AllowTCPForwarding == policy.ForwardRemote }, "true"},
		{"AllowTcpForwarding all", func(s Settings) any { return s.AllowTCPForwarding == policy.ForwardAll }, "true"},
		{"AllowTcpForwarding no", func(s Settings) any { return s.AllowTCPForwarding == policy.ForwardNone }, "true"},
		{"PermitOpen ftp/ftp.corp:21 10.1.0.0/16:22,80-90\nPermitOpen c:3", func(s Settings) any { return s.PermitOpen }, "[ftp/ftp.corp:21 10.1.0.0/16:22,80-90]"},
		{"PermitOpen any", func(s Settings) any { return s.PermitOpen }, "[*:*]"},
		{"PermitOpen none", func(s Settings) any { return s.PermitOpen }, "[]"},
		{"DenyOpen a:1\nDenyOpen b:2 c:3", func(s Settings) any { return s.DenyOpen }, "[a:1 b:2 c:3]"},
		{"LoginGraceTime 0", func(s Settings) any { return s.LoginGraceTime }, "0s"},
		{"MaxAuthTries 3", func(s Settings) any { return s.MaxAuthTries }, "3"},
		{"MaxConnections 3", func(s Settings) any { return s.MaxConnections }, "3"},
		{"MaxConnections none", func(s Settings) any { return s.MaxConnections }, "0"},
		{"MaxStartups 5:50:7", func(s Settings) any { return s.MaxStartups }, "{5 50 7}"},
		{"MaxSessions 0", func(s Settings) any { return s.MaxSessions }, "0"},
		{"MaxChannels 65535", func(s Settings) any { return s.MaxChannels }, "65535"},
		{"MaxStripes 0", func(s Settings) any { return s.MaxStripes }, "0"},
		{"ConnectTimeout 1m", func(s Settings) any { return s.ConnectTimeout }, "1m0s"},
		{"ClientAliveInterval 1m30", func(s Settings) any { return s.ClientAliveInterval }, "1m30s"},
		{"ClientAliveCountMax 0", func(s Settings) any { return s.ClientAliveCountMax }, "0"},
		{"Banner /etc/culvert/banner", func(s Settings) any { return s.Banner }, "/etc/culvert/banner"},
		{"Banner none", func(s Settings) any { return s.Banner }, ""},
		{"FTPDataPorts 50000-50100 60000,60002", func(s Settings) any { return s.FTP.DataPorts }, "[50000-50100 60000 60002]"},
		{"FTPDataPorts any", func(s Settings) any { return s.FTP.DataPorts }, "[]"},
		{"FTPDataPorts *", func(s Settings) any { return s.FTP.DataPorts }, "[]"},
		{"FTPDataAddress control", func(s Settings) any { return s.FTP.DataAddresses }, "[]"},
		{"FTPDataAddress control 10.4.0.0/16 2001:db8::1", func(s Settings) any { return s.FTP.DataAddresses }, "[10.4.0.0/16 2001:db8::1/128]"},
		{"FTPDataTimeout 5", func(s Settings) any { return s.FTP.DataTimeout }, "5s"},
		{"FTPPredial yes", func(s Settings) any { return s.FTP.Predial }, "true"},
		{"FTPActive no", func(s Settings) any { return s.FTP.Active }, "no"},
		{"FTPActive Yes", func(s Settings) any { return s.FTP.Active }, "yes"},
		{"FTPActive forward", func(s Settings) any { return s.FTP.Active }, "forward"},
		{"FTPUpstreamTLS require a:21\nFTPUpstreamTLS prefer", func(s Settings) any { return s.FTPUpstreamTLS }, "[{require [a:21]} {prefer []}]"},
		{"FTPUpstreamTLS off", func(s Settings) any { return s.FTPUpstreamTLS }, "[{off []}]"},
		{"FTPUpstreamTLSPin " + pinA + " " + pinB + " a:21", func(s Settings) any { return s.FTPUpstreamTLSPin }, "[{[" + pinA + " " + pinB + "] [a:21]}]"},
		{"FTPUpstreamTLSPin none", func(s Settings) any { return s.FTPUpstreamTLSPin }, "[{[] []}]"},
		{"FTPUpstreamTLSCAFile /ca", func(s Settings) any { return s.FTP.TLSCAFile }, "/ca"},
		{"FTPUpstreamTLSMaxVersion 1.2", func(s Settings) any { return s.FTP.TLSMaxVersion == policy.TLS12 }, "true"},
		{"FTPOpaqueTLS 50000-50100 60000", func(s Settings) any { return s.FTP.OpaquePorts }, "[50000-50100 60000]"},
		{"FTPAccess list-only", func(s Settings) any { return s.FTP.Access == policy.ListOnly }, "true"},
		{"FTPDeny /a/\nFTPDeny none\nFTPDeny any", func(s Settings) any { return s.FTPDeny }, "[/a /]"},
		{"FTPAllow none\nFTPAllow /b", func(s Settings) any { return len(s.FTPAllow) }, "0"},
		{"Match all\nFTPAllow /b /c/**", func(s Settings) any { return s.FTPAllow }, "[/]"}, // outside of Match
		{"FTPAccess READ-ONLY", func(s Settings) any { return s.FTP.Access == policy.ReadOnly }, "true"},
		{"AuditLog /var/log/culvert/audit.jsonl", func(s Settings) any { return s.AuditLog }, "/var/log/culvert/audit.jsonl"},
		{"AuditLog stderr", func(s Settings) any { return s.AuditLog }, ""},
		{"LogLevel verbose", func(s Settings) any { return s.LogLevel }, "DEBUG+2"},
		{"LogLevel DEBUG1", func(s Settings) any { return s.LogLevel }, "DEBUG"},
		{"LogLevel quiet", func(s Settings) any { return s.LogLevel }, "ERROR+8"},
	} {
		if got := fmt.Sprint(test.get(mustParse(t, "HostKey /key\n"+test.text).Global())); got != test.want {
			t.Errorf("%s:\n got %s\nwant %s", test.text, got, test.want)
		}
	}
}

// What sshd 9.2 answered to the same lines, with sshd -T -C user=alice,addr=192.0.2.7,lport=22.
func TestReadsAsSSHDDoes(t *testing.T) {
	const invalid = "invalid"
	grace := func(s Settings) any { return int(s.LoginGraceTime.Seconds()) }
	sessions := func(s Settings) any { return s.MaxSessions }
	banner := func(s Settings) any { return s.Banner }
	alice := policy.Subject{
		User: "alice", Addr: netip.MustParseAddr("192.0.2.7"), LocalAddr: netip.MustParseAddrPort("192.0.2.1:22"),
	}
	for _, test := range []struct {
		text string
		get  func(Settings) any
		want string
	}{
		{"LoginGraceTime 1h30m", grace, "5400"},
		{"LoginGraceTime = 1H30", grace, "3630"},
		{"logingracetime=2m # two", grace, "120"},
		{`LoginGraceTime "2m"`, grace, "120"},
		{`LoginGraceTime '2'm`, grace, "120"},
		{"LoginGraceTime\t1w2d", grace, "777600"},
		{"  LoginGraceTime 5 \r", grace, "5"},
		{"LoginGraceTime 30\nLoginGraceTime 40", grace, "30"},
		{"LoginGraceTime 5#x", grace, invalid},
		{"LoginGraceTime = = 5", grace, invalid},
		{"LoginGraceTime -1", grace, invalid},
		{"LoginGraceTime 3000000000", grace, invalid},
		{"LoginGraceTime 1m 2m", grace, invalid},
		{"LoginGraceTime", grace, invalid},
		{"LoginGraceTime # x", grace, invalid},
		{`LoginGraceTime ""`, grace, invalid},
		{`Banner "/a b"`, banner, "/a b"},
		{`Banner /a\ b`, banner, "/a b"},
		{`Banner '/a#b'`, banner, "/a#b"},
		{`Banner /a#b`, banner, "/a#b"},
		{`Banner /a\"b`, banner, `/a"b`},
		{`Banner "/a\\b"`, banner, `/a\b`},
		{`Banner "/a\ b"`, banner, `/a\ b`},
		{`Banner "/a`, banner, invalid},
		{`Banner NONE`, banner, ""},
		{"MaxStartups 10:30", sessions, invalid},
		{"MaxStartups 20:30:10", sessions, invalid},
		{"MaxStartups 5:0:10", sessions, invalid},
		{"MaxStartups 10", func(s Settings) any { return s.MaxStartups }, "{10 30 10}"},
		{"PubkeyAuthentication YES", func(s Settings) any { return s.PubkeyAuthentication }, "true"},
		{"PubkeyAuthentication true", sessions, invalid},
		{"MaxSessions 05", sessions, "5"},
		{"MaxSessions 5x", sessions, invalid},
		{"MaxSessions 5\nMatch user bob,alice\nMaxSessions 6\nMatch all\nMaxSessions 7", sessions, "6"},
		{"MaxSessions 5\nMatch user=alice\nMaxSessions 6", sessions, "6"},
		{"MaxSessions 5\nMatch user !bob,*\nMaxSessions 6", sessions, "6"},
		{"MaxSessions 5\nMatch user !bob\nMaxSessions 6", sessions, "5"},
		{"MaxSessions 5\nMatch user Alice\nMaxSessions 6", sessions, "5"},
		{"MaxSessions 5\nMatch user alice address 192.0.2.0/24\nMaxSessions 6", sessions, "6"},
		{"MaxSessions 5\nMatch address 192.0.2.*\nMaxSessions 6", sessions, "6"},
		{"MaxSessions 5\nMatch ADDRESS !192.0.2.7,192.0.2.0/24\nMaxSessions 6", sessions, "5"},
		{"MaxSessions 5\nMatch localport 22\nMaxSessions 6", sessions, "6"},
		{"MaxSessions 5\nMatch user \"alice\" # x\nMaxSessions 6", sessions, "6"},
		{"MaxSessions 5\nMatch all # x\nMaxSessions 6", sessions, "6"},
		{"Match address 192.0.2.1/24", sessions, invalid},
		{"Match all user alice", sessions, invalid},
		{"Match user", sessions, invalid},
		{"Match", sessions, invalid},
		{"PermitOpen none a:1", sessions, invalid},
		{"PermitOpen a:1 b:2\nPermitOpen c:3", func(s Settings) any { return s.PermitOpen }, "[a:1 b:2]"},
		{"PermitOpen a:1\nMatch user alice\nPermitOpen none", func(s Settings) any { return s.PermitOpen }, "[]"},
	} {
		got := invalid
		if c, _, err := parse("sshd_config", "HostKey /key\n"+test.text, nil); err == nil {
			got = fmt.Sprint(test.get(c.For(alice, time.Time{})))
		}
		if got != test.want {
			t.Errorf("%q: got %s, want %s", test.text, got, test.want)
		}
	}
}

func TestLineThatCounts(t *testing.T) {
	const file = `
Match user alice
MaxConnections 5
Match all
MaxConnections 6
MaxConnections 7
`
	alice := policy.Subject{User: "alice"}
	for _, test := range []struct {
		text    string
		subject policy.Subject
		want    string
	}{
		{"HostKey /key", alice, ""},
		{"HostKey /key\nMaxSessions 1\nmaxconnections 3\nMaxConnections 4", alice, "sshd_config:3"},
		{"HostKey /key\nMaxConnections 3" + file, alice, "sshd_config:4"},
		{"HostKey /key\nMaxConnections 3" + file, policy.Subject{User: "bob"}, "sshd_config:6"},
	} {
		if got := mustParse(t, test.text).Line("MaxConnections", test.subject, time.Time{}); got != test.want {
			t.Errorf("%q for %s: got %q, want %q", test.text, test.subject.User, got, test.want)
		}
	}
	if got := mustParse(t, "HostKey /key\nMaxConnections 3", "MaxConnections=4").Line("MaxConnections", alice, time.Time{}); got != "-o:1" {
		t.Errorf("of an override: got %q, want -o:1", got)
	}
}

func TestOverrides(t *testing.T) {
	const file = `
HostKey /key
Port 22
ListenAddress 127.0.0.1
LoginGraceTime 10
DenyOpen a:1
Match User alice
MaxSessions 6
`
	c := mustParse(t, file, "Port=2222", "listenaddress 127.0.0.2", "LoginGraceTime=20", "MaxSessions=7", "DenyOpen=b:2", "HostKey /other")
	s := c.For(policy.Subject{User: "alice"}, time.Time{})
	got := fmt.Sprint(s.ListenAddress, s.LoginGraceTime, s.MaxSessions, c.Global().MaxSessions, s.DenyOpen, s.HostKeys)
	if want := "[127.0.0.2:2222] 20s 6 7 [b:2 a:1] [/other /key]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := mustParse(t, file, "AllowTcpForwarding no").Policy().Global.AllowTCPForwarding.Source; got != "-o:1" {
		t.Errorf("position of an override: got %q, want %q", got, "-o:1")
	}
}

func paths(t *testing.T, words ...string) (all []policy.PathPattern) {
	t.Helper()
	for _, word := range words {
		p, err := policy.ParsePathPattern(word)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

func TestPolicyHasTheLinesOfTheFile(t *testing.T) {
	p := mustParse(t, `HostKey /key
PermitOpen ftp/ftp.corp:21
DenyOpen 127.0.0.0/8:*
FTPDataPorts 50000-50100
Match User bob Address 192.0.2.0/24
	PermitOpen none
	DenyOpen 10.0.0.0/8:*
	AllowTcpForwarding local
Match User carol
	FTPAccess list-only
	FTPDataAddress 10.4.0.0/16
	FTPDeny /a /b
	FTPAllow /c
`).Policy()
	bob := policy.Subject{User: "bob", Addr: netip.MustParseAddr("192.0.2.7")}
	for _, test := range []struct {
		subject policy.Subject
		addr    string
		rule    string
		ftp     *policy.FTP
	}{
		{policy.Subject{User: "alice"}, "198.51.100.1", "sshd_config:2", &policy.FTP{
			Data: true, DataPorts: []policy.PortRange{{First: 50000, Last: 50100}}, DataTimeout: time.Minute,
		}},
		{policy.Subject{User: "carol"}, "198.51.100.1", "sshd_config:2", &policy.FTP{
			Data: true, DataPorts: []policy.PortRange{{First: 50000, Last: 50100}}, DataTimeout: time.Minute,
			DataAddresses: []netip.Prefix{netip.MustParsePrefix("10.4.0.0/16")}, Access: policy.ListOnly, AccessRule: "sshd_config:10",
			Deny:  []policy.Line[[]policy.PathPattern]{{Source: "sshd_config:12", Value: paths(t, "/a", "/b")}},
			Allow: &policy.Line[[]policy.PathPattern]{Source: "sshd_config:13", Value: paths(t, "/c")},
		}},
		{policy.Subject{User: "alice"}, "127.0.0.1", "sshd_config:3", nil},
		{bob, "198.51.100.1", "sshd_config:6", nil},
		{bob, "10.1.2.3", "sshd_config:7", nil},
		{policy.Subject{User: "bob", Addr: netip.MustParseAddr("198.51.100.7")}, "198.51.100.1", "sshd_config:2", &policy.FTP{
			Data: true, DataPorts: []policy.PortRange{{First: 50000, Last: 50100}}, DataTimeout: time.Minute,
		}},
	} {
		d := p.Decide(policy.Request{
			Subject: test.subject, Action: policy.Open,
			Target: policy.Target{Host: "ftp.corp", Port: 21, Addr: netip.MustParseAddr(test.addr)},
		})
		if diff := cmp.Diff(test.ftp, d.FTP, compareWords); d.Rule != test.rule || d.Allowed() != (test.ftp != nil) || diff != "" {
			t.Errorf("%s to %s: got %v by %q, want rule %q; FTP want -, got +:\n%s",
				test.subject.User, test.addr, d.Allowed(), d.Rule, test.rule, diff)
		}
	}
}

func TestSilencePermitsNothing(t *testing.T) {
	d := mustParse(t, "HostKey /key").Policy().Decide(policy.Request{
		Subject: policy.Subject{User: "alice"}, Action: policy.Open,
		Target: policy.Target{Host: "host", Port: 22, Addr: netip.MustParseAddr("192.0.2.1")},
	})
	if want := "no PermitOpen applies, and the default is deny"; d.Allowed() || d.Rule != "" || d.Reason != want {
		t.Errorf("got %+v, want a denial with the reason %q", d, want)
	}
}

func TestMaxAuthTriesOfAnybody(t *testing.T) {
	for text, want := range map[string]int{
		"": 6, "MaxAuthTries 3": 3, "MaxAuthTries 3\nMatch User a\nMaxAuthTries 9\nMaxAuthTries 10\nMatch User b\nMaxAuthTries 2": 9,
	} {
		if got := mustParse(t, "HostKey /key\n"+text).MaxAuthTries(); got != want {
			t.Errorf("%q: got %d, want %d", text, got, want)
		}
	}
}

func TestPasswordAuthenticationForAnybody(t *testing.T) {
	for text, want := range map[string]bool{
		"": false,
		"Match User bob\nPasswordAuthentication yes": true,
		"PasswordAuthentication yes":                 true,
		"Match User bob\nPasswordAuthentication no":  false,
	} {
		if got := mustParse(t, "HostKey /key\nPasswordFile /users\n"+text).PasswordAuthentication(); got != want {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := write("good", "HostKey /key\nUseDNS yes\nPermitOpen a:1\n")
	if l, err := Load(good, []string{"Port=2222"}); err != nil || len(l.Warnings) != 1 || l.Config.Global().Ports[0] != 2222 {
		t.Errorf("good file: got %v, %v", l.Warnings, err)
	}
	bad := write("bad", "Port 0\n")
	_, err := Load(bad, nil)
	var all Errors
	if !errors.As(err, &all) || len(all) != 2 || all[0].At != (Position{bad, 1}) {
		t.Errorf("bad file: got %#v, want two errors, the first at line 1", err)
	}
	if _, err := Load(filepath.Join(dir, "missing"), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: got %v", err)
	}
	large := write("large", strings.Repeat("# comment\n", maxSize/10+1))
	if _, err := Load(large, nil); err == nil || !strings.Contains(err.Error(), "it is over 1048576 bytes") {
		t.Errorf("large file: got %v", err)
	}
}

func TestLineOfAKeyword(t *testing.T) {
	c := mustParse(t, `HostKey /key
MaxSessions 2
MaxSessions 3
Match User alice
	MaxSessions 4
	PermitTTY no`, "MaxAuthTries 2")
	for _, tt := range []struct{ user, keyword, want string }{
		{"bob", "MaxSessions", "sshd_config:2"},
		{"alice", "MaxSessions", "sshd_config:5"},
		{"alice", "PermitTTY", "sshd_config:6"},
		{"bob", "PermitTTY", ""},
		{"bob", "MaxAuthTries", "-o:1"},
		{"bob", "NoSuchKeyword", ""},
	} {
		s := c.For(policy.Subject{User: tt.user}, time.Time{})
		if got := s.Line(tt.keyword); got != tt.want {
			t.Errorf("%s for %s: got %q, want %q", tt.keyword, tt.user, got, tt.want)
		}
	}
}
