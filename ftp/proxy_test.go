package ftp

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// asked is a dialogue with a proxy: what the client says, a line each, and what comes of it.
func asked(p *ProxyLogin, cut feeder, lines ...string) (got []string) {
	p.Greet()
	for _, line := range lines {
		got = append(got, shownProxy(cut([]byte(line+"\r\n"), p.FromClient))...)
	}
	return got
}

// shownProxy writes the effects with the codes of the replies alone.
func shownProxy(effects []Effect) (all []string) {
	for _, e := range effects {
		switch e := e.(type) {
		case ToClient:
			for _, line := range strings.Split(strings.TrimSuffix(string(e.Data), "\r\n"), "\r\n") {
				all = append(all, line[:3])
			}
		case Meant:
			text := fmt.Sprintf("%s port %d", e.Host, e.Port)
			if len(e.Said) > 0 {
				text += ": " + strings.Join(e.Said, ", ")
			}
			all = append(all, text)
		case Close:
			all = append(all, "close")
		case Note:
			all = append(all, "note "+e.Text)
		default:
			all = append(all, fmt.Sprintf("%T", e))
		}
	}
	return all
}

// The dialogues of clients are those that lftp 4.9.2, ncftp 3.2.6, curl 7.88, wget 1.21, tnftp 20210827, Python 3.11 and Perl's
// Net::FTP were seen to have, and those in FileZilla's manual.
func TestProxyLogin(t *testing.T) {
	for _, tt := range []struct{ name, says, want string }{
		{"lftp without a login for the proxy, ncftp's type 1, wget, gate-ftp", "USER alice@ftp.corp", "ftp.corp port 21: USER alice"},
		{"lftp, ncftp's type 8, with a port", "USER alice@ftp.corp:2100", "ftp.corp port 2100: USER alice"},
		{"ncftp's type 9", "USER alice@ftp.corp 2100", "ftp.corp port 2100: USER alice"},
		{"lftp's user, ncftp's type 2, FileZilla's USER@HOST", "USER pu|PASS pp|USER alice@ftp.corp:2100", "331|230|ftp.corp port 2100: USER alice"},
		{"lftp's open, ncftp's type 4, FileZilla's OPEN", "USER pu|PASS pp|OPEN ftp.corp:2100", "331|230|ftp.corp port 2100"},
		{"lftp's open without a login", "OPEN ftp.corp", "ftp.corp port 21"},
		{"ncftp's type 3, FileZilla's SITE", "USER pu|PASS pp|SITE ftp.corp", "331|230|ftp.corp port 21"},
		{"SITE with a port as a word", "SITE ftp.corp 2100", "ftp.corp port 2100"},
		{"lftp's joined, ncftp's type 5", "USER alice@culvert@ftp.corp|PASS secret@pp", "331|ftp.corp port 21: USER alice, PASS secret"},
		{"a password with an @", "USER alice@culvert@ftp.corp|PASS sec@ret@pp", "331|ftp.corp port 21: USER alice, PASS sec@ret"},
		{"joined without the proxy's password", "USER alice@culvert@ftp.corp|PASS secret|PASS secret@", "331|530|ftp.corp port 21: USER alice, PASS secret"},
		{"lftp's proxy-user@host, ncftp's type 6", "USER culvert@ftp.corp|PASS pp|USER alice", "331|230|ftp.corp port 21: USER alice"},
		{"lftp's joined-acct, ncftp's type 7, curl's --ftp-account", "USER alice@ftp.corp pu|PASS secret|ACCT pp", "331|332|ftp.corp port 21: USER alice, PASS secret"},
		{"Net::FTP with an account", "USER pu|PASS pp|ACCT pa|SITE ftp.corp", "331|230|202|ftp.corp port 21"},
		{"Python", "USER anonymous|PASS anonymous@|CWD ftp://alice:secret@ftp.corp:2100/d/e", "331|230|ftp.corp port 2100: USER alice, PASS secret, CWD d/e"},
		{"Python, anonymous, at the root", "USER anonymous|PASS anonymous@|CWD ftp://ftp.corp", "331|230|ftp.corp port 21: USER anonymous, PASS anonymous@"},
		{"Python, an absolute directory", "CWD FTP://a:b:c@d@ftp.corp//etc", "ftp.corp port 21: USER a, PASS b:c@d, CWD /etc"},

		{"a user name with an @", "USER alice@corp.example@ftp.corp", "ftp.corp port 21: USER alice@corp.example"},
		{"addresses", "USER a@10.1.60.99:2121", "10.1.60.99 port 2121: USER a"},
		{"an address of IPv6", "USER a@[2001:db8::1]", "2001:db8::1 port 21: USER a"},
		{"and with a port", "OPEN [2001:db8::1]:2121", "2001:db8::1 port 2121"},
		{"and with a port as a word", "USER a@[::1] 2121", "::1 port 2121: USER a"},
		{"without brackets, of eight groups", "USER a@2001:db8:0:0:0:0:0:1", "2001:db8:0:0:0:0:0:1 port 21: USER a"},
		{"and with a port behind them", "USER a@2001:db8:0:0:0:0:0:1:2121", "2001:db8:0:0:0:0:0:1 port 2121: USER a"},
		{"what may be an address with a port, and may be none", "USER a@::1:2121|USER a@::1", "501|501"},
		{"a wrong one is no end", "USER a@|USER @h|USER|OPEN|OPEN a@b|OPEN h:0|OPEN h:65536|OPEN h:+1|OPEN [::1|OPEN [::1%lo]|OPEN h:1 2|OPEN -h|OPEN h/x|OPEN ftp.corp", "501|501|501|501|501|501|501|501|501|501|501|501|501|ftp.corp port 21"},
		{"two names whose order can't be told", "USER alice@ftp.corp p@u|USER al ice@ftp.corp", "501|501"},
		{"the last server counts", "USER alice@culvert@ftp.corp|USER bob@ftp.other", "331|ftp.other port 21: USER bob"},
		{"PASS of another form isn't taken for this one's", "USER alice@culvert@ftp.corp|USER pu|PASS secret@pp|ACCT x", "331|331|230|202"},

		{"a client that knows of no proxy", "USER anonymous|PASS me@|SYST|PWD|PASV|FEAT|RETR f", "331|230|530|530|530|530|530"},
		{"words out of order", "PASS x|ACCT y|NOOP|CWD d", "503|202|200|530"},
		{"TLS", "AUTH TLS|AUTH SSL|PBSZ 0|PROT P|USER a@ftp.corp", "502|502|502|502|ftp.corp port 21: USER a"},
		{"QUIT", "QUIT", "221|close"},
		{"HTTP", "GET ftp://alice:secret@ftp.corp/f HTTP/1.0", "close"},
		{"TLS from the first byte", "\x16\x03\x01", "close"},
		{"SSH", "SSH-2.0-x", "close"},
		{"bare line ends", "USER a@ftp.corp\nOPEN b|NOOP\x00|\x01", "500|500|500|close"},
		{"a long line", "USER " + strings.Repeat("a", 5000), "500|close"},
		{"no end", strings.Repeat("NOOP|", 60) + "NOOP", strings.Repeat("200|", 50) + "421|close"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for how, cut := range map[string]feeder{"whole": whole, "byte by byte": inPieces(1)} {
				got := strings.Join(asked(NewProxyLogin(ProxyOptions{User: "culvert"}), cut, strings.Split(tt.says, "|")...), "|")
				if got != tt.want {
					t.Errorf("fed %s:\ngot  %s\nwant %s", how, got, tt.want)
				}
			}
		})
	}
}

