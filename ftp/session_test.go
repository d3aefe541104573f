package ftp

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/culvert-ssh/culvert/internal/transcript"
)

// lines returns how often each line is among the written effects.
func lines(effects []Effect) map[string]int {
	count := map[string]int{}
	for _, folded := range written(merge(effects)) {
		for _, line := range transcript.Unfold(folded) {
			count[line]++
		}
	}
	return count
}

// passivePending returns a session whose PASV was sent.
func passivePending() *Session {
	s := loggedIn(usualOptions())
	s.FromClient([]byte("PASV\r\n"))
	return s
}

var here = netip.MustParseAddrPort("127.0.0.1:40001")

// A reply that is cut anywhere has the same outcome as one that comes whole.
func TestReplyCutAnywhere(t *testing.T) {
	for _, reply := range []string{
		"227 Entering Passive Mode (10,0,0,5,4,1).\r\n",
		"227-Entering Passive Mode (10,0,0,5,4,1)\r\nmore\r\n227 (1,2,3,4,5,6)\r\n",
		"227 (192,168,1,9,4,1)\r\n",
		"227 (10,0,0,5,260,1)\r\n",
		"229 Entering Extended Passive Mode (|||6446|)\r\n",
		"229 (|1|10.0.0.6|6446|)\r\n",
		"500 no\r\n227 (10,0,0,5,4,1)\r\n",
		"211-x\r\n227 (10,0,0,5,4,1)\r\n211 end\r\n",
		"227 \xff\xff (10,\xff\xf10,0,5,4,1)\r\x00\r\r\n200 \n\r\n",
	} {
		want := written(merge(passivePending().FromServer([]byte(reply))))
		for i := range len(reply) {
			for j := i; j <= len(reply); j++ {
				s := passivePending()
				var got []Effect
				for _, piece := range []string{reply[:i], reply[i:j], reply[j:]} {
					got = append(got, s.FromServer([]byte(piece))...)
				}
				if diff := cmp.Diff(want, written(merge(got))); diff != "" {
					t.Fatalf("%q cut at %d and %d (-want +got):\n%s", reply, i, j, diff)
				}
			}
		}
	}
}

func TestEffectsDoNotAliasTheInput(t *testing.T) {
	talk := func(scribble bool) []string {
		s := NewSession(usualOptions())
		var all []Effect
		for _, step := range []struct {
			feed func([]byte) []Effect
			text string
		}{
			{s.FromServer, "220 ready\r\n"},
			{s.FromClient, "USER alice\r\nPASS secret\r\n"},
			{s.FromServer, "331-pass\r\n331 word\r\n230 in\r\n"},
			{s.FromClient, "PASV\r\nRETR f\r\nSTAT\r\n"},
			{s.FromServer, "227 (10,0,0,5,4,1)\r\n150 go\r\n"},
		} {
			p := []byte(step.text)
			all = append(all, step.feed(p)...)
			if scribble {
				copy(p, bytes.Repeat([]byte("X"), len(p)))
			}
		}
		return written(merge(append(all, s.Announced(here)...)))
	}
	if diff := cmp.Diff(talk(false), talk(true)); diff != "" {
		t.Errorf("the effects changed with the input (-as fed +overwritten):\n%s", diff)
	}
}

func TestAtMost256CommandsAreUnanswered(t *testing.T) {
	s := loggedIn(usualOptions())
	got := lines(s.FromClient(bytes.Repeat([]byte("NOOP\r\n"), 300)))
	if got["server: NOOP"] != maxDue {
		t.Errorf("%d commands went up, want %d", got["server: NOOP"], maxDue)
	}
	got = lines(s.FromServer(bytes.Repeat([]byte("200 ok\r\n"), 300)))
	if got["server: NOOP"] != 300-maxDue || got["client: 200 ok"] != 300 {
		t.Errorf("afterwards %d commands went up, want %d; %d replies came down, want 300",
			got["server: NOOP"], 300-maxDue, got["client: 200 ok"])
	}
}

// A driver that heeds WantsClient and reads 32 KiB at a time never hits the bound, however short the commands are.
func TestHeldCommandsAreBounded(t *testing.T) {
	s := passivePending()
	read := bytes.Repeat([]byte("NOOP\r\n"), 32<<10/6)
	fed := 0
	for s.WantsClient() {
		n := min(len(read), 1000*(fed+1))
		if got := s.FromClient(read[:n]); len(got) != 0 {
			t.Fatalf("after %d reads: %q", fed, written(got))
		}
		fed++
	}
	if got := s.FromClient(read); len(got) != 0 {
		t.Fatalf("one more read: %q", written(got))
	}
	got := lines(s.FromClient(bytes.Repeat(read, 2)))
	if got["client: 421 Too many commands at once"] != 1 || got["close: the client sent too many commands ahead of their replies"] != 1 {
		t.Fatalf("a driver that goes on: %v", got)
	}
	if s.WantsClient() || s.WantsServer() {
		t.Error("a closed session wants bytes")
	}
}

