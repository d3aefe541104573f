package ftp

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A pair is both machines of one control connection as the two programs have them: culvert's beside the FTP client and culvertd's beside
// the FTP server, with the SSH channel between them. Its bytes are on their way until they are delivered.
type pair struct {
	t       *testing.T
	a, b    *Session // culvert's, culvertd's
	talk    []string // what happened, for whoever must find out why
	waiting [4][]byte

	endpoints int
	told      string // the endpoint that b has told a of last, by what a can know of it
	liveA     string // the endpoint of each, or ""
	liveB     string
	listening netip.AddrPort // where b was told last that the client waits

	toServer, toClient []byte
	ended              [4]bool // the sides that a direction is fed by
	closedA, closedB   bool
	unread             bool // PassOn
}

// The ways that bytes are waiting on.
const (
	fromClient = iota // to a
	upward            // from a to b
	fromServer        // to b
	downward          // from b to a
)

// pairOptions are chosen by two bytes.
func pairOptions(pick, more byte) (a, b Options) {
	peer := netip.MustParseAddr("10.0.0.5")
	if pick&1 != 0 {
		peer = netip.MustParseAddr("2001:db8::5")
	}
	a = Options{Peer: peer, Hop: netip.MustParseAddr("127.0.0.1"), Client: netip.MustParseAddr("127.0.0.1")}
	if pick&2 != 0 {
		a.Hop, a.Client = netip.IPv6Loopback(), netip.IPv6Loopback()
	}
	if pick&4 != 0 { // the host is a name
		a.Peer = netip.Addr{}
	}
	a.Active = Active(pick >> 3 & 3)
	a.TLS = []TLS{TLSOff, TLSOff, TLSPrefer, TLSRequire}[pick>>5&3]
	a.Opaque = pick&0x80 != 0
	b = Options{Peer: peer, Hop: peer, Active: Active(more & 2), Access: Access(more >> 2 & 3)}
	if more&1 != 0 {
		b.ForeignAddress = netip.MustParsePrefix("9.0.0.0/8").Contains
	}
	if b.Access > ListOnly {
		b.Access = ReadWrite
	}
	b.TLS = []TLS{TLSOff, TLSOff, TLSOff, TLSOff, TLSOff, TLSPrefer, TLSRequire, TLSImplicit}[more>>4&7]
	b.Opaque = more&0x80 != 0
	return a, b
}

func newPair(t *testing.T, a, b Options) *pair {
	return &pair{t: t, a: NewSession(a), b: NewSession(b)}
}

func (p *pair) note(format string, args ...any) {
	p.talk = append(p.talk, fmt.Sprintf(format, args...))
}

func (p *pair) fail(format string, args ...any) {
	p.t.Helper()
	talk := p.talk[max(0, len(p.talk)-50):]
	p.t.Fatalf("%s\nculvert %+v\nculvertd %+v\n%s", fmt.Sprintf(format, args...), p.a.opt, p.b.opt, strings.Join(talk, "\n"))
}

// deliver hands up to n bytes on, if whom they are for wants any. It reports whether something happened.
func (p *pair) deliver(way, n int) bool {
	s, wants := p.a, (*Session).WantsClient
	switch way {
	case upward:
		s = p.b
	case fromServer:
		s, wants = p.b, (*Session).WantsServer
	case downward:
		wants = (*Session).WantsServer
	}
	if s == p.a && p.closedA || s == p.b && p.closedB || p.unread {
		return false
	}
	if !wants(s) {
		return false
	}
	up := way == fromClient || way == upward
	if n = min(n, len(p.waiting[way])); n == 0 {
		if !p.ended[way] || len(p.waiting[way]) > 0 {
			return false
		}
		p.ended[way] = false
		p.note("%s end", [...]string{"C", "a", "S", "b"}[way])
		if up {
			p.took(s, s.ClientClosed())
		} else {
			p.took(s, s.ServerClosed())
		}
		return true
	}
	data := p.waiting[way][:n]
	p.waiting[way] = p.waiting[way][n:]
	p.note("%s %q", [...]string{"C", "a", "S", "b"}[way], data)
	if up {
		p.took(s, s.FromClient(data))
	} else {
		p.took(s, s.FromServer(data))
	}
	return true
}