// What is for the server is asked for where somebody here needs it.
func TestProxyLoginAsksForThePassword(t *testing.T) {
	for _, tt := range []struct{ says, want string }{
		{"USER alice@ftp.corp|PASS secret", "331|ftp.corp port 21: USER alice, PASS secret"},
		{"USER pu|PASS pp|USER alice@ftp.corp|PASS secret", "331|230|331|ftp.corp port 21: USER alice, PASS secret"},
		{"OPEN ftp.corp|USER alice|PASS secret", "220|331|ftp.corp port 21: USER alice, PASS secret"},
		{"OPEN ftp.corp|PASS secret|USER|USER bob@ftp.other|PASS x", "220|503|501|331|ftp.other port 21: USER bob, PASS x"},
		{"USER alice@ftp.corp|USER bob@ftp.corp|PASS x", "331|331|ftp.corp port 21: USER bob, PASS x"},
	} {
		p := NewProxyLogin(ProxyOptions{Password: true})
		if got := strings.Join(asked(p, whole, strings.Split(tt.says, "|")...), "|"); got != tt.want {
			t.Errorf("%s:\ngot  %s\nwant %s", tt.says, got, tt.want)
		}
		if p.meant.User == "" || p.meant.Password == "" {
			t.Errorf("%s: user %q and password %q, want both", tt.says, p.meant.User, p.meant.Password)
		}
	}
}

