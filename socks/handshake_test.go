package socks

import (
	"bytes"
	"strings"
	"testing"
)

// talk feeds all of said to a handshake, and returns what it answers and how many bytes it has not wanted.
func talk(said []byte) (req Request, answer []byte, rest int, err error) {
	var h Handshake
	for n := h.Want(); n > 0 && n <= len(said); n = h.Want() {
		var reply []byte
		reply, err = h.Feed(said[:n])
		answer, said = append(answer, reply...), said[n:]
	}
	return h.Request(), answer, len(said), err
}

func TestRequests(t *testing.T) {
	v6 := "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01"
	mapped := "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\x0a\x01\x02\x03"
	long := strings.Repeat("a", 253)
	for _, test := range []struct {
		name, said string
		want       Request
		answer     string
		rest       int
		err        string // part of it
	}{
		{name: "5, a name", said: "\x05\x01\x00\x05\x01\x00\x03\x08ftp.corp\x00\x15", want: Request{5, "ftp.corp", 21}, answer: "\x05\x00"},
		{name: "5, a password offered too", said: "\x05\x02\x02\x00\x05\x01\x00\x03\x01h\x00\x15", want: Request{5, "h", 21}, answer: "\x05\x00"},
		{name: "5, IPv4", said: "\x05\x01\x00\x05\x01\x00\x01\x0a\x01\x02\x03\x06\x0c", want: Request{5, "10.1.2.3", 1548}, answer: "\x05\x00"},
		{name: "5, IPv6", said: "\x05\x01\x00\x05\x01\x00\x04" + v6 + "\x00\x50", want: Request{5, "2001:db8::1", 80}, answer: "\x05\x00"},
		{name: "5, IPv4 as IPv6", said: "\x05\x01\x00\x05\x01\x00\x04" + mapped + "\x00\x50", want: Request{5, "10.1.2.3", 80}, answer: "\x05\x00"},
		{name: "5, an address as a name", said: "\x05\x01\x00\x05\x01\x00\x03\x0b2001:DB8::1\x00\x50", want: Request{5, "2001:db8::1", 80}, answer: "\x05\x00"},
		{name: "5, data behind it", said: "\x05\x01\x00\x05\x01\x00\x03\x01h\x00\x15USER", want: Request{5, "h", 21}, answer: "\x05\x00", rest: 4},
		{name: "5, the longest name", said: "\x05\x01\x00\x05\x01\x00\x03\xfd" + long + "\x00\x15", want: Request{5, long, 21}, answer: "\x05\x00"},
		{name: "4", said: "\x04\x01\x00\x15\x0a\x01\x02\x03alice\x00", want: Request{4, "10.1.2.3", 21}},
		{name: "4, no user", said: "\x04\x01\x00\x15\x0a\x01\x02\x03\x00data", want: Request{4, "10.1.2.3", 21}, rest: 4},
		{name: "4a", said: "\x04\x01\x00\x15\x00\x00\x00\x01alice\x00ftp.corp\x00data", want: Request{4, "ftp.corp", 21}, rest: 4},

		{name: "HTTP", said: "GET / HTTP/1.1\r\n", err: `begins with "G"`, rest: 15},
		{name: "version 0", said: "\x00\x00", err: `begins with "\x00"`, rest: 1},
		{name: "5, no methods", said: "\x05\x00", answer: "\x05\xff", err: "without a password"},
		{name: "5, only a password", said: "\x05\x01\x02", answer: "\x05\xff", err: "without a password"},
		{name: "5, another version", said: "\x05\x01\x00\x04\x01\x00\x03", answer: "\x05\x00" + "\x05\x01\x00\x01\x00\x00\x00\x00\x00\x00", err: "version 4 in version 5"},
		{name: "5, BIND", said: "\x05\x01\x00\x05\x02\x00\x03\x01h\x00\x15", answer: "\x05\x00" + "\x05\x07\x00\x01\x00\x00\x00\x00\x00\x00", err: "command 2 is not CONNECT"},
		{name: "5, no such address", said: "\x05\x01\x00\x05\x01\x00\x02", answer: "\x05\x00" + "\x05\x08\x00\x01\x00\x00\x00\x00\x00\x00", err: "address type 2"},
		{name: "5, no name", said: "\x05\x01\x00\x05\x01\x00\x03\x00", answer: "\x05\x00" + "\x05\x01\x00\x01\x00\x00\x00\x00\x00\x00", err: "host name is missing"},
		{name: "5, too long a name", said: "\x05\x01\x00\x05\x01\x00\x03\xfe", answer: "\x05\x00" + "\x05\x01\x00\x01\x00\x00\x00\x00\x00\x00", err: "host name of 254 bytes"},
		{name: "5, port 0", said: "\x05\x01\x00\x05\x01\x00\x03\x01h\x00\x00", answer: "\x05\x00" + "\x05\x01\x00\x01\x00\x00\x00\x00\x00\x00", err: "port 0"},
		{name: "5, a name that is none", said: "\x05\x01\x00\x05\x01\x00\x03\x03a\nb\x00\x15", answer: "\x05\x00" + "\x05\x01\x00\x01\x00\x00\x00\x00\x00\x00", err: `"a\nb" is not a host name`},
		{name: "5, an option of a program", said: "\x05\x01\x00\x05\x01\x00\x03\x02-h\x00\x15", answer: "\x05\x00" + "\x05\x01\x00\x01\x00\x00\x00\x00\x00\x00", err: `"-h" is not a host name`},
		{name: "5, a zone", said: "\x05\x01\x00\x05\x01\x00\x03\x0afe80::1%lo\x00\x15", answer: "\x05\x00" + "\x05\x01\x00\x01\x00\x00\x00\x00\x00\x00", err: "is not a host name"},
		{name: "4, BIND", said: "\x04\x02\x00\x15\x0a\x01\x02\x03\x00", answer: "\x00\x5b\x00\x00\x00\x00\x00\x00", err: "command 2 is not CONNECT"},
		{name: "4a, no name", said: "\x04\x01\x00\x15\x00\x00\x00\x01\x00\x00", answer: "\x00\x5b\x00\x00\x00\x00\x00\x00", err: "host name is missing"},
		{name: "4, an endless user", said: "\x04\x01\x00\x15\x0a\x01\x02\x03" + strings.Repeat("a", 1000), answer: "\x00\x5b\x00\x00\x00\x00\x00\x00", rest: 1000 - 256, err: "more than 255 bytes"},
	} {
		req, answer, rest, err := talk([]byte(test.said))
		if test.err == "" && (err != nil || req != test.want) {
			t.Errorf("%s: got %+v, %v; want %+v", test.name, req, err, test.want)
		}
		if test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
			t.Errorf("%s: got error %v, want %q", test.name, err, test.err)
		}
		if string(answer) != test.answer || rest != test.rest {
			t.Errorf("%s: answered %q with %d bytes left, want %q and %d", test.name, answer, rest, test.answer, test.rest)
		}
	}
}

