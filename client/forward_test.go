package client

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestForwardSyntax(t *testing.T) {
	for _, test := range []struct {
		spec string
		want Forward
		err  string // part of it
	}{
		{spec: "5432:db.corp:5433", want: Forward{Port: 5432, Host: "db.corp", HostPort: 5433}},
		{spec: "ftp/2121:ftp.corp:21", want: Forward{Kind: FTP, Port: 2121, Host: "ftp.corp", HostPort: 21}},
		{spec: "FTP/0:ftp.corp:21", want: Forward{Kind: FTP, Host: "ftp.corp", HostPort: 21}},
		{spec: "ftps/2121:ftp.corp:990", want: Forward{Kind: FTPS, Port: 2121, Host: "ftp.corp", HostPort: 990}},
		{spec: "ftp/10.0.0.7:2121:10.1.60.99:21", want: Forward{Kind: FTP, Bind: "10.0.0.7", Port: 2121, Host: "10.1.60.99", HostPort: 21}},
		{spec: "[::1]:80:[2001:db8::1]:8080", want: Forward{Bind: "::1", Port: 80, Host: "2001:db8::1", HostPort: 8080}},
		{spec: "80:[h]:80", want: Forward{Port: 80, Host: "h", HostPort: 80}}, // as ssh -G writes it
		{spec: "80:[127.0.0.1]:80", want: Forward{Port: 80, Host: "127.0.0.1", HostPort: 80}},
		{spec: "*:80:h:80", want: Forward{Bind: "*", Port: 80, Host: "h", HostPort: 80}},
		{spec: ":80:h:80", want: Forward{Bind: "*", Port: 80, Host: "h", HostPort: 80}},
		{spec: "/tmp/sock:h:80", want: Forward{Socket: "/tmp/sock", Host: "h", HostPort: 80}},
		{spec: "./sock:[::1]:80", want: Forward{Socket: "./sock", Host: "::1", HostPort: 80}},
		{spec: "[/tmp/a:b]:../d", want: Forward{Socket: "/tmp/a:b", HostSocket: "../d"}},
		{spec: "80:/tmp/sock", want: Forward{Port: 80, HostSocket: "/tmp/sock"}},
		{spec: "*:80:/tmp/sock", want: Forward{Bind: "*", Port: 80, HostSocket: "/tmp/sock"}},
		{spec: "ftp/2121:/tmp/sock", want: Forward{Kind: FTP, Port: 2121, HostSocket: "/tmp/sock"}},
		{spec: "localhost:80:h:80", want: Forward{Bind: "localhost", Port: 80, Host: "h", HostPort: 80}},

		{spec: "", err: "write [ftp/|ftps/][bind:]port:host:hostport"},
		{spec: "80", err: "write [ftp/|ftps/][bind:]port:host:hostport"},
		{spec: "80:h", err: "write [ftp/|ftps/][bind:]port:host:hostport"},
		{spec: "a:b:80:h:80", err: "write [ftp/|ftps/][bind:]port:host:hostport"},
		{spec: "::1:80:h:80", err: "write [ftp/|ftps/][bind:]port:host:hostport"},
		{spec: "70000:h:80", err: `port "70000" is not a number from 1 to 65535`},
		{spec: "80:h:0", err: `port "0" is not a number from 1 to 65535`},
		{spec: "+80:h:80", err: `port "+80"`},
		{spec: "80::80", err: "host name is missing"},
		{spec: "80:[]:80", err: "brackets must hold an IPv6 address"},
		{spec: "80:[a:b]:80", err: "brackets must hold an IPv6 address"},
		{spec: "80:[::1]x:80", err: `a colon must follow "]"`},
		{spec: "80:[::1:80", err: "brackets must hold an IPv6 address"},
		{spec: "x/80:h:80", err: "ftp-proxy/ and ftp-redirect/ are the only prefixes"},
		{spec: "fpt/80:h:80", err: `"fpt/80": did you mean ftp/80?`},
		{spec: "ftp-prxy/80", err: "did you mean ftp-proxy/80?"},
		{spec: "ftp//tmp/sock:h:21", err: "FTP clients connect by TCP"},
		{spec: "80:tmp/sock", err: "begins with / or ./"},
		{spec: "/tmp/sock", err: "write [ftp/|ftps/][bind:]port:host:hostport"},
		{spec: "/tmp/sock:80", err: "write [ftp/|ftps/][bind:]port:host:hostport"},
		{spec: "h:/tmp/sock:80", err: "write [ftp/|ftps/][bind:]port:host:hostport"},
		{spec: "/tmp/sock:80:/tmp/sock", err: "write [ftp/|ftps/][bind:]port:host:hostport"},
		{spec: "80:/" + strings.Repeat("a", 107), err: "more than 107 bytes"},
		{spec: "80:/a\x00", err: "is not a path"},
		{spec: "80:h h:80", err: `"h h" is not a host name`},
		{spec: "80:-h:80", err: `"-h" is not a host name`},
	} {
		got, err := ParseForward(test.spec)
		if test.err != "" {
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("ParseForward(%q): got error %v, want %q", test.spec, err, test.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("ParseForward(%q): %v", test.spec, err)
		} else if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("ParseForward(%q): %s", test.spec, diff)
		}
	}
}

