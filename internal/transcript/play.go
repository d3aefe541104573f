package transcript

import (
	"bytes"
	"crypto/tls"
	"fmt"
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
	// Read, if not nil, waits until the driver has done with all that the server has said, of which it has refused or dropped so much. Without
	// it, a Silent transcript can't be played.
	Read func(dropped int)
	// Announcing is called before the server announces an endpoint. If refused, the driver must not be able to reach it.
	Announcing func(e Endpoint, refused bool)
	// Asking is called before the driver is asked anything but about an announcement, with the answer that it is to give.
	Asking func(question string, answer Step)
	// Listening, if not nil, is told by what the server hears where the driver listens for it, which is the driver's to choose.
	Listening func(told string)
	// By Secured the server speaks TLS, and by Untrusted where the driver is to refuse it.
	Secured, Untrusted *tls.Config
	// Offered is called when the client was told of an endpoint by a 227 or 229, or that it will be connected to. Begins says that a transfer
	// will begin on it.
	Offered func(e Endpoint, reply string, begins bool)
}

// An Endpoint is one that the session has announced to its driver.
type Endpoint struct {
	Addr   string // "invalid IP" if only the bastion knows it
	Port   uint16
	Client string // where the client waits, in active mode

	Listening bool // the server connects, and Addr and Port say nothing
	Protected bool // by TLS
}

// playing is a Player in the middle of a transcript.
type playing struct {
	*Player
	tb                       testing.TB
	steps                    []Step
	at                       int // the step whose effects are awaited
	client                   []string
	server                   []string
	live                     *Endpoint
	closed                   bool
	ended                    bool // the client's end reached the server
	refusals                 int  // that the driver has noted
	passing                  bool // nobody reads what is said
	clientEnded, serverEnded bool // since then
	asked                    bool // after the login the server is asked where it is, for rules on paths
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
	if pl.passing {
		pl.passes()
	}
	return pl.live
}

// End has the server end the session, and holds that nobody hears anything more.
func (p *Player) End(tb testing.TB) {
	tb.Helper()
	before := p.Client.lines()
	_ = p.Server.current().CloseWrite() // it may be closed
	if err := p.Client.wantEnd(false); err != nil {
		tb.Error(err)
	}
	after := p.Client.lines()[len(before):]
	if len(after) > 0 && !(len(after) == 1 && after[0] == endBeforeTLS) {
		tb.Errorf("after the end the client heard %q more", after)
	}
}

// endBeforeTLS is what a client hears if that is where a transcript ends.
const endBeforeTLS = "client: 421 The FTP server closed the connection when it was asked for TLS"

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
	if p.passing {
		p.pass(s)
		return
	}
	if question := asks(s.Want); question != "" {
		p.ask(s, question)
		return
	}
	p.do(s)
	p.hear(s.Want...)
	if s.dropped() && p.Read != nil {
		p.Read(p.refusals)
	}
}

// do has a side say something.
func (p *playing) do(s Step) {
	p.tb.Helper()
	for _, before := range s.before {
		p.do(before)
	}
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
		_ = p.Client.current().CloseWrite() // the driver may have closed
	case "S.":
		_ = p.Server.current().CloseWrite()
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
		case "note refused", "note unsolicited", "note malformed":
			p.refusals++
		case "pass on":
			p.passing = true
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
		case !p.same(got[i], want[i]):
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