// took carries out effects, until there are none.
func (p *pair) took(s *Session, effects []Effect) {
	for len(effects) > 0 {
		for _, e := range withoutRecord(effects) {
			p.note("    %s %s", map[bool]string{true: "culvert ", false: "culvertd"}[s == p.a], strings.Join(written([]Effect{e}), "\n             "))
			if s == p.a {
				p.tookA(e)
			} else {
				p.tookB(e)
			}
		}
		p.checkBounds(s)
		effects = p.answer(s, last(effects))
	}
}

// tookA carries out an effect of culvert's machine. It is told what culvertd's says, which is never wrong.
func (p *pair) tookA(e Effect) {
	switch e := e.(type) {
	case ToServer:
		p.waiting[upward] = append(p.waiting[upward], e.Data...)
	case ToClient:
		p.toClient = append(p.toClient, e.Data...)
		p.checkToClient(e.Data)
	case Cancel:
		p.liveA = ""
	case ServerEOF:
		p.ended[upward] = true
	case PassOn:
		p.unread = true
	case Close:
		p.liveA, p.closedA = "", true
		p.ended[upward] = true
	case Note:
		fromPeer := strings.Contains(e.Text, "from the server") || strings.Contains(e.Text, "of the server that is no reply") || strings.Contains(e.Text, "in a reply became")
		if e.Kind != NoteLogin && fromPeer {
			p.fail("culvertd has passed on what it should not: %s", e.Text)
		}
	}
	if c, ok := e.(Close); ok && (strings.HasPrefix(c.Reason, "a line of the server") || strings.HasPrefix(c.Reason, "a reply of the server")) {
		p.fail("culvertd has passed on what is too long: %s", c.Reason)
	}
}

// tookB carries out an effect of culvertd's machine. Its client is culvert's, which says nothing wrong either.
func (p *pair) tookB(e Effect) {
	switch e := e.(type) {
	case ToServer:
		p.toServer = append(p.toServer, e.Data...)
		p.checkToServer(e.Data)
	case ToClient:
		p.waiting[downward] = append(p.waiting[downward], e.Data...)
	case Cancel:
		p.liveB = ""
	case PassOn:
		p.unread = true
	case Close:
		p.liveB, p.closedB = "", true
		p.ended[downward] = true
	case Note:
		if e.Kind == NoteTelnet && strings.Contains(e.Text, "from the client") || e.Kind == NoteMalformed && strings.Contains(e.Text, "a line of the client") {
			p.fail("culvert has passed on what it should not: %s", e.Text)
		}
	}
}

// answer is what a driver answers to a question, if there is one.
func (p *pair) answer(s *Session, e Effect) []Effect {
	p.endpoints++
	no := p.endpoints%7 == 0
	switch e := e.(type) {
	case Announce:
		if s == p.a {
			return p.announcedA(e.Endpoint, no)
		}
		return p.announcedB(e.Endpoint, no)
	case Listen:
		switch {
		case no, s == p.a && !e.Client.IsValid():
			return s.Refused("no")
		case s == p.a: // culvertd listens, and puts its own address into what goes up
			return s.Listening(e.Client)
		}
		p.listening = e.Client
		p.liveB = "the server's, for " + e.Client.String()
		at := us
		if s.opt.Peer.Is6() {
			at = us6
		}
		return s.Listening(netip.AddrPortFrom(at, uint16(5000+p.endpoints%999)))
	case StartTLS:
		if no {
			return s.Unsecured("no")
		}
		return s.Secured()
	case Unread:
		if no {
			return s.Refused("no")
		}
		return s.Unreading()
	}
	return nil
}