func TestOtherForwardSyntax(t *testing.T) {
	for _, test := range []struct {
		parse func(string) (Forward, error)
		spec  string
		want  Forward
		err   string
	}{
		{parse: ParseRemoteForward, spec: "1080", want: Forward{Kind: SOCKS, Port: 1080}},
		{parse: ParseRemoteForward, spec: "0", want: Forward{Kind: SOCKS}},
		{parse: ParseRemoteForward, spec: "[::]:1080", want: Forward{Kind: SOCKS, Bind: "::", Port: 1080}},
		{parse: ParseRemoteForward, spec: "ftp/2121:ftp.corp:21", want: Forward{Kind: FTP, Port: 2121, Host: "ftp.corp", HostPort: 21}},
		{parse: ParseRemoteForward, spec: "/tmp/a:/tmp/b", want: Forward{Socket: "/tmp/a", HostSocket: "/tmp/b"}},
		{parse: ParseRemoteForward, spec: "80:/tmp/b", want: Forward{Port: 80, HostSocket: "/tmp/b"}},
		{parse: ParseRemoteForward, spec: "/tmp/a", err: "write [ftp/|ftps/]"},
		{parse: ParseRemoteForward, spec: "ftp/2121", err: "write [ftp/|ftps/]"},
		{parse: ParseDynamicForward, spec: "1080", want: Forward{Kind: SOCKS, Port: 1080}},
		{parse: ParseDynamicForward, spec: ":1080", want: Forward{Kind: SOCKS, Bind: "*", Port: 1080}},
		{parse: ParseDynamicForward, spec: "localhost:1080", want: Forward{Kind: SOCKS, Bind: "localhost", Port: 1080}},
		{parse: ParseDynamicForward, spec: "/tmp/a", err: "write [bind:]port"},
		{parse: ParseDynamicForward, spec: "1080:h:1", err: "write [bind:]port"},
		{parse: ParseDynamicForward, spec: "ftp/1080", err: "write [ftp/|ftps/]"},
		{parse: ParseDynamicForward, spec: "70000", err: "is not a number"},
		{parse: ParseDynamicForward, spec: "", err: "is not a number"},
	} {
		got, err := test.parse(test.spec)
		if test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) || test.err == "" && (err != nil || got != test.want) {
			t.Errorf("%q: got %+v, %v; want %+v, %q", test.spec, got, err, test.want, test.err)
		}
	}
}

// FuzzForward holds that what was parsed can be written and parsed again.
func FuzzForward(f *testing.F) {
	for _, s := range []string{"80:h:80", "ftp/[::1]:0:[fe80::1%eth0]:21", "ftps/0:h:990", "*:1:h:2", ":1:h:2", "a:b:c:d", "/a:h:1", "ftp/1:[/a:b]", "./a:/b", "ftp-proxy/*:1"} {
		f.Add(s)
	}
	bracket := func(host string) string {
		if strings.Contains(host, ":") {
			return "[" + host + "]"
		}
		return host
	}
	f.Fuzz(func(t *testing.T, spec string) {
		want, err := ParseForward(spec)
		if err != nil {
			return
		}
		var again string
		for prefix, kind := range prefixes {
			if kind == want.Kind {
				again = prefix + "/"
			}
		}
		if want.Bind != "" {
			again += bracket(want.Bind) + ":"
		}
		if want.Socket != "" {
			again += bracket(want.Socket)
		} else {
			again += itoa(want.Port)
		}
		switch {
		case want.Kind == FTPProxy:
		case want.HostSocket != "":
			again += ":" + bracket(want.HostSocket)
		default:
			again += ":" + bracket(want.Host) + ":" + itoa(want.HostPort)
		}
		got, err := ParseForward(again)
		if err != nil || got != want {
			t.Errorf("%q is %+v, and written again, %q is %+v, %v", spec, want, again, got, err)
		}
	})
}

func TestDestinationSyntax(t *testing.T) {
	type dest struct {
		User, Host string
		Port       uint16
	}
	for _, test := range []struct {
		in   string
		want dest
		err  string
	}{
		{in: "bastion.corp", want: dest{"me", "bastion.corp", 22}},
		{in: "alice@bastion.corp", want: dest{"alice", "bastion.corp", 22}},
		{in: "alice@corp@bastion", want: dest{"alice@corp", "bastion", 22}},
		{in: "alice@::1", want: dest{"alice", "::1", 22}},
		{in: "alice@[::1]", want: dest{"alice", "::1", 22}},
		{in: "ssh://alice@bastion:2222", want: dest{"alice", "bastion", 2222}},
		{in: "ssh://alice@bastion:2222/", want: dest{"alice", "bastion", 2222}},
		{in: "SSH://[2001:db8::1]:2222", want: dest{"me", "2001:db8::1", 2222}},
		{in: "ssh://bastion", want: dest{"me", "bastion", 22}},

		{in: "", err: "host name is missing"},
		{in: "@bastion", err: "user name is empty"},
		{in: "alice@", err: "host name is missing"},
		{in: "-oProxyCommand=x", err: "is not a host name"},
		{in: "http://bastion", err: "is not a host name"},
		{in: "ssh://bastion:0", err: "not a number from 1 to 65535"},
		{in: "ssh://::1", err: "with IPv6 addresses in brackets"},
		{in: "ssh://bastion/path", err: "is not a host name"},
	} {
		c := NewConfig("", "me")
		err := c.SetDestination(test.in)
		if test.err != "" {
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("SetDestination(%q): got error %v, want %q", test.in, err, test.err)
			}
			continue
		}
		if got := (dest{c.User, c.Host, c.Port}); err != nil || got != test.want {
			t.Errorf("SetDestination(%q): got %+v, %v; want %+v", test.in, got, err, test.want)
		}
	}
}
