package ftp

import (
	"bytes"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/culvert-ssh/culvert/internal/transcript"
)

var update = flag.Bool("update", false, "write the effects that the machine has into the transcripts")

// A dialogue is a transcript as the machine goes through it. Besides what package transcript says, the steps are:
//
//	option KEY VALUE   a field of Options; without any they are usualOptions
//	option record yes  the effects are written with what is said for the record
//	login              greeting and login, whose effects are left out
//	announced ADDR     the driver's answers to an announcement; one to a client in active mode needs no ADDR
//	listening ADDR     the driver's answer to a listen
//	ended              the driver's answer to an ending
//	refused REASON     to each of them
//	secured            the driver's answers to a StartTLS
//	unsecured REASON
//	unreading          the driver's answer to an Unread, or refused REASON
//	expired            the time for the login is over
//
// go test -update writes the effects; read the difference.
type dialogue struct {
	transcript.Transcript
	options Options
	record  bool // what is said for the record is among the effects
}

// A feeder cuts bytes into calls.
type feeder func(p []byte, feed func([]byte) []Effect) []Effect

func inPieces(n int) feeder {
	return func(p []byte, feed func([]byte) []Effect) (effects []Effect) {
		for len(p) > n {
			effects = append(effects, feed(p[:n])...)
			p = p[n:]
		}
		return append(effects, feed(p)...)
	}
}

func whole(p []byte, feed func([]byte) []Effect) []Effect { return feed(p) }

func TestTranscripts(t *testing.T) {
	if *update {
		updateAll(t)
	}
	all, err := transcript.Load("testdata")
	if err != nil {
		t.Fatal(err)
	}
	for _, tr := range all {
		t.Run(tr.Name, func(t *testing.T) {
			for _, feed := range []struct {
				name string
				cut  feeder
			}{{"whole", whole}, {"byte by byte", inPieces(1)}, {"in threes", inPieces(3)}} {
				newDialogue(t, tr).check(t, feed.name, feed.cut)
			}
		})
	}
}

func newDialogue(t *testing.T, tr transcript.Transcript) dialogue {
	t.Helper()
	d := dialogue{Transcript: tr, options: usualOptions()}
	for _, o := range tr.Options {
		if o.Key == "record" {
			d.record = true
			continue
		}
		setOption(t, &d.options, o)
	}
	return d
}

func (d dialogue) check(t *testing.T, how string, cut feeder) {
	t.Helper()
	s := NewSession(d.options)
	for _, st := range d.Steps {
		got := d.written(do(t, s, st, cut))
		if diff := cmp.Diff(st.Want, got); diff != "" {
			t.Fatalf("%s, fed %s: effects of %q (-want +got):\n%s", st.Where, how, st.Line, diff)
		}
	}
}

