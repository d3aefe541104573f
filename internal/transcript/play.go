package transcript

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A Player has a driver go through a transcript on real connections, and holds that each side hears what the transcript says,
// and nothing else. The address in an announcement to the client is the driver's to choose.
type Player struct {
	Client, Server *Peer
	Piece          int // bytes in one write; 0 for all of it. Several lines are said at once: the other side must not be faster than the last

	// Rewrite, if not nil, replaces addresses in what is said and in the effects.
	Rewrite func(string) string
	// Read, if not nil, waits until the driver has done with all that the server has said. Without it, a Silent transcript can't be played.
	Read func()
	// Announcing is called before the server announces an endpoint. If refused, the driver must not be able to reach it.
	Announcing func(e Endpoint, refused bool)
	// Offered is called when the client was told of an endpoint by a 227 or 229, or that it will be connected to. Begins says that a transfer
	// will begin on it.
	Offered func(e Endpoint, reply string, begins bool)
}

// An Endpoint is one that the session has announced to its driver.
type Endpoint struct {
	Addr   string // "invalid IP" if only the bastion knows it
	Port   uint16
	Client string // where the client waits, in active mode
}

// playing is a Player in the middle of a transcript.
type playing struct {
	*Player
	tb     testing.TB
	steps  []Step
	at     int // the step whose effects are awaited
	client []string
	server []string
	live   *Endpoint
	closed bool
	ended  bool // the client's end reached the server
	asked  bool // after the login the server is asked where it is, for rules on paths
}

// Play goes through the transcript, and returns the endpoint that is alive at its end, or nil. The connections are still there; End
// ends them.
func (p *Player) Play(tb testing.TB, tr Transcript) (live *Endpoint) {
	tb.Helper()
	pl := &playing{Player: p, tb: tb, steps: tr.Steps, asked: tr.Option("deny") != ""}
	if p.Read == nil && tr.Silent() {
		tb.Fatalf("%s can't be played without Read", tr.Name)
	}
	for pl.at = 0; pl.at < len(pl.steps); pl.at++ {
		pl.step(pl.steps[pl.at])
		if tb.Failed() {
			return nil
		}
	}
	return pl.live
}

// End has the server end the session, and holds that nobody hears anything more.
func (p *Player) End(tb testing.TB) {
	tb.Helper()
	before := p.Client.lines()
	_ = p.Server.conn.CloseWrite() // it may be closed
	if err := p.Client.wantEnd(false); err != nil {
		tb.Error(err)
	}
	if after := p.Client.lines(); len(after) != len(before) {
		tb.Errorf("after the end the client heard %q more", after[len(before):])
	}
}

func (p *playing) check(err error) {
	if err != nil {
		p.tb.Helper()
		p.tb.Errorf("%s: %q: %v", p.steps[min(p.at, len(p.steps)-1)].Where, p.steps[min(p.at, len(p.steps)-1)].Line, err)
	}
}

// login is what the step of this name says.
var login = []Step{
	{Head: "S>", Data: []byte("220 ready\r\n"), Want: []string{"client: 220 ready"}},
	{Head: "C>", Data: []byte("USER alice\r\n"), Want: []string{"server: USER alice"}},
	{Head: "S>", Data: []byte("331 password\r\n"), Want: []string{"client: 331 password"}},
	{Head: "C>", Data: []byte("PASS secret\r\n"), Want: []string{"server: PASS secret"}},
	{Head: "S>", Data: []byte("230 logged in\r\n"), Want: []string{"client: 230 logged in"}},
}

func (p *playing) step(s Step) {
	p.tb.Helper()
	if s.Head == "login" {
		for _, l := range login {
			l.Where, l.Line = s.Where, s.Line
			if p.asked && bytes.HasPrefix(l.Data, []byte("230 ")) {
				l.Want = append(slices.Clip(l.Want), "server: PWD")
			}
			p.do(l)
			p.hear(l.Want...)
		}
		return
	}
	if question := asks(s.Want); question != "" {
		p.announcing(s, question)
		return
	}
	p.do(s)
	p.hear(s.Want...)
	if s.dropped() && p.Read != nil {
		p.Read()
	}
}

// asks returns the question that effects end with, if there is one.
func asks(want []string) string {
	if len(want) == 0 {
		return ""
	}
	last := want[len(want)-1]
	if last == transferEnds || strings.HasPrefix(last, "announce ") {
		return last
	}
	return ""
}

// transferEnds asks how the data connection to a client in active mode has ended.
const transferEnds = "end?"

// announcing goes through a step that announces, those after it that come before the driver's answer in the transcript, and the answer. A driver
// answers at once, so what is said in between is said when the answer is there; the machine doesn't look at it before either.
func (p *playing) announcing(s Step, question string) {
	p.tb.Helper()
	answer := p.at + 1
	for answer < len(p.steps) && !p.steps[answer].answers() {
		answer++
	}
	want := []string{anyAnnouncement(question)} // nothing is written, but the client is told
	if answer < len(p.steps) {
		want = p.steps[answer].Want
	}
	if asks(want) != "" {
		p.tb.Fatalf("%s: two questions at once can't be played", s.Where)
	}
	if question == transferEnds {
		p.do(s)
		p.expect(s.Want)
		p.at = answer
		p.hear(want...)
		return
	}
	e := p.endpoint(question)
	if p.Announcing != nil {
		p.Announcing(e, answer < len(p.steps) && p.steps[answer].Head == "refused")
	}
	p.do(s)
	p.expect(s.Want)
	first := slices.IndexFunc(want, func(w string) bool { return strings.HasPrefix(w, "client: ") }) + 1
	p.expect(want[:first])
	p.await()
	p.offered(e, p.begins(answer))
	if answer < len(p.steps) {
		for _, between := range p.steps[p.at+1 : answer] {
			p.do(between)
		}
	}
	p.at = answer
	p.hear(want[first:]...)
}

