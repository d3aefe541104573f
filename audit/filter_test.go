package audit_test

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/culvert-ssh/culvert/audit"
)

var (
	alice = audit.Conn{ID: "1", Client: netip.MustParseAddrPort("192.0.2.7:1024"), User: "alice"}
	bob   = audit.Conn{ID: "2", Client: netip.MustParseAddrPort("[2001:db8::7]:1024"), User: "bob"}
)

// story is a log that has something of everything, a minute between two events.
func story(t testing.TB) string {
	t.Helper()
	var b bytes.Buffer
	at := noon()
	l := audit.New(&b, func() time.Time { at = at.Add(time.Minute); return at })
	anybody := audit.Conn{ID: "1", Client: alice.Client}
	write(t, l,
		audit.ConnectionOpened{Conn: anybody, Local: netip.MustParseAddrPort("192.0.2.1:22")},
		audit.Authentication{Conn: alice, Method: "publickey", Key: "SHA256:abc", Result: "refused", Reason: "there is no such key"},
		audit.Authentication{Conn: alice, Method: "publickey", Key: "SHA256:def", Rule: "keys/alice:1", Result: "accepted"},
		audit.ConnectionOpened{Conn: audit.Conn{ID: "2", Client: bob.Client}, Local: netip.MustParseAddrPort("192.0.2.1:22")},
		audit.ChannelAsked{Conn: alice, Request: "1-1", Type: "direct-tcpip", Target: "ftp.corp:21"},
		audit.ChannelDecided{Conn: alice, Request: "1-1", Address: netip.MustParseAddrPort("10.0.0.5:21"), Rule: "sshd_config:12", Result: "allowed"},
		audit.ChannelOpened{Conn: alice, Request: "1-1", Type: "direct-tcpip", Target: "ftp.corp:21", Address: netip.MustParseAddrPort("10.0.0.5:21"), Rule: "sshd_config:12", FTP: "control"},
		audit.FTPLogin{Conn: alice, Control: "1-1", Login: "anna\x1b[2J"},
		audit.FTPCommand{Conn: alice, Control: "1-1", Command: "CWD", Class: "session", Path: "/a b", Code: 250, By: "server"},
		audit.FTPCommand{Conn: alice, Control: "1-1", Command: "DELE", Class: "write", Path: "x", Code: 550, By: "bastion", Number: "1-1.1", Resolved: "/a b/x", Rule: "sshd_config:9", Reason: "FTPDeny /**/x"},
		audit.FTPTransfer{Conn: alice, Control: "1-1", Request: "1-2", Command: "RETR", Direction: "download", Path: "f", Bytes: 1234567, Seconds: 1.5, Result: "complete", Code: 226},
		audit.ChannelRefused{Conn: bob, Request: "2-1", Type: "direct-tcpip", Target: "169.254.0.1:80", Rule: "sshd_config:2", Reason: "DenyOpen"},
		audit.ChannelClosed{Conn: alice, Request: "1-1", Type: "direct-tcpip", Up: 100, Down: 2000, Seconds: 60, Result: "aborted", Reason: "reset"},
		audit.ConnectionClosed{Conn: alice, Seconds: 120, Reason: "closed by the client"},
		audit.Penalty{Source: netip.MustParsePrefix("192.0.2.0/24"), Class: "authfail", Seconds: 5},
		audit.Reload{File: "sshd_config", Result: "refused"},
	)
	return b.String()
}

func TestFilterPicks(t *testing.T) {
	text := story(t)
	lines := strings.SplitAfter(text, "\n")
	for _, tt := range []struct {
		name string
		f    audit.Filter
		want []int // numbers of lines
	}{
		{"user", audit.Filter{User: "bob"}, []int{12}},
		{"connection", audit.Filter{Conn: "2"}, []int{4, 12}},
		{"request", audit.Filter{Conn: "1-2"}, []int{11}},
		{"refused command", audit.Filter{Conn: "1-1.1"}, []int{10}},
		{"event", audit.Filter{Event: "channel.opened"}, []int{7}},
		{"events", audit.Filter{Event: "channel.*", Conn: "1-1"}, []int{5, 6, 7, 13}},
		{"since", audit.Filter{Since: noon().Add(15 * time.Minute)}, []int{15, 16}},
		{"until", audit.Filter{Until: noon().Add(2 * time.Minute)}, []int{1}},
		{"client", audit.Filter{Client: netip.MustParsePrefix("2001:db8::/32")}, []int{4, 12}},
		{"source", audit.Filter{Client: netip.MustParsePrefix("192.0.2.7/32"), Denied: true}, []int{2, 10, 15}},
		{"denied", audit.Filter{Denied: true}, []int{2, 10, 12, 15}},
		{"denied to one", audit.Filter{Denied: true, User: "alice"}, []int{2, 10}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got bytes.Buffer
			foreign, err := tt.f.Select(&got, strings.NewReader(text+"garbage\n"))
			if err != nil || foreign != 1 {
				t.Errorf("got %d lines that are no events, %v", foreign, err)
			}
			var want string
			for _, n := range tt.want {
				want += lines[n-1]
			}
			if got.String() != want {
				t.Errorf("got\n%swant\n%s", got.String(), want)
			}
		})
	}
}

