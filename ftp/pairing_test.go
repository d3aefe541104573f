package ftp

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// How a server answers an ABOR during a transfer.
type aborStyle int

const (
	aborTwoReplies aborStyle = iota
	aborOneReply             // one 226 for the transfer and the ABOR
	aborUnknown              // 502, when the transfer is over
)

// A fakeServer answers commands in order, each with the tag that it came with, at moments that a test chooses.
type fakeServer struct {
	style   aborStyle
	talks   bool // answers STAT and NOOP during a transfer
	r       *rand.Rand
	queue   []string
	running string // tag of the transfer
	merged  int    // ABORs that had no reply of their own
	out     []string
}

func (f *fakeServer) say(code int, tag string) {
	f.out = append(f.out, fmt.Sprintf("%d %s", code, tag))
}

// step lets the server do one thing. It reports whether there was one to do.
func (f *fakeServer) step() bool {
	if f.running != "" {
		if f.duringTransfer() {
			return true
		}
		if f.r.IntN(2) == 0 {
			f.say(226, f.running)
		} else {
			f.say(451, f.running)
		}
		f.running = ""
		return true
	}
	if len(f.queue) == 0 {
		return false
	}
	verb, tag, _ := strings.Cut(f.queue[0], " ")
	f.queue = f.queue[1:]
	switch verb {
	case "RETR":
		if f.r.IntN(3) == 0 {
			f.say(550, tag)
			break
		}
		f.say(150, tag)
		f.running = tag
	case "PASV", "EPSV":
		if f.r.IntN(4) == 0 {
			f.say(425, "")
			break
		}
		f.say(227, "(10,0,0,5,4,1)")
	case "ABOR":
		f.say(map[bool]int{true: 502, false: 225}[f.style == aborUnknown], tag)
	case "STAT":
		f.say(211, tag)
	case "NOOP", "MODE":
		f.say(200, tag)
	default:
		f.say([]int{250, 250, 550, 500}[f.r.IntN(4)], tag)
	}
	return true
}

// duringTransfer answers a command that was sent during a transfer, if it likes to.
func (f *fakeServer) duringTransfer() bool {
	if len(f.queue) == 0 {
		return false
	}
	verb, tag, _ := strings.Cut(f.queue[0], " ")
	switch {
	case verb == "ABOR" && f.style == aborTwoReplies:
		f.say(426, f.running)
		f.say(226, tag)
		f.running = ""
	case verb == "ABOR" && f.style == aborOneReply:
		f.say(226, f.running)
		f.running = ""
		f.merged++
	case f.talks && verb == "STAT":
		f.say(211, tag)
	case f.talks && verb == "NOOP":
		f.say(200, tag)
	default:
		return false
	}
	f.queue = f.queue[1:]
	return true
}

// A pairing is a client that pipelines at random, a Session and a fakeServer.
type pairing struct {
	t       *testing.T
	s       *Session
	server  *fakeServer
	sent    []string // by the client, the number at each index being the tag
	replies []string // final ones, to the client
}

func (p *pairing) take(effects []Effect) {
	for _, e := range effects {
		switch e := e.(type) {
		case ToServer:
			for line := range strings.SplitSeq(strings.TrimSuffix(string(e.Data), "\r\n"), "\r\n") {
				p.server.queue = append(p.server.queue, line)
			}
		case ToClient:
			for line := range strings.SplitSeq(strings.TrimSuffix(string(e.Data), "\r\n"), "\r\n") {
				if line[0] != '1' {
					p.replies = append(p.replies, line)
				}
			}
		case Announce:
			p.take(p.s.Announced(netip.MustParseAddrPort("127.0.0.1:40001")))
		case Close:
			p.t.Fatalf("closed: %s", e.Reason)
		}
	}
}

func (p *pairing) client(verb string) {
	tag := strconv.Itoa(len(p.sent))
	p.sent = append(p.sent, verb)
	line := verb + " #" + tag
	if verb == "PORT" || verb == "PASV" || verb == "EPSV" || verb == "MODE S" || verb == "STAT" {
		line = verb // these take no tag
	}
	p.take(p.s.FromClient([]byte(line + "\r\n")))
}

func (p *pairing) deliver() bool {
	if len(p.server.out) == 0 {
		return false
	}
	line := p.server.out[0]
	p.server.out = p.server.out[1:]
	p.take(p.s.FromServer([]byte(line + "\r\n")))
	return true
}

// TestEveryCommandGetsItsReply runs many random sessions with servers of different manners, and holds that nothing is
// left behind, and that replies come in the order of their commands.
func TestEveryCommandGetsItsReply(t *testing.T) {
	verbs := []string{"CWD", "CWD", "NOOP", "STAT", "PASV", "PASV", "EPSV", "RETR", "RETR", "RETR", "ABOR", "AUTH", "PORT", "MODE S"}
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 0))
		p := pairing{t: t, s: loggedIn(usualOptions())}
		p.server = &fakeServer{style: aborStyle(r.IntN(3)), talks: r.IntN(2) == 0, r: r}
		for len(p.sent) < 20 {
			switch r.IntN(4) {
			case 0, 1:
				p.client(verbs[r.IntN(len(verbs))])
			case 2:
				p.server.step()
			case 3:
				p.deliver()
			}
		}
		for p.server.step() || p.deliver() {
		}
		p.check(seed)
		if t.Failed() {
			return
		}
	}
}

func (p *pairing) check(seed uint64) {
	fail := func(format string, args ...any) {
		p.t.Helper()
		p.t.Fatalf("seed %d, style %d, talks %v: %s\ncommands: %q\nreplies: %q", seed, p.server.style, p.server.talks, fmt.Sprintf(format, args...), p.sent, p.replies)
	}
	if len(p.s.held) > 0 {
		fail("held for ever: %v; due: %+v", p.s.held, p.s.due)
	}
	if len(p.s.due) > 0 && !(p.server.style == aborOneReply && p.s.inDoubt()) {
		fail("waited for for ever: %+v", p.s.due)
	}
	if want := len(p.sent) - p.server.merged; len(p.replies) != want {
		fail("%d replies, want %d", len(p.replies), want)
	}
	p.checkOrder(fail)
}

// checkOrder holds that a reply with a tag comes when all commands before it have theirs. ABOR, STAT
// and NOOP come when they like; among the replies, they are known by their codes.
func (p *pairing) checkOrder(fail func(string, ...any)) {
	var ordered []int
	for i, verb := range p.sent {
		if verb != "ABOR" && verb != "STAT" && verb != "NOOP" && verb != "MODE S" {
			ordered = append(ordered, i)
		}
	}
	at := 0
	for _, reply := range p.replies {
		tag, tagged := strings.CutPrefix(reply[3:], " #")
		n, _ := strconv.Atoi(tag)
		switch {
		case strings.HasPrefix(reply, "200") || strings.HasPrefix(reply, "211"), tagged && !slices.Contains(ordered, n):
			continue
		case at == len(ordered) || tagged && n != ordered[at]:
			fail("%q came as the reply number %d in order", reply, at)
		}
		at++
	}
}
