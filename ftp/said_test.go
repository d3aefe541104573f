package ftp

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// saying is a session that says this for its client.
func saying(said ...string) *Session {
	o := usualOptions()
	o.Said = said
	return NewSession(o)
}

// heard feeds lines of the server ("S>") and of the client ("C>"), and returns what goes to either.
func heard(s *Session, steps ...string) (got []string) {
	for _, step := range steps {
		feed, text := s.FromServer, strings.TrimPrefix(step, "S> ")
		if rest, ok := strings.CutPrefix(step, "C> "); ok {
			feed, text = s.FromClient, rest
		}
		for _, e := range withoutRecord(feed([]byte(text + "\r\n"))) {
			switch e := e.(type) {
			case ToServer:
				got = append(got, "S< "+strings.TrimSuffix(string(e.Data), "\r\n"))
			case ToClient:
				got = append(got, "C< "+strings.TrimSuffix(string(e.Data), "\r\n"))
			case Close:
				got = append(got, "close")
			}
		}
	}
	return got
}

func TestSaidForTheClient(t *testing.T) {
	both := []string{"USER a", "PASS p"}
	for _, tt := range []struct {
		name        string
		said        []string
		steps, want string
	}{
		{"the answer to USER is the client's", both[:1], "S> 220-hello|S> 220 go|S> 331 password|C> PASS p|S> 230 in", "S< USER a|C< 331 password|S< PASS p|C< 230 in"},
		{"USER alone lets it in", both[:1], "S> 220 go|S> 230 in", "S< USER a|C< 230 in"},
		{"the answer to PASS is the client's", both, "S> 220 go|S> 331 password|S> 230 in", "S< USER a|S< PASS p|C< 230 in"},
		{"no password is wanted", both, "S> 220 go|S> 230 in|C> PWD", "S< USER a|C< 230 in|S< PWD"},
		{"the user is refused", both, "S> 220 go|S> 530 no|C> QUIT", "S< USER a|C< 530 no|S< QUIT"},
		{"the password is refused", both, "S> 220 go|S> 331 p|S> 530 no", "S< USER a|S< PASS p|C< 530 no"},
		{"a directory", append(both, "CWD d"), "S> 220 go|S> 331 p|S> 230 in|S> 250 there", "S< USER a|S< PASS p|S< CWD d|C< 250 there"},
		{"a directory, and no password is wanted", append(both, "CWD d"), "S> 220 go|S> 230 in|S> 550 no", "S< USER a|S< CWD d|C< 550 no"},
		{"an account is wanted before the directory", append(both, "CWD d"), "S> 220 go|S> 331 p|S> 332 acct|C> ACCT x", "S< USER a|S< PASS p|C< 332 acct|S< ACCT x"},
		{"an account is wanted at once", both, "S> 220 go|S> 332 acct|C> ACCT x", "S< USER a|C< 332 acct|S< ACCT x"},
		{"the server doesn't want to talk", both, "S> 421 full", "C< 421 full"},
		{"it has to wait", both[:1], "S> 120 soon|S> 220 go|S> 331 p", "S< USER a|C< 331 p"},
		{"it leaves in between", both, "S> 220 go|S> 421 bye", "S< USER a|C< 421 bye"},
		{"what the client says meanwhile waits", both, "C> PWD|C> ABOR|C> STAT|S> 220 go|S> 331 p|S> 230 in|S> 257 d", "S< USER a|S< PASS p|C< 230 in|S< PWD|S< ABOR|S< STAT|C< 257 d"},
		{"nothing is said, and the greeting is the answer", nil, "S> 220 go|C> USER a", "C< 220 go|S< USER a"},
		{"it isn't FTP", both, "S> SSH-2.0-x", "C< 421 The server at this address does not speak FTP, closing the connection|close"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := strings.Join(heard(saying(tt.said...), strings.Split(tt.steps, "|")...), "|")
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestUserNamesAreOfTheServer(t *testing.T) {
	o := usualOptions()
	o.Said = []string{"USER a@b"}
	o.Means = func(verb, arg string) (string, string) {
		switch verb + " " + arg {
		case "USER x@h":
			return "x", ""
		case "CWD d", "SITE ":
			return arg, ""
		}
		return "", "530 not here"
	}
	got := heard(NewSession(o), "S> 220 go", "S> 331 p", "C> PASS wrong", "S> 530 no", "C> USER x@h", "S> 331 p", "C> USER y@i", "C> OPEN i",
		"C> CWD d", "S> 250 d", "C> SITE", "S> 200 s", "C> CWD ftp://i")
	want := []string{
		"S< USER a@b", "C< 331 p", "S< PASS wrong", "C< 530 no", "S< USER x", "C< 331 p", "C< 530 not here", "C< 530 not here",
		"S< CWD d", "C< 250 d", "S< SITE", "C< 200 s", "C< 530 not here",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSaidBehindTLS(t *testing.T) {
	o := usualOptions()
	o.Said, o.TLS = []string{"USER a"}, TLSRequire
	s := NewSession(o)
	got := heard(s, "S> 220 go", "S> 234 yes")
	for _, e := range s.Secured() {
		got = append(got, fmt.Sprintf("S< %s", strings.TrimSpace(string(e.(ToServer).Data))))
	}
	got = append(got, heard(s, "S> 200 ok", "S> 200 ok", "S> 331 p")...)
	if diff := cmp.Diff([]string{"S< AUTH TLS", "S< PBSZ 0", "S< PROT P", "S< USER a", "C< 331 p"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Whatever the server answers, it hears what it would hear from a client that says the same itself, one command at a time, and the client hears the
// end of that.
func TestSaidIsWhatAClientSays(t *testing.T) {
	said := []string{"USER a", "PASS p", "CWD d"}
	replies := []string{"220 a", "230 b", "331 c", "332 d", "250 e", "530 f", "120 g", "150 h"}
	r := rand.New(rand.NewPCG(3, 4))
	for range 3000 {
		s, plain := saying(said...), NewSession(usualOptions())
		next, done := 0, false
		var script, got, want []string
		for range 2 + r.IntN(5) {
			reply := replies[r.IntN(len(replies))]
			script = append(script, reply)
			got = append(got, heard(s, "S> "+reply)...)
			if done {
				want = append(want, heard(plain, "S> "+reply)...)
				continue
			}
			heard(plain, "S> "+reply)
			code, greeting := reply[:3], next == 0
			goesOn := code < "300" || code == "331" && next == 1
			switch {
			case code < "200": // the client waits on
				continue
			case next == 1 && code < "300":
				next++ // no password is wanted
			}
			if !goesOn || next >= len(said) || greeting && code >= "300" {
				want, done = append(want, "C< "+reply), true
				continue
			}
			want = append(want, heard(plain, "C> "+said[next])...)
			next++
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("the server says %q (-want +got):\n%s", script, diff)
		}
	}
}