func (p *pair) announcedB(e Endpoint, no bool) []Effect {
	if no {
		p.liveB = ""
		return p.b.Refused("no")
	}
	if e.Listening {
		p.told = "the server's, for " + e.Client.String()
		if e.Client != p.listening {
			p.fail("the client waits at %v, and culvertd was told %v", e.Client, p.listening)
		}
		p.liveB = p.told
		return p.b.Announced(netip.AddrPort{})
	}
	if e.Addr != p.b.opt.Peer && (p.b.opt.ForeignAddress == nil || !p.b.opt.ForeignAddress(e.Addr)) || e.Port < 1024 {
		p.fail("culvertd would dial %v, port %d", e.Addr, e.Port)
	}
	// The port is one that nobody has had, so that one endpoint is not taken for another.
	at := netip.AddrPortFrom(e.Addr, uint16(20000+p.endpoints%20000))
	if !at.Addr().Is4() && e.Mode == PASV {
		at = netip.AddrPortFrom(netip.MustParseAddr("10.0.0.5"), at.Port())
	}
	p.told = fmt.Sprintf("port %d", at.Port())
	p.liveB = p.told
	return p.b.Announced(at)
}

func (p *pair) announcedA(e Endpoint, no bool) []Effect {
	key := fmt.Sprintf("port %d", e.Port)
	if e.Listening {
		key = "the server's, for " + e.Client.String()
	}
	if key != p.told {
		p.fail("culvert believes in an endpoint (%s) that culvertd has not told of last (%s)", key, p.told)
	}
	if !p.a.loggedIn || !p.b.loggedIn {
		p.fail("an endpoint for whoever isn't logged in")
	}
	if no {
		p.liveA = ""
		return p.a.Refused("no")
	}
	p.liveA = key
	if e.Mode == PORT || e.Mode == EPRT {
		return p.a.Announced(netip.AddrPort{})
	}
	return p.a.Announced(netip.AddrPortFrom(p.a.opt.Hop, uint16(40000+p.endpoints%999)))
}

var (
	anyAnnouncement = regexp.MustCompile(`(?m)^22[79]`)
	serverPORT      = regexp.MustCompile(`^(PORT 10,0,0,1,\d+,\d+|EPRT \|2\|2001:db8::1\|5\d{3}\|)\r\n$`)
	neverUp         = strings.Fields("LPSV LPRT SPSV SPAS SPOR CPSV SSCN CEPR ESTA ESTP ADAT MIC CONF ENC CCC HOST P@SW")
)

// checkToServer holds that what reaches the server is within the grammar, and no verb that is refused.
func (p *pair) checkToServer(data []byte) {
	for line := range bytes.SplitAfterSeq(data, []byte("\r\n")) {
		if len(line) == 0 {
			continue
		}
		verb, _, _ := strings.Cut(string(line[:len(line)-2]), " ")
		own := !p.b.opt.Opaque && p.b.opt.TLS == TLSOff
		switch {
		case !wholeToUp.Match(line) || len(line) > 2*maxCommand+2:
			p.fail("to the server: %q", line)
		case slices.Contains(neverUp, verb), own && (verb == "AUTH" || verb == "PBSZ" || verb == "PROT"):
			p.fail("to the server, though it is refused: %q", line)
		case (verb == "PORT" || verb == "EPRT") && (p.b.opt.Active == ActiveRefused || !serverPORT.Match(line)):
			p.fail("to the server, with another address than culvertd's: %q", line)
		case verb == "PASV" && string(line) != "PASV\r\n", verb == "EPSV" && string(line) != "EPSV\r\n" && string(line) != "EPSV ALL\r\n":
			p.fail("to the server: %q", line)
		case p.b.opt.Access != ReadWrite && slices.Contains([]string{"STOR", "DELE", "SITE", "MKD"}, verb):
			p.fail("to the server, though FTPAccess is %v: %q", p.b.opt.Access, line)
		}
	}
}

