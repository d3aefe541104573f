package ftp

import (
	"bytes"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the effects that the machine has into the transcripts")

// A transcript is a section of a file in testdata. Each line is a step, followed by its effects, which are
// indented by four spaces:
//
//	option KEY VALUE   a field of Options; without any they are usualOptions
//	option record yes  the effects are written with what is said for the record
//	C> text            a line from the client, CRLF added, with Go's escapes
//	C] text            the same without CRLF
//	S> S]              the same from the server
//	C. S.              the client, the server closes
//	login              greeting and login, whose effects are left out
//	announced ADDR     the driver's answers to an announcement
//	refused REASON
//
// \*N{text} in a text repeats it N times. go test -update writes the effects; read the difference.
type transcript struct {
	file, name string
	options    Options
	record     bool // what is said for the record is among the effects
	steps      []step
}

// A step is one thing that the driver does, and the effects of it.
type step struct {
	line string // as written
	do   func(*Session, feeder) []Effect
	want []string
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
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if *update {
			data = updated(t, file, data)
			if err := os.WriteFile(file, data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		for _, tr := range parseTranscripts(t, file, string(data)) {
			t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar")+"/"+tr.name, func(t *testing.T) {
				for _, feed := range []struct {
					name string
					cut  feeder
				}{{"whole", whole}, {"byte by byte", inPieces(1)}, {"in threes", inPieces(3)}} {
					tr.check(t, feed.name, feed.cut)
				}
			})
		}
	}
}

func (tr transcript) check(t *testing.T, how string, cut feeder) {
	t.Helper()
	s := NewSession(tr.options)
	for _, st := range tr.steps {
		got := tr.written(st.do(s, cut))
		if diff := cmp.Diff(st.want, got); diff != "" {
			t.Fatalf("%s, section %s, fed %s: effects of %q (-want +got):\n%s", tr.file, tr.name, how, st.line, diff)
		}
	}
}

func parseTranscripts(t *testing.T, file, data string) (all []transcript) {
	t.Helper()
	for i, line := range strings.Split(data, "\n") {
		if name, ok := section(line); ok {
			all = append(all, transcript{file: file, name: name, options: usualOptions()})
			continue
		}
		if len(all) == 0 || strings.TrimSpace(line) == "" || line[0] == '#' {
			continue
		}
		tr := &all[len(all)-1]
		switch {
		case strings.HasPrefix(line, "    "):
			last := &tr.steps[len(tr.steps)-1]
			last.want = append(last.want, strings.TrimPrefix(line, "    "))
		case strings.HasPrefix(line, "option "):
			if line == "option record yes" {
				tr.record = true
				continue
			}
			setOption(t, &tr.options, strings.TrimPrefix(line, "option "))
		default:
			tr.steps = append(tr.steps, parseStep(t, fmt.Sprintf("%s:%d", file, i+1), line))
		}
	}
	return all
}

func section(line string) (name string, ok bool) {
	name, ok = strings.CutPrefix(line, "-- ")
	name, ok2 := strings.CutSuffix(name, " --")
	return name, ok && ok2
}