func (s Step) answers() bool {
	return s.Head == "announced" || s.Head == "refused" || s.Head == "ended"
}

// begins reports whether a transfer begins after the answer before there is another.
func (p *playing) begins(answer int) bool {
	for i := answer; i < len(p.steps); i++ {
		if i > answer && p.steps[i].Head == "announced" {
			return false
		}
		if slices.Contains(p.steps[i].Want, "begin") {
			return true
		}
	}
	return false
}

func (p *playing) offered(e Endpoint, begins bool) {
	if len(p.client) == 0 || p.tb.Failed() {
		return
	}
	heard := p.Client.lines()
	if len(heard) < len(p.client) {
		return // which await has found
	}
	reply := heard[len(p.client)-1]
	if !announcement.MatchString(reply) && (e.Client == "" || !strings.HasPrefix(reply, "client: 200 ")) {
		return
	}
	p.live = &e
	if p.Offered != nil {
		p.Offered(e, strings.TrimPrefix(reply, "client: "), begins)
	}
}

var announced = regexp.MustCompile(`^announce [A-Z]+(?: \(client at (\S+)\))? (.+) port (\d+),`)

// endpoint reads an effect.
func (p *playing) endpoint(question string) (e Endpoint) {
	m := announced.FindStringSubmatch(p.rewrite(question))
	if m == nil {
		p.tb.Fatalf("%q is no endpoint", question)
	}
	e.Client, e.Addr = m[1], m[2]
	if _, err := fmt.Sscan(m[3], &e.Port); err != nil {
		p.tb.Fatal(err)
	}
	return e
}

// do has a side say something.
func (p *playing) do(s Step) {
	p.tb.Helper()
	data := []byte(p.rewrite(string(s.Data)))
	piece := p.Piece
	if bytes.Count(data, []byte("\n")) > 1 {
		piece = 0
	}
	switch s.Head {
	case "C>", "C]":
		p.Client.say(p.tb, data, piece)
	case "S>", "S]":
		p.Server.say(p.tb, data, piece)
	case "C.":
		_ = p.Client.conn.CloseWrite() // the driver may have closed
	case "S.":
		_ = p.Server.conn.CloseWrite()
	case "":
	default:
		p.tb.Fatalf("%s: a step that can't be played: %q", s.Where, s.Line)
	}
}

// hear adds what the sides are to hear by these effects, and waits until they have.
func (p *playing) hear(want ...string) {
	p.tb.Helper()
	p.expect(want)
	p.await()
	p.compare(p.Client, p.client)
	p.compare(p.Server, p.server)
}

func (p *playing) expect(want []string) {
	for _, w := range want {
		w = p.rewrite(w)
		switch kind, _, _ := strings.Cut(w, ":"); kind {
		case "client":
			p.client = append(p.client, Unfold(w)...)
		case "server":
			p.server = append(p.server, Unfold(w)...)
		case "cancel":
			p.live = nil
		case "close":
			p.closed, p.live = true, nil
		case "end of commands":
			p.ended = true
		}
	}
}

// await waits for all that was to be heard so far.
func (p *playing) await() {
	p.tb.Helper()
	p.check(p.Client.await(len(p.client), false))
	p.check(p.Server.await(len(p.server), false))
	if p.ended {
		p.check(p.Server.wantEnd(true))
	}
	if p.closed {
		p.check(p.Client.wantEnd(false))
		p.check(p.Server.wantEnd(false))
	}
}

func (p *playing) compare(side *Peer, want []string) {
	p.tb.Helper()
	got := side.lines()
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(want):
			p.check(fmt.Errorf("the %s also hears %q", side.name, got[i:]))
			return
		case i >= len(got):
			p.check(fmt.Errorf("the %s doesn't hear %q", side.name, want[i:]))
			return
		case anyAddress(got[i]) != anyAddress(want[i]):
			p.check(fmt.Errorf("the %s hears %q, want %q", side.name, got[i], want[i]))
			return
		}
	}
}

func (p *playing) rewrite(s string) string {
	if p.Rewrite == nil {
		return s
	}
	return p.Rewrite(s)
}

var announcement = regexp.MustCompile(`^client: (227 Entering Passive Mode|229 Entering Extended Passive Mode) \([0-9,|]+\)$`)

// numbered is a refusal to the client, whose number begins as the driver says.
var numbered = regexp.MustCompile(`^(client: 550 Permission denied here, number )\S+$`)

// anyAddress takes the address out of an announcement to the client, and the number out of a refusal.
func anyAddress(line string) string {
	return numbered.ReplaceAllString(announcement.ReplaceAllString(line, "client: $1"), "$1")
}

// anyAnnouncement is the reply to the client that a question is about.
func anyAnnouncement(question string) string {
	switch {
	case strings.HasPrefix(question, "announce EPSV"):
		return "client: 229 Entering Extended Passive Mode (|||1|)"
	case strings.HasPrefix(question, "announce PORT"):
		return "client: 200 PORT command successful"
	case strings.HasPrefix(question, "announce EPRT"):
		return "client: 200 EPRT command successful"
	}
	return "client: 227 Entering Passive Mode (0,0,0,0,0,0)"
}
