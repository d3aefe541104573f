package ftp

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/culvert-ssh/culvert/internal/transcript"
)

// secret is the password in the words below; no note may have it.
const secret = "hunter2"

// words are what the peers of a fuzzed session say, each with its CRLF.
var clientWords = []string{
	"USER a", "PASS " + secret, "PASV", "EPSV", "EPSV ALL", "EPSV 1", "RETR f", "STOR f", "LIST", "ABOR", "STAT", "STAT f",
	"NOOP", "REIN", "MODE B", "MODE S", "CWD d", "PORT 127,0,0,1,200,10", "AUTH TLS", "FEAT", "QUIT", "pass " + secret, "ACCT x", "P@SW",
	"PORT 127,0,0,1,200,11", "EPRT |1|127.0.0.1|51210|", "EPRT |2|::1|51210|", "PORT 10,9,9,9,200,10",
	"SIZE f", "REST 5", "ALLO 9", "MLST f", "MODE Z", "APPE f", "STOU",
}

var serverWords = []string{
	"220 ready", "331 password", "230 in", "232 in", "227 Entering Passive Mode (10,0,0,5,4,1)", "227 (9,9,9,9,8,8).",
	"229 Entering Extended Passive Mode (|||6446|)", "227 (10,0,0,5,0,1)", "150 go", "226 done", "225 idle", "426 cut", "200 ok", "250 ok",
	"211 status", "213 12", "211-x", "227 (10,0,0,5,4,2)", "211 end", "227-more", "500 what", "502 no", "550 no", "530 log in", "421 bye", "120 wait", "257 \"d\"", "331-a",
	"hello", "200 PORT command successful", "425 no port", "500 no passive mode", "234 go ahead",
	"350 go on", "150 f (9 bytes)", "150 FILE: g", "250-x\r\n type=file;size=7; f\r\n250 end", "213 99999999999999999999",
}

// An act is one thing that a driver does in a fuzzed session.
type act struct {
	fromServer bool
	data       []byte
	end        bool
}

// acts reads a script: a byte below 0x80 is a word of the client or, with 0x40 in it, of the server. One above
// is so many raw bytes, which follow, with 0x40 for the server. 0xBF and 0xFF are ends.
func acts(script []byte) (all []act) {
	for len(script) > 0 {
		b := script[0]
		script = script[1:]
		a := act{fromServer: b&0x40 != 0}
		n := int(b & 0x3f)
		switch {
		case b < 0x80 && a.fromServer:
			a.data = []byte(serverWords[n%len(serverWords)] + "\r\n")
		case b < 0x80:
			a.data = []byte(clientWords[n%len(clientWords)] + "\r\n")
		case n == 0x3f:
			a.end = true
		default:
			n = min(n, len(script))
			a.data, script = script[:n], script[n:]
		}
		all = append(all, a)
	}
	return all
}

// A batch is what one call of a Session returned.
type batch struct {
	call    string // "client", "server", "announced", "listening", "refused", "end"
	effects []Effect
}

// Where the driver of a fuzzed session listens for the server.
var us, us6 = netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("2001:db8::1")

// last returns the last of effects, or nil.
func last(effects []Effect) Effect {
	if len(effects) == 0 {
		return nil
	}
	return effects[len(effects)-1]
}

// play drives a session through the acts, answering each announcement at once, and returns every batch.
// seen, if not nil, is called after each.
func play(o Options, all []act, cut feeder, seen func(a act, b batch)) (batches []batch) {
	return playOn(NewSession(o), o, all, cut, seen)
}

func playOn(s *Session, o Options, all []act, cut feeder, seen func(a act, b batch)) (batches []batch) {
	answers, handshake := 0, false
	var settle func(a act, b batch)
	settle = func(a act, b batch) {
		batches = append(batches, b)
		if seen != nil {
			seen(a, b)
		}
		switch e := last(b.effects).(type) {
		case Announce:
			if answers++; answers%4 == 0 {
				settle(act{}, batch{"refused", s.Refused("no")})
				return
			}
			settle(act{}, batch{"announced", s.Announced(netip.AddrPortFrom(o.Hop, uint16(40000+answers)))})
		case Ending:
			if answers++; answers%3 == 0 {
				settle(act{}, batch{"refused", s.Refused("no")})
				return
			}
			settle(act{}, batch{"ended", s.Ended()})
		case Listen:
			if answers++; answers%5 == 0 {
				settle(act{}, batch{"refused", s.Refused("no")})
				return
			}
			at := netip.AddrPortFrom(us, uint16(5000+answers))
			if e.Mode == EPSV {
				at = netip.AddrPortFrom(us6, uint16(5000+answers))
			}
			settle(act{}, batch{"listening", s.Listening(at)})
		case StartTLS, Unread:
			handshake = true
		}
	}
	for _, a := range all {
		if handshake { // what came in one act was there before it, however it was cut
			switch handshake = false; {
			case o.Opaque && len(all)%8 == 0:
				settle(act{}, batch{"refused", s.Refused("no")})
			case o.Opaque:
				settle(act{}, batch{"unreading", s.Unreading()})
			case len(all)%8 == 0:
				settle(act{}, batch{"unsecured", s.Unsecured("no")})
			default:
				settle(act{}, batch{"secured", s.Secured()})
			}
		}
		switch {
		case a.end && a.fromServer:
			settle(a, batch{"end", s.ServerClosed()})
		case a.end:
			settle(a, batch{"end", s.ClientClosed()})
		case a.fromServer:
			cut(a.data, func(p []byte) []Effect {
				settle(act{fromServer: true, data: p}, batch{"server", s.FromServer(p)})
				return nil
			})
		default:
			cut(a.data, func(p []byte) []Effect {
				settle(act{data: p}, batch{"client", s.FromClient(p)})
				return nil
			})
		}
	}
	return batches
}