// updated returns the file with the effects of today's machine in place of what it had.
func updated(t *testing.T, file string, data []byte) []byte {
	t.Helper()
	all := parseTranscripts(t, file, string(data))
	var b strings.Builder
	var tr transcript
	var s *Session
	for _, line := range strings.Split(strings.TrimRight(string(data), "\n"), "\n") {
		if strings.HasPrefix(line, "    ") {
			continue
		}
		fmt.Fprintln(&b, line)
		if _, ok := section(line); ok {
			tr, all = all[0], all[1:]
			s = NewSession(tr.options)
			continue
		}
		if len(tr.steps) == 0 || line != tr.steps[0].line {
			continue
		}
		for _, w := range tr.written(tr.steps[0].do(s, whole)) {
			fmt.Fprintln(&b, "    "+w)
		}
		tr.steps = tr.steps[1:]
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

func setOption(t *testing.T, o *Options, text string) {
	t.Helper()
	key, value, _ := strings.Cut(text, " ")
	addr := func() netip.Addr {
		if value == "unknown" {
			return netip.Addr{}
		}
		return netip.MustParseAddr(value)
	}
	switch key {
	case "peer":
		o.Peer = addr()
	case "hop":
		o.Hop = addr()
	case "client":
		o.Client = addr()
	case "foreign":
		allowed := netip.MustParsePrefix(value)
		o.ForeignAddress = allowed.Contains
	case "access":
		o.Access = map[string]Access{"read-only": ReadOnly, "list-only": ListOnly}[value]
	default:
		t.Fatalf("unknown option %q", key)
	}
}

func parseStep(t *testing.T, where, line string) step {
	t.Helper()
	head, text, _ := strings.Cut(line, " ")
	data := func() []byte {
		p, err := unescape(text)
		if err != nil {
			t.Fatalf("%s: %v", where, err)
		}
		return p
	}
	st := step{line: line}
	switch head {
	case "C>":
		p := append(data(), "\r\n"...)
		st.do = func(s *Session, cut feeder) []Effect { return cut(p, s.FromClient) }
	case "C]":
		p := data()
		st.do = func(s *Session, cut feeder) []Effect { return cut(p, s.FromClient) }
	case "S>":
		p := append(data(), "\r\n"...)
		st.do = func(s *Session, cut feeder) []Effect { return cut(p, s.FromServer) }
	case "S]":
		p := data()
		st.do = func(s *Session, cut feeder) []Effect { return cut(p, s.FromServer) }
	case "C.":
		st.do = func(s *Session, _ feeder) []Effect { return s.ClientClosed() }
	case "S.":
		st.do = func(s *Session, _ feeder) []Effect { return s.ServerClosed() }
	case "announced":
		at := netip.MustParseAddrPort(text)
		st.do = func(s *Session, _ feeder) []Effect { return s.Announced(at) }
	case "refused":
		st.do = func(s *Session, _ feeder) []Effect { return s.Refused(text) }
	case "login": // what every session begins with
		st.do = logIn
	default:
		t.Fatalf("%s: unknown step %q", where, line)
	}
	return st
}

func logIn(s *Session, _ feeder) []Effect {
	s.FromServer([]byte("220 ready\r\n"))
	s.FromClient([]byte("USER alice\r\nPASS secret\r\n"))
	s.FromServer([]byte("331 password\r\n230 logged in\r\n"))
	return nil
}

// unescape reads Go's escapes, and the one of ours that repeats.
func unescape(text string) ([]byte, error) {
	if before, after, ok := strings.Cut(text, `\*`); ok {
		count, rest, _ := strings.Cut(after, "{")
		unit, rest, _ := strings.Cut(rest, "}")
		n, err := strconv.Atoi(count)
		if err != nil {
			return nil, err
		}
		unit, err = strconv.Unquote(`"` + unit + `"`)
		if err != nil {
			return nil, err
		}
		head, err := unescape(before)
		if err != nil {
			return nil, err
		}
		tail, err := unescape(rest)
		if err != nil {
			return nil, err
		}
		return append(append(head, strings.Repeat(unit, n)...), tail...), nil
	}
	s, err := strconv.Unquote(`"` + strings.ReplaceAll(text, `"`, `\"`) + `"`)
	return []byte(s), err
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

func (tr transcript) written(effects []Effect) []string {
	if tr.record {
		return writtenWithRecord(effects)
	}
	return written(merge(effects))
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

// written writes effects as the transcripts have them.
func written(effects []Effect) (lines []string) {
	for _, e := range effects {
		switch e := e.(type) {
		case ToClient:
			lines = append(lines, dataLines("client", e.Data)...)
		case ToServer:
			lines = append(lines, dataLines("server", e.Data)...)
		case Announce:
			at := fmt.Sprintf("announce %s %v port %d", [...]string{"PASV", "EPSV", "PORT", "EPRT"}[e.Endpoint.Mode], e.Endpoint.Addr, e.Endpoint.Port)
			if e.Endpoint.Announced != e.Endpoint.Addr {
				at += fmt.Sprintf(", named %v", e.Endpoint.Announced)
			}
			lines = append(lines, fmt.Sprintf("%s, %q", at, e.Endpoint.Reply))
		case Beginning:
			lines = append(lines, "begin")
		case Cancel:
			lines = append(lines, "cancel: "+e.Reason)
		case ServerEOF:
			lines = append(lines, "end of commands")
		case Note:
			kind := [...]string{"mismatch", "refused", "unsolicited", "telnet", "malformed", "login"}[e.Kind]
			lines = append(lines, fmt.Sprintf("note %s: %s", kind, e.Text))
		case Close:
			lines = append(lines, "close: "+e.Reason)
		}
	}
	return lines
}

// dataLines writes each line to a side; one that is very long is cut, and one that has no CRLF says so.
func dataLines(side string, p []byte) (lines []string) {
	for line := range strings.SplitAfterSeq(string(p), "\r\n") {
		if line == "" {
			continue
		}
		text, ok := strings.CutSuffix(line, "\r\n")
		text = strings.ReplaceAll(escape(text), `\"`, `"`)
		if len(text) > 300 {
			text = fmt.Sprintf("%s… (%d)", text[:60], len(text))
		}
		if !ok {
			text += " (no CRLF)"
		}
		lines = append(lines, side+": "+text)
	}
	return lines
}