func (p *pair) checkToClient(data []byte) {
	if !wholeToDown.Match(data) {
		p.fail("to the client: %q", data)
	}
	if anyAnnouncement.Match(data) && !canonical.Match(data) {
		p.fail("announced to the client: %q", data)
	}
}

// checkBounds holds that neither machine keeps more than it may.
func (p *pair) checkBounds(s *Session) {
	fed := 0
	for _, in := range s.inputs {
		fed += len(in.data)
	}
	if fed > maxOverfed || s.heldBytes > maxHeld || len(s.due) > maxDue+2 || s.reply.size > maxReply+maxReplyLine ||
		len(s.client.line) > maxCommand+1 || len(s.server.line) > maxReplyLine+1 {
		p.fail("%d bytes fed, %d held, %d due, a reply of %d bytes, lines of %d and %d",
			fed, s.heldBytes, len(s.due), s.reply.size, len(s.client.line), len(s.server.line))
	}
}

// settle delivers everything, and holds that both then agree on the endpoint that there is.
func (p *pair) settle() {
	for p.deliver(downward, 1<<20) || p.deliver(upward, 1<<20) || p.deliver(fromServer, 1<<20) || p.deliver(fromClient, 1<<20) {
	}
	if p.closedA || p.closedB || p.unread || len(p.a.due) > 0 { // or something is to be said yet
		return
	}
	if p.liveA != "" && p.liveA != p.liveB {
		p.fail("culvert has an endpoint (%s), and culvertd has %q", p.liveA, p.liveB)
	}
}

// run plays a script to the pair. What is on its way moves at a pace that the seed decides; if that is 0, at once.
func (p *pair) run(all []act, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	for _, a := range all {
		way := fromClient
		if a.fromServer {
			way = fromServer
		}
		p.waiting[way] = append(p.waiting[way], a.data...)
		p.ended[way] = p.ended[way] || a.end
		if seed == 0 {
			p.settle()
			continue
		}
		for range r.IntN(6) {
			p.deliver(r.IntN(4), 1+r.IntN(40))
		}
		if r.IntN(8) == 0 {
			p.settle()
		}
	}
	p.settle()
}

func checkPair(t *testing.T, pick, more byte, seed uint64, data []byte) {
	a, b := pairOptions(pick, more)
	newPair(t, a, b).run(acts(data), seed)
}

// FuzzPair holds that the two machines agree on every endpoint, whatever the client and the server say, that neither tells the other anything
// that the grammar forbids, and that both stay within their bounds.
func FuzzPair(f *testing.F) {
	f.Add(byte(0), byte(0), uint64(0), script(0x02, 0x44, 0x06, 0x48, 0x49))
	f.Add(byte(0x08), byte(0), uint64(1), script(0x11, 0x44, 0x06, 0x48, 0x49))
	f.Add(byte(0x10), byte(2), uint64(0), script(0x11, 0x5d, 0x06, 0x48, 0x49))
	f.Add(byte(0x80), byte(0x80), uint64(0), []byte{0x40, 0x12, 0x60, 0x00})
	f.Add(byte(3), byte(0x50), uint64(2), []byte{0x40, 0x60, 0x4c, 0x4c, 0x00, 0x42, 0x03, 0x46})
	addPairSeeds(f)
	f.Fuzz(checkPair)
}

// addPairSeeds makes seeds of what the transcripts feed.
func addPairSeeds(f *testing.F) {
	for i, s := range transcriptScripts(f) {
		f.Add(byte(i%4*8), byte(i%2*2), uint64(i%3), s)
	}
}

// TestRandomPairs goes where a fuzzer takes long to get.
func TestRandomPairs(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 6000 {
		data := bytes.Clone(loginScript)
		for range 3 + r.IntN(40) {
			if r.IntN(2) == 0 {
				data = append(data, byte(r.IntN(len(clientWords))))
			} else {
				data = append(data, 0x40|byte(r.IntN(len(serverWords))))
			}
		}
		checkPair(t, byte(r.IntN(256)), byte(r.IntN(256)), uint64(r.IntN(50)), data)
	}
}