// Where the server is known, a client says what it would say to that.
func TestProxyLoginToAKnownServer(t *testing.T) {
	for says, want := range map[string]string{
		"USER alice|PASS secret":                    "331|ftp.corp port 2100: USER alice, PASS secret",
		"USER alice@corp.example|PASS a@b":          "331|ftp.corp port 2100: USER alice@corp.example, PASS a@b",
		"USER alice@ftp.other:21 x|PASS secret":     "331|ftp.corp port 2100: USER alice@ftp.other:21 x, PASS secret",
		"OPEN ftp.other|SITE HELP|CWD ftp://h|PWD":  "530|530|530|530",
		"PASS x|USER|AUTH TLS|USER alice|USER bob|": "503|501|502|331|331",
	} {
		p := NewProxyLogin(ProxyOptions{User: "culvert", Host: "ftp.corp", Port: 2100, Password: true})
		if got := strings.Join(asked(p, whole, strings.Split(says, "|")...), "|"); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", says, got, want)
		}
	}
}

// Without a name that is known to be the proxy's, every name is the server's.
func TestProxyLoginWithoutAName(t *testing.T) {
	for says, want := range map[string]string{
		"USER alice@pu@ftp.corp": "ftp.corp port 21: USER alice@pu",
		"USER pu@ftp.corp":       "ftp.corp port 21: USER pu",
	} {
		if got := strings.Join(asked(NewProxyLogin(ProxyOptions{}), whole, says), "|"); got != want {
			t.Errorf("%s: got %s, want %s", says, got, want)
		}
	}
}

func TestProxyLoginKeepsWhatIsForTheServer(t *testing.T) {
	p := NewProxyLogin(ProxyOptions{})
	p.FromClient([]byte("USER alice@ftp.corp\r\nPASS sec"))
	p.FromClient([]byte("ret\r\nPWD\r\n"))
	if got, want := string(p.Rest()), "PASS secret\r\nPWD\r\n"; got != want {
		t.Errorf("for the server there is %q, want %q", got, want)
	}
}

// A client that logs in once more names the server as it did.
func TestProxyLoginAgain(t *testing.T) {
	for _, tt := range []struct{ says, again, want string }{
		{"USER alice@ftp.corp", "bob@FTP.corp", "bob"},
		{"USER alice@ftp.corp", "bob@ftp.corp:21", "bob"},
		{"USER alice@ftp.corp", "bob@corp.example@ftp.corp", "bob@corp.example"},
		{"USER alice@ftp.corp", "bob", "bob"},
		{"USER alice@ftp.corp", "bob@ftp.other", "530"},
		{"USER alice@ftp.corp", "bob@ftp.corp:2100", "530"},
		{"USER alice@ftp.corp", "bob@culvert@ftp.corp", "530"},
		{"USER alice@ftp.corp", "culvert@ftp.corp", "530"},
		{"USER alice@ftp.corp", "bob@ftp.corp me", "530"},
		{"USER alice@ftp.corp", "bob@", "501"},
		{"OPEN ftp.corp", "bob@corp.example", "bob@corp.example"},
		{"OPEN ftp.corp", "bob@", "bob@"},
		{"USER culvert@ftp.corp|PASS x|USER alice", "culvert@ftp.other", "530"},
		{"USER culvert@ftp.corp|PASS x|USER alice", "bob@culvert@ftp.other", "530"},
		{"USER culvert@ftp.corp|PASS x|USER alice", "bob@corp.example", "bob@corp.example"},
		{"CWD ftp://a:b@ftp.corp", "bob@corp.example", "bob@corp.example"},
	} {
		p := NewProxyLogin(ProxyOptions{User: "culvert"})
		asked(p, whole, strings.Split(tt.says, "|")...)
		name, refusal := p.Again("USER", tt.again)
		if got := name + refusal[:min(3, len(refusal))]; got != tt.want {
			t.Errorf("after %s, USER %s: got %q, want %q", tt.says, tt.again, got, tt.want)
		}
	}
}