const shown = `Sunday, 22 November 2026, UTC
11:01:00.000  connection 1 from 192.0.2.7:1024, at 192.0.2.1:22
11:02:00.000    refused "alice" by publickey SHA256:abc: there is no such key
11:03:00.000    accepted "alice" by publickey SHA256:def (keys/alice:1)
11:05:00.000    1-1 asks for direct-tcpip "ftp.corp:21"
11:06:00.000      allowed 10.0.0.5:21 (sshd_config:12)
11:07:00.000    1-1 open, direct-tcpip, FTP control connection, 10.0.0.5:21 (sshd_config:12)
11:08:00.000      1-1 FTP login "anna\x1b[2J"
11:09:00.000      1-1 CWD "/a b": 250
11:10:00.000      1-1 DELE "x": 550 from the bastion, number 1-1.1 "/a b/x" (sshd_config:9): FTPDeny /**/x
11:11:00.000      1-1 download "f" complete, 1,234,567 bytes in 1.5s
11:13:00.000    1-1 closed, aborted after 1m0s, 100 bytes up, 2,000 bytes down: reset
11:14:00.000  connection closed after 2m0s: closed by the client
`

func TestShowTellsTheStoryOfAConnection(t *testing.T) {
	var got bytes.Buffer
	s := audit.Show{W: &got, Conn: "1-1"}
	if _, err := s.File(strings.NewReader(story(t))); err != nil {
		t.Fatal(err)
	}
	if got.String() != shown {
		t.Errorf("got\n%swant\n%s", got.String(), shown)
	}
}

func TestShowQuotesWhatPeersCallThings(t *testing.T) {
	var lines bytes.Buffer
	log := audit.New(&lines, noon)
	for _, e := range []audit.Event{
		audit.Authentication{Conn: audit.Conn{ID: "1", User: "bob"}, Method: "publickey SHA256:abc (keys/bob:1)", Result: "refused", Reason: "unknown"},
		audit.ChannelRefused{Conn: audit.Conn{ID: "1"}, Request: "1-1", Type: "nothing. 1-2 open, session", Reason: "unsupported"},
		audit.ChannelRefused{Conn: audit.Conn{ID: "1"}, Request: "1-3", Type: "direct-streamlocal@openssh.com", Reason: "not offered"},
	} {
		if err := log.Write(e); err != nil {
			t.Fatal(err)
		}
	}
	var got bytes.Buffer
	s := audit.Show{W: &got, Conn: "1"}
	if _, err := s.File(&lines); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`refused "bob" by "publickey SHA256:abc (keys/bob:1)": unknown`, `1-1 refused, "nothing. 1-2 open, session": unsupported`,
		`1-3 refused, direct-streamlocal@openssh.com: not offered`,
	} {
		if !strings.Contains(got.String(), want+"\n") {
			t.Errorf("got\n%swant\n%s", got.String(), want)
		}
	}
}

func TestShowColoursWhatWentWrong(t *testing.T) {
	var got bytes.Buffer
	s := audit.Show{W: &got, Conn: "1", Color: true}
	if _, err := s.File(strings.NewReader(story(t))); err != nil {
		t.Fatal(err)
	}
	red := 0
	for line := range strings.Lines(got.String()) {
		if strings.Contains(line, "\x1b[31m") {
			red++
			if !strings.Contains(line, "refused") && !strings.Contains(line, "DELE") && !strings.Contains(line, "aborted") {
				t.Errorf("red is %q", line)
			}
		}
	}
	if red != 3 {
		t.Errorf("got %d red lines, want 3", red)
	}
}

func TestForgedLineReachesNoTerminal(t *testing.T) {
	const forged = `{"time":"2026-11-22T11:00:00Z","event":"new.thing","conn":"1","x":"` + "\u009b31m" + `","y":"\u001b[2J"}` + "\n" +
		`{"time":"2026-11-22T11:00:00Z","event":"connection.closed","conn":"1","reason":"a\u001b[2J\nb\u202e"}` + "\n"
	var got bytes.Buffer
	if _, err := (audit.Filter{}).Select(&got, strings.NewReader(`{"event":"a","x":"`+"\x9b31m\u202e"+"\"\r}\n")); err != nil {
		t.Fatal(err)
	}
	if want := `{"event":"a","x":"\ufffd31m\u202e"\u000d}` + "\n"; got.String() != want {
		t.Errorf("got %q, want %q", got.String(), want)
	}
	got.Reset()
	s := audit.Show{W: &got, Conn: "1"}
	if _, err := s.File(strings.NewReader(forged)); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(got.String(), "\x1b\u009b\u202e") || strings.Count(got.String(), "\n") != 3 {
		t.Errorf("got %q", got.String())
	}
}