func TestReplies(t *testing.T) {
	for _, test := range []struct {
		version int
		outcome Outcome
		want    string
	}{
		{5, Granted, "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"},
		{5, NotAllowed, "\x05\x02\x00\x01\x00\x00\x00\x00\x00\x00"},
		{4, Granted, "\x00\x5a\x00\x00\x00\x00\x00\x00"},
		{4, Refused, "\x00\x5b\x00\x00\x00\x00\x00\x00"},
	} {
		if got := (Request{Version: test.version}).Reply(test.outcome); string(got) != test.want {
			t.Errorf("version %d, outcome %d: got %q, want %q", test.version, test.outcome, got, test.want)
		}
	}
}

// A handshake that is fed what it has not asked for says so, and is not confused by it.
func TestFeedOfAnotherLength(t *testing.T) {
	var h Handshake
	for _, p := range []string{"", "\x05\x01"} {
		if _, err := h.Feed([]byte(p)); err == nil {
			t.Errorf("fed %d bytes in the place of 1: no error", len(p))
		}
	}
	if _, err := h.Feed([]byte{5}); err != nil || h.Want() != 1 {
		t.Errorf("then wants %d bytes, %v; want 1", h.Want(), err)
	}
}

// written is the obvious way to ask for what req names, as a client that offers no password would.
func written(req Request) []byte {
	port := []byte{byte(req.Port >> 8), byte(req.Port)}
	if req.Version == version4 {
		return bytes.Join([][]byte{{4, 1}, port, {0, 0, 0, 9}, []byte("me\x00" + req.Host + "\x00")}, nil)
	}
	return bytes.Join([][]byte{{5, 1, 0, 5, 1, 0, 3, byte(len(req.Host))}, []byte(req.Host), port}, nil)
}

// FuzzHandshake holds that a handshake is bounded, ends in one of two ways, and that what was asked for can be asked for again by what
// Request says.
func FuzzHandshake(f *testing.F) {
	f.Add([]byte("\x05\x01\x00\x05\x01\x00\x03\x08ftp.corp\x00\x15"))
	f.Add([]byte("\x05\x02\x02\x00\x05\x01\x00\x01\x0a\x01\x02\x03\x06\x0c"))
	f.Add([]byte("\x05\x01\x00\x05\x01\x00\x04\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x50"))
	f.Add([]byte("\x04\x01\x00\x15\x00\x00\x00\x01alice\x00ftp.corp\x00data"))
	f.Add([]byte("\x04\x02\x00\x15\x0a\x01\x02\x03\x00"))
	f.Add([]byte("GET / HTTP/1.1"))
	f.Fuzz(func(t *testing.T, said []byte) {
		var h Handshake
		fed := 0
		for n := h.Want(); n > 0; n = h.Want() {
			if n > 255 || fed > 1+1+255+4+1+255+2 {
				t.Fatalf("wants %d bytes after %d", n, fed)
			}
			if n > len(said)-fed {
				return // the client has gone away
			}
			reply, err := h.Feed(said[fed : fed+n])
			fed += n
			if err == nil {
				continue
			}
			if h.Want() != 0 {
				t.Fatalf("wants %d bytes after %v", h.Want(), err)
			}
			if granted := h.Request().Reply(Granted); bytes.Equal(reply, granted) {
				t.Fatalf("grants what it refuses: %v", err)
			}
			return
		}
		want := h.Request()
		got, _, rest, err := talk(written(want))
		if err != nil || got != want || rest != 0 {
			t.Errorf("%+v, asked for again, is %+v, %v, with %d bytes left", want, got, err, rest)
		}
	})
}