func TestNothingIsWantedWhileAnAnnouncementIsOpen(t *testing.T) {
	s := passivePending()
	s.FromServer([]byte("227 (10,0,0,5,4,1)\r\n"))
	if s.WantsClient() || s.WantsServer() {
		t.Error("bytes are wanted")
	}
	if got := s.ClientClosed(); got != nil {
		t.Errorf("effects: %q", written(got))
	}
	s.FromClient([]byte("NOOP\r\n")) // after its end: a mistake of the driver
	want := []string{"client: 227 Entering Passive Mode (127,0,0,1,156,65)", "end of commands"}
	if diff := cmp.Diff(want, written(s.Announced(here))); diff != "" {
		t.Errorf("effects of the answer (-want +got):\n%s", diff)
	}
	if s.WantsClient() || !s.WantsServer() {
		t.Errorf("after the client's end, WantsClient is %v and WantsServer is %v", s.WantsClient(), s.WantsServer())
	}
	if got := s.Announced(here); got != nil {
		t.Errorf("an answer to nothing: %q", written(got))
	}
	if got := s.Refused("no"); got != nil {
		t.Errorf("a refusal of nothing: %q", written(got))
	}
}

func TestDriverThatFeedsWhileAnAnnouncementIsOpen(t *testing.T) {
	s := passivePending()
	s.FromServer([]byte("227 (10,0,0,5,4,1)\r\n"))
	for range 64 {
		if got := s.FromServer(make([]byte, 32<<10)); got != nil {
			t.Fatalf("effects: %q", written(got))
		}
	}
	kept := 0
	for _, in := range s.inputs {
		kept += len(in.data)
	}
	if kept > maxOverfed {
		t.Errorf("%d bytes were kept, want at most %d", kept, maxOverfed)
	}
	got := written(s.Announced(here))
	if last := got[len(got)-1]; !strings.HasPrefix(last, "close: the driver") || !slices.Contains(got, "cancel: the control connection ends") {
		t.Errorf("got %q", got)
	}
}

// What arrives late, a little at every announcement, doesn't add up.
func TestDriverThatFeedsALittleTooMuch(t *testing.T) {
	s := loggedIn(usualOptions())
	for i := range 100 {
		s.FromClient([]byte("PASV\r\n"))
		s.FromServer([]byte("227 (10,0,0,5,4,1)\r\n"))
		s.FromClient(bytes.Repeat([]byte("\r\n"), 16<<10))
		want := []string{"client: 227 Entering Passive Mode (127,0,0,1,156,65)"}
		if diff := cmp.Diff(want, written(s.Announced(here))); diff != "" {
			t.Fatalf("announcement %d (-want +got):\n%s", i, diff)
		}
	}
}

func TestNotesOfOneKindAreBounded(t *testing.T) {
	s := loggedIn(usualOptions())
	for kind, feed := range map[string]func() []Effect{
		"telnet":    func() []Effect { return s.FromClient(bytes.Repeat([]byte("\xff\xf1"), 1000)) },
		"malformed": func() []Effect { return s.FromServer(bytes.Repeat([]byte("hello\r\n"), 1000)) },
	} {
		got := written(feed())
		if len(got) != maxNotes || !strings.HasPrefix(got[0], "note "+kind) || !strings.HasSuffix(got[maxNotes-1], "(further ones are not noted)") {
			t.Errorf("%s: %d notes, want %d; the last is %q", kind, len(got), maxNotes, got[len(got)-1])
		}
	}
}

// Whatever stands in a note or a reason, it is printable, and not much.
func TestNotesAreEscapedAndShort(t *testing.T) {
	s := loggedIn(usualOptions())
	var all []Effect
	for _, line := range []string{"\x1b[31mred", "229 \u202e" + strings.Repeat("x", 5000)} {
		all = append(all, s.FromServer([]byte(line+"\r\n"))...)
	}
	s.FromClient([]byte("USER a\u202eb\"\r\n"))
	all = append(all, s.FromServer([]byte("230 in\r\n"))...)
	want := []string{
		`note malformed: a line of the server that is no reply was dropped: "\x1b[31mred"`,
		fmt.Sprintf(`note unsolicited: dropped, as it answers no PASV or EPSV: "229 \u202e%s" and 4751 more bytes`, strings.Repeat("x", 249)),
		`note login: a\u202eb"`,
		`client: 230 in`,
	}
	if diff := cmp.Diff(want, written(all)); diff != "" {
		t.Errorf("effects (-want +got):\n%s", diff)
	}
}