// updateAll writes the effects of today's machine in place of what the files have.
func updateAll(t *testing.T) {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, updated(t, file, string(data)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func updated(t *testing.T, file, text string) []byte {
	t.Helper()
	all, err := transcript.Parse(file, text)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	var d dialogue
	var s *Session
	for _, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		if strings.HasPrefix(line, "    ") {
			continue
		}
		fmt.Fprintln(&b, line)
		if _, ok := transcript.Section(line); ok {
			d, all = newDialogue(t, all[0]), all[1:]
			s = NewSession(d.options)
			continue
		}
		if len(d.Steps) == 0 || line != d.Steps[0].Line {
			continue
		}
		for _, w := range d.written(do(t, s, d.Steps[0], whole)) {
			fmt.Fprintln(&b, "    "+w)
		}
		d.Steps = d.Steps[1:]
	}
	return []byte(b.String())
}

// usualOptions are those of a culvert whose far end is known: what the transcripts have in common.
func usualOptions() Options {
	return Options{
		Peer:   netip.MustParseAddr("10.0.0.5"),
		Hop:    netip.MustParseAddr("127.0.0.1"),
		Client: netip.MustParseAddr("127.0.0.1"),
	}
}

func setOption(t *testing.T, o *Options, option transcript.Option) {
	t.Helper()
	addr := func() netip.Addr {
		if option.Value == "unknown" {
			return netip.Addr{}
		}
		return netip.MustParseAddr(option.Value)
	}
	switch option.Key {
	case "peer":
		o.Peer = addr()
	case "hop":
		o.Hop = addr()
	case "client":
		o.Client = addr()
	case "foreign":
		allowed := netip.MustParsePrefix(option.Value)
		o.ForeignAddress = allowed.Contains
	case "access":
		o.Access = map[string]Access{"read-only": ReadOnly, "list-only": ListOnly}[option.Value]
	case "active":
		o.Active = map[string]Active{"translated": ActiveTranslated, "forwarded": ActiveForwarded}[option.Value]
	case "tls":
		o.TLS = map[string]TLS{"prefer": TLSPrefer, "require": TLSRequire, "implicit": TLSImplicit}[option.Value]
	case "opaque":
		o.Opaque = true
	case "hold":
		o.HoldSuccess = true
	case "measures":
		o.Measures = true
	case "without-tls":
		o.WithoutTLS = option.Value
	case "deny": // a path and what is below
		o.Paths = denying(option.Value)
	case "request":
		o.Request = option.Value
	case "driver": // for those who play a transcript to one
	default:
		t.Fatalf("%s: unknown option %q", option.Where, option.Key)
	}
}

// denying is an Options.Paths that denies some paths with all that is below them.
func denying(paths string) func(PathRequest) PathDecision {
	return func(r PathRequest) PathDecision {
		for _, denied := range strings.Fields(paths) {
			if r.Path == denied || strings.HasPrefix(r.Path, denied+"/") || r.From == denied {
				return PathDecision{Rule: "sshd_config:7", Reason: "FTPDeny " + denied}
			}
		}
		return PathDecision{Allowed: true}
	}
}

// do carries out one step.
func do(t *testing.T, s *Session, st transcript.Step, cut feeder) []Effect {
	t.Helper()
	switch st.Head {
	case "C>", "C]":
		return cut(st.Data, s.FromClient)
	case "S>", "S]":
		return cut(st.Data, s.FromServer)
	case "C.":
		return s.ClientClosed()
	case "S.":
		return s.ServerClosed()
	case "announced":
		if st.Text == "" {
			return s.Announced(netip.AddrPort{})
		}
		return s.Announced(netip.MustParseAddrPort(st.Text))
	case "ended":
		return s.Ended()
	case "listening":
		return s.Listening(netip.MustParseAddrPort(st.Text))
	case "refused":
		return s.Refused(st.Text)
	case "secured":
		return s.Secured()
	case "unsecured":
		return s.Unsecured(st.Text)
	case "unreading":
		return s.Unreading()
	case "expired":
		return s.LoginExpired()
	case "login": // what every session begins with
		logIn(s)
		return nil
	}
	t.Fatalf("%s: unknown step %q", st.Where, st.Line)
	return nil
}

func logIn(s *Session) {
	s.FromServer([]byte("220 ready\r\n"))
	s.FromClient([]byte("USER alice\r\nPASS secret\r\n"))
	s.FromServer([]byte("331 password\r\n230 logged in\r\n"))
}

// merge joins neighbours that differ only in how they were cut.
func merge(effects []Effect) (merged []Effect) {
	for _, e := range effects {
		var last Effect
		if len(merged) > 0 {
			last = merged[len(merged)-1]
		}
		switch e := e.(type) {
		case ToClient:
			if l, ok := last.(ToClient); ok {
				merged[len(merged)-1] = ToClient{append(bytes.Clone(l.Data), e.Data...)}
				continue
			}
		case ToServer:
			if l, ok := last.(ToServer); ok {
				merged[len(merged)-1] = ToServer{append(bytes.Clone(l.Data), e.Data...)}
				continue
			}
		}
		merged = append(merged, e)
	}
	return merged
}

func (d dialogue) written(effects []Effect) []string {
	if d.record {
		return writtenWithRecord(effects)
	}
	return written(merge(withoutRecord(effects)))
}

// writtenWithRecord writes effects with what is said for the record, which most transcripts leave out.
func writtenWithRecord(effects []Effect) (lines []string) {
	for _, e := range merge(effects) {
		switch e := e.(type) {
		case Transferring:
			line := fmt.Sprintf("transferring %s %q", e.Command.Direction(), e.Command.Path)
			if e.Block {
				line += ", and more may follow"
			}
			lines = append(lines, line)
		case Answered:
			line := fmt.Sprintf("answered %s (%s) %q: %d", e.Command.Verb, e.Command.Class, e.Command.Path, e.Code)
			if e.Here {
				line += " here"
			}
			if e.Aborted {
				line += ", aborted"
			}
			if r := e.Refusal; r.Number != "" {
				line += fmt.Sprintf(", number %s, path %q, rule %q, %s", r.Number, r.Path, r.Rule, r.Reason)
			}
			lines = append(lines, line)
		default:
			lines = append(lines, written([]Effect{e})...)
		}
	}
	return lines
}

// withoutRecord leaves out what is said for the record.
func withoutRecord(effects []Effect) (rest []Effect) {
	for _, e := range effects {
		switch e.(type) {
		case Transferring, Answered:
		default:
			rest = append(rest, e)
		}
	}
	return rest
}

var modes = [...]string{"PASV", "EPSV", "PORT", "EPRT"}

func writtenAnnounce(e Endpoint) string {
	line := "announce " + modes[e.Mode] + waits(e.Client)
	if e.Listening {
		line += ", the server connects"
	} else {
		line += fmt.Sprintf(" %v port %d", e.Addr, e.Port)
	}
	if e.Announced != e.Addr {
		line += fmt.Sprintf(", named %v", e.Announced)
	}
	if e.Protected {
		line += ", protected"
	}
	return fmt.Sprintf("%s, %q", line, e.Reply)
}

func writtenMeasured(e Measured) string {
	line := fmt.Sprintf("measured %d from %d", e.Size, e.Offset)
	if e.Name != "" {
		line += fmt.Sprintf(", name %q", e.Name)
	}
	if e.Coded {
		line += ", coded"
	}
	return line
}

// waits says where the client waits, if it does.
func waits(at netip.AddrPort) string {
	if !at.IsValid() {
		return ""
	}
	return fmt.Sprintf(" (client at %v)", at)
}

// written writes effects as the transcripts have them.
func written(effects []Effect) (lines []string) {
	for _, e := range effects {
		switch e := e.(type) {
		case ToClient:
			lines = append(lines, transcript.Lines("client", e.Data)...)
		case ToServer:
			lines = append(lines, transcript.Lines("server", e.Data)...)
		case Announce:
			lines = append(lines, writtenAnnounce(e.Endpoint))
		case Listen:
			lines = append(lines, "listen "+modes[e.Mode]+waits(e.Client))
		case StartTLS:
			lines = append(lines, "start TLS")
		case Unread:
			lines = append(lines, "unread")
		case PassOn:
			lines = append(lines, "pass on")
		case Measured:
			lines = append(lines, writtenMeasured(e))
		case Beginning:
			lines = append(lines, "begin")
		case Ending:
			lines = append(lines, "end?")
		case Cancel:
			lines = append(lines, "cancel: "+e.Reason)
		case ServerEOF:
			lines = append(lines, "end of commands")
		case Note:
			kind := [...]string{"mismatch", "refused", "unsolicited", "telnet", "malformed", "clear", "protected", "login", "wants TLS"}[e.Kind]
			lines = append(lines, fmt.Sprintf("note %s: %s", kind, e.Text))
		case Close:
			lines = append(lines, "close: "+e.Reason)
		}
	}
	return lines
}