// Whatever names a server once more gets no answer of this one, which would be told the other's password next.
func TestProxyIsNamedOneServer(t *testing.T) {
	proxy, fixed := NewProxyLogin(ProxyOptions{}), NewProxyLogin(ProxyOptions{Host: "ftp.corp", Port: 21})
	asked(proxy, whole, "OPEN ftp.corp")
	asked(fixed, whole, "USER alice")
	for _, tt := range []struct {
		verb, arg string
		refused   bool
	}{
		{"OPEN", "ftp.other", true},
		{"OPEN", "", true},
		{"SITE", "ftp.other", true},
		{"SITE", "ftp.other:2100", true},
		{"SITE", "10.1.1.1 21", true},
		{"SITE", "HELP", false},
		{"SITE", "UMASK 022", false},
		{"SITE", "CHMOD 644 a.txt", false},
		{"CWD", "ftp://bob:secret@ftp.other/d", true},
		{"CWD", "FTP://bob:secret@ftp.other:x/d", true},
		{"CWD", "d", false},
		{"CWD", "", false},
	} {
		arg, refusal := proxy.Again(tt.verb, tt.arg)
		if tt.refused && (arg != "" || refusal != otherServer) || !tt.refused && (arg != tt.arg || refusal != "") {
			t.Errorf("%s %s: got %q, %q", tt.verb, tt.arg, arg, refusal)
		}
		if arg, refusal := fixed.Again(tt.verb, tt.arg); arg != tt.arg || refusal != "" {
			t.Errorf("%s %s where the server was known: got %q, %q", tt.verb, tt.arg, arg, refusal)
		}
	}
}

func FuzzProxyLogin(f *testing.F) {
	for _, seed := range []string{
		"USER alice@ftp.corp:2100\r\nPASS x\r\n", "USER pu\r\nPASS pp\r\nOPEN [::1]:21\r\n", "USER a@culvert@h\r\nPASS hunter2@y\r\n",
		"USER a@h p\r\nPASS hunter2\r\nACCT y\r\n", "CWD ftp://a:hunter2@h/d\r\n", "USER culvert@h\r\nPASS hunter2\r\nUSER a\r\n", "GET / HTTP/1.0\r\n",
		"USER a@h\n", "\xff\xf4\xff\xf2ABOR\r\nUSER \xff\xffa@1:2:3:4:5:6:7:8:21\r\n", "SITE h 21\r\n", "USER a@h\x00\r\n",
	} {
		f.Add(byte(0), []byte(seed))
		f.Add(byte(3), []byte(seed))
	}
	f.Fuzz(func(t *testing.T, pick byte, data []byte) {
		o := ProxyOptions{Password: pick&1 != 0}
		if pick&2 == 0 {
			o.User = "culvert"
		}
		p := NewProxyLogin(o)
		effects := p.FromClient(data)
		checkProxy(t, o, effects)
		for _, n := range []int{1, 3} {
			q := NewProxyLogin(o)
			var got []Effect
			inPieces(n)(data, func(piece []byte) []Effect { got = append(got, q.FromClient(piece)...); return nil })
			if diff := cmp.Diff(effects, got); diff != "" || string(p.Rest()) != string(q.Rest()) {
				t.Fatalf("the effects of %q depend on the cuts (-whole +in pieces of %d):\n%s", data, n, diff)
			}
		}
	})
}

// checkProxy holds what is true of all effects: what is meant is one server, and goes to it as whole lines, and nothing follows it.
func checkProxy(t *testing.T, o ProxyOptions, effects []Effect) {
	t.Helper()
	for i, e := range effects {
		switch e := e.(type) {
		case ToClient:
			if !wholeToDown.Match(e.Data) {
				t.Fatalf("to the client: %q", e.Data)
			}
		case Note:
			if strings.Contains(e.Text, secret) {
				t.Fatalf("a password in a note: %s", e.Text)
			}
		case Close:
			if i != len(effects)-1 {
				t.Fatalf("%T after Close", effects[i+1])
			}
		case Meant:
			if i != len(effects)-1 {
				t.Fatalf("%T after Meant", effects[i+1])
			}
			if host, port, err := parseServer(e.Host + " 21"); !strings.Contains(e.Host, ":") && (err != nil || host != e.Host || port != 21) || e.Port == 0 || strings.ContainsAny(e.Host, " @[]/\r\n") {
				t.Fatalf("host %q, port %d", e.Host, e.Port)
			}
			for _, line := range e.Said {
				if !wholeToUp.MatchString(line + "\r\n") {
					t.Fatalf("to the server: %q", line)
				}
			}
			if o.Password && (e.User == "" || len(e.Said) < 2) {
				t.Fatalf("%+v, want a user and a password in it", e)
			}
		default:
			t.Fatalf("%T", e)
		}
	}
}
