package transcript

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// What a driver is asked, besides announcements and to listen.
const (
	transferEnds = "end?" // how the data connection to a client in active mode has ended
	startTLS     = "start TLS"
	unread       = "unread"
)

// asks returns the question that effects end with, if there is one.
func asks(want []string) string {
	if len(want) == 0 {
		return ""
	}
	switch last := want[len(want)-1]; {
	case last == transferEnds, last == startTLS, last == unread, strings.HasPrefix(last, "announce "), strings.HasPrefix(last, "listen "):
		return last
	}
	return ""
}

// answers reports whether a step is what the driver has to say.
func (s Step) answers() bool {
	switch s.Head {
	case "announced", "refused", "ended", "listening", "secured", "unsecured", "unreading":
		return true
	}
	return false
}

// ask goes through a step that asks the driver, those after it that come before the driver's answer in the transcript, and the answer. A driver
// answers at once, so what is said in between is said when the answer is there; the machine doesn't look at it before either.
func (p *playing) ask(s Step, question string) {
	p.tb.Helper()
	at := p.at + 1
	for at < len(p.steps) && !p.steps[at].answers() {
		at++
	}
	answer := unwritten(s, question)
	var between []Step
	if at < len(p.steps) {
		answer, between = p.steps[at], p.steps[p.at+1:at]
	}
	if p.Asking != nil && !strings.HasPrefix(question, "announce ") {
		p.Asking(p.rewrite(question), answer)
	}
	p.at = at
	switch {
	case strings.HasPrefix(question, "announce "):
		p.announcing(s, question, answer, between)
	case question == startTLS:
		p.starting(s, answer, between)
	default:
		p.do(s)
		p.expect(s.Want)
		p.answered(answer, between)
	}
}

// unwritten is the answer that a transcript ends without, which a driver gives nevertheless.
func unwritten(s Step, question string) Step {
	answer := Step{Where: s.Where, Line: s.Line}
	switch {
	case strings.HasPrefix(question, "announce "):
		answer.Head, answer.Want = "announced", []string{anyAnnouncement(question)}
	case strings.HasPrefix(question, "listen "):
		answer.Head, answer.Text, answer.Want = "listening", "10.0.0.1:5000", []string{"server: PORT 10,0,0,1,19,136"}
	}
	return answer
}

// answered goes through what comes of an answer, which may be another question.
func (p *playing) answered(answer Step, between []Step) {
	p.tb.Helper()
	next := asks(answer.Want)
	if next == "" {
		p.expect(answer.Want)
		p.await()
		for _, b := range between {
			p.do(b)
		}
		p.hear()
		p.listening(answer)
		return
	}
	last := len(answer.Want) - 1
	p.expect(answer.Want[:last])
	p.await()
	p.listening(answer)
	p.ask(Step{Where: answer.Where, Line: answer.Line, Want: answer.Want[last:], before: between}, next)
}

// listening says where the server was told to connect to.
func (p *playing) listening(answer Step) {
	if answer.Head != "listening" || p.Listening == nil || p.tb.Failed() {
		return
	}
	heard := p.Server.lines()
	p.Listening(strings.TrimPrefix(heard[len(p.server)-1], "server: "))
}

// announcing is ask for an announcement.
func (p *playing) announcing(s Step, question string, answer Step, between []Step) {
	p.tb.Helper()
	e := p.endpoint(question)
	if p.Announcing != nil {
		p.Announcing(e, answer.Head == "refused")
	}
	p.do(s)
	p.expect(s.Want)
	first := slices.IndexFunc(answer.Want, func(w string) bool { return strings.HasPrefix(w, "client: ") }) + 1
	p.expect(answer.Want[:first])
	p.await()
	p.offered(e, p.begins(p.at))
	for _, b := range between {
		p.do(b)
	}
	p.hear(answer.Want[first:]...)
}

// starting is ask for TLS. What the server says before the handshake is none of it, and the driver finds that out by itself.
func (p *playing) starting(s Step, answer Step, between []Step) {
	p.tb.Helper()
	p.Server.untilTLS(len(p.server) + count("server: ", s.Want))
	p.do(s)
	p.expect(s.Want)
	with := p.Secured
	if answer.Head == "unsecured" {
		with = p.Untrusted
	}
	p.check(p.Server.awaitHello()) // what is said before that might come with the answer
	for _, b := range between {
		if b.Head[0] == 'S' {
			with = nil
		}
		p.do(b)
	}
	p.Server.secure(with)
	want := answer.Want
	if with != p.Secured {
		want = slices.Clone(want)
		for i, w := range want {
			if strings.HasPrefix(w, anyGoodbye+" ") {
				want[i] = anyGoodbye
			}
		}
	}
	p.hear(want...)
}

func count(prefix string, lines []string) (n int) {
	for _, l := range lines {
		if strings.HasPrefix(l, prefix) {
			n++
		}
	}
	return n
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

var announced = regexp.MustCompile(`^announce [A-Z]+(?: \(client at (\S+)\))?(?:(, the server connects)| (.+) port (\d+))[^"]*?(, protected)?, "`)

// endpoint reads an effect.
func (p *playing) endpoint(question string) (e Endpoint) {
	m := announced.FindStringSubmatch(p.rewrite(question))
	if m == nil {
		p.tb.Fatalf("%q is no endpoint", question)
	}
	e.Client, e.Listening, e.Addr, e.Protected = m[1], m[2] != "", m[3], m[5] != ""
	if e.Listening {
		return e
	}
	if _, err := fmt.Sscan(m[4], &e.Port); err != nil {
		p.tb.Fatal(err)
	}
	return e
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