func effectsOf(batches []batch) (all []Effect) {
	for _, b := range batches {
		all = append(all, b.effects...)
	}
	return merge(all)
}

// fuzzOptions are chosen by a byte.
func fuzzOptions(pick byte) Options {
	o := usualOptions()
	if pick&1 != 0 {
		o.Hop, o.Client = netip.IPv6Loopback(), netip.IPv6Loopback()
	}
	switch pick >> 1 & 3 {
	case 1:
		o.Peer = netip.Addr{}
	case 2:
		o.Peer = netip.MustParseAddr("2001:db8::5")
	}
	o.Access = Access(pick >> 3 & 3)
	o.Active = Active(pick >> 5 & 3)
	if pick&0x80 != 0 {
		o.TLS = TLS(1 + pick%3)
	}
	o.Measures = true
	o.Opaque = o.Access == ReadWrite && o.TLS == TLSOff
	return o
}

// fuzzActs are those of the data, perhaps in a session whose TLS has begun well.
func fuzzActs(pick byte, data []byte) []act {
	const ready, goAhead, ok = 0x40, 0x60, 0x4c
	if pick&0x90 != 0x80 || len(data) == 0 {
		return acts(data)
	}
	begin := []byte{ready, ok, ok}
	if TLS(1+pick%3) != TLSImplicit {
		begin = []byte{ready, goAhead, ok, ok}
	}
	return acts(append(begin, data[1:]...)) // the first is the greeting
}

// login, as a script.
var loginScript = []byte{0x40, 0x00, 0x41, 0x01, 0x42}

func script(acts ...byte) []byte { return append(bytes.Clone(loginScript), acts...) }

// FuzzSession holds that the effects don't depend on the cuts, and what is true of all effects.
func FuzzSession(f *testing.F) {
	f.Add(byte(0), script(0x02, 0x44, 0x06, 0x48, 0x49))
	f.Add(byte(1), script(0x03, 0x55, 0x44, 0x06, 0x48, 0x09, 0x4b, 0x49))
	f.Add(byte(0), script(0x02, 0x44, 0x06, 0x48, 0x09, 0x02, 0x49, 0x44, 0x06, 0x55))
	f.Add(byte(2), script(0x04, 0x4c, 0x02, 0x03, 0x46, 0x0d, 0x40, 0xbf, 0xff))
	f.Add(byte(8), append(script(0x10), 0xc9, '2', '5', '0', ' ', 'a', '\n', '2', '\r', '\n'))
	f.Add(byte(0x20), script(0x11, 0x5a, 0x46, 0x44, 0x06, 0x48, 0x49))
	f.Add(byte(0x40), script(0x18, 0x4c, 0x06, 0x48, 0x49, 0x02, 0x5f, 0x4c, 0x06, 0x48, 0x09, 0x51, 0x49))
	addTranscripts(f)
	f.Fuzz(checkCuts)
}

func checkCuts(t *testing.T, pick byte, data []byte) {
	o := fuzzOptions(pick)
	all := fuzzActs(pick, data)
	var fromServer []byte
	for _, a := range all {
		if a.fromServer {
			fromServer = append(fromServer, a.data...)
		}
	}
	// What the server says is no secret, even if it is one.
	secrets := !bytes.Contains(fromServer, []byte(secret))
	s := NewSession(o)
	whole := playOn(s, o, all, whole, nil)
	checkInvariants(t, o, whole, secrets)
	checkProtection(t, o, whole)
	checkRecord(t, whole, s.Unanswered())
	want := writtenWithRecord(effectsOf(whole))
	for _, n := range []int{1, 3} {
		got := play(o, all, inPieces(n), nil)
		checkInvariants(t, o, got, secrets)
		if diff := cmp.Diff(want, writtenWithRecord(effectsOf(got))); diff != "" {
			t.Fatalf("the effects of %#v depend on the cuts (-whole +in pieces of %d):\n%s", data, n, diff)
		}
	}
}

// TestRandomSessions goes where a fuzzer takes long to get: sessions that make some sense.
func TestRandomSessions(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		data := bytes.Clone(loginScript)
		for range 3 + r.IntN(30) {
			if r.IntN(2) == 0 {
				data = append(data, byte(r.IntN(len(clientWords))))
			} else {
				data = append(data, 0x40|byte(r.IntN(len(serverWords))))
			}
		}
		pick := byte(r.IntN(256))
		checkCuts(t, pick, data)
		checkWitness(t, pick, data)
	}
}

// addTranscripts makes seeds of what the transcripts feed.
func addTranscripts(f *testing.F) {
	for _, s := range transcriptScripts(f) {
		f.Add(byte(0), s)
	}
}

// transcriptScripts returns what each transcript feeds, after a login.
func transcriptScripts(f *testing.F) (scripts [][]byte) {
	all, err := transcript.Load("testdata")
	if err != nil {
		f.Fatal(err)
	}
	for _, tr := range all {
		s := bytes.Clone(loginScript)
		for _, st := range tr.Steps {
			if len(st.Data) > 2000 {
				continue
			}
			head := byte(0x80)
			if st.Head[0] == 'S' {
				head |= 0x40
			}
			for p := st.Data; len(p) > 0; {
				n := min(len(p), 0x3e)
				s = append(append(s, head|byte(n)), p[:n]...)
				p = p[n:]
			}
		}
		scripts = append(scripts, s)
	}
	return scripts
}
