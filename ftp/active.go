package ftp

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// planActive checks PORT and EPRT. The family that counts is the client's, which is that of its hop where there is one.
func (s *Session) planActive(c command) plan {
	if s.epsvAll {
		return answer(answerOnlyEPSV)
	}
	mode := PORT
	var at netip.AddrPort
	var ok bool
	if c.verb == "PORT" {
		at, ok = parsePORT(c.arg())
	} else {
		mode = EPRT
		proto, parsed, wellFormed := parseEPRT(c.arg())
		if wellFormed && s.opt.Client.IsValid() && proto != family(s.opt.Client) {
			return answer(otherFamily(s.opt.Client))
		}
		at, ok = parsed, wellFormed
	}
	known := s.opt.Client.IsValid()
	switch {
	case !ok:
		return answer("501 Syntax error in the address")
	case !known && s.opt.Active == ActiveRefused:
		return answer("502 Active mode is not offered here, use passive mode (PASV or EPSV) or connect through culvert")
	case !known && s.opt.Active == ActiveForwarded:
		if !at.IsValid() {
			return answer("522 Network protocol not supported, use (1,2)")
		}
	case at.Addr() != s.opt.Client.WithZone(""):
		return answer("501 The address is not that of the control connection")
	}
	if at.Port() < 1024 {
		return answer("504 The port is below 1024")
	}
	if known {
		at = netip.AddrPortFrom(s.opt.Client, at.Port()) // with the zone
	}
	switch s.opt.Active {
	case ActiveTranslated:
		verb := s.translation(mode)
		return plan{entry{kind: passive, mode: mode, waits: at, verb: verb}, verb}
	case ActiveForwarded:
		return plan{entry: entry{kind: active, mode: mode, waits: at}}
	}
	return answer("502 Active mode is not offered here, use passive mode (PASV or EPSV)")
}

// translation returns what PORT or EPRT becomes at first. Servers that know no EPSV are many, and those that know no
// PASV speak IPv6.
func (s *Session) translation(mode Mode) (verb string) {
	switch {
	case s.passiveVerb != "":
		return s.passiveVerb
	case s.opt.Peer.Is6(), mode == EPRT && !s.opt.Peer.IsValid():
		return "EPSV"
	}
	return "PASV"
}

// listen asks the driver to wait for the server, which is told where by PORT or EPRT.
func (s *Session) listen(e entry) {
	e.kind = active
	s.answering = answering{}
	s.question, s.pending = listensAt, e
	s.emit(Listen{Mode: e.mode, Client: e.waits})
}

// Listening says that the driver waits for the server as the last Listen asked it to, and that the server is to be told
// this address.
func (s *Session) Listening(at netip.AddrPort) []Effect {
	if s.question != listensAt {
		return nil
	}
	s.live, s.used = true, false
	line := activeCommand(at)
	if line == "" {
		s.cancel("it can't be announced at this address")
		return s.notListening(fmt.Sprintf("%v can't be announced to the server", at))
	}
	s.question = noQuestion
	s.due = append(s.due, s.pending)
	s.pending = entry{}
	s.toServer(line)
	return s.resume()
}

// notListening ends the command that the last Listen was about. If the server refused passive mode before, that is the answer.
func (s *Session) notListening(reason string) []Effect {
	e := s.pending
	s.question, s.pending = noQuestion, entry{}
	s.note(NoteRefused, "not listening for the server: "+reason)
	s.answering = answering{command: e.command, here: e.bridged == nil}
	s.cantActive(e)
	return s.resume()
}

// cantActive tells the client that the server can't connect.
func (s *Session) cantActive(e entry) {
	if e.bridged != nil {
		s.forward(*e.bridged)
		return
	}
	s.toClient(cantOpen(e.mode))
}

// Ended says that the client has its part in the transfer of the last Ending.
func (s *Session) Ended() []Effect {
	if s.question != hasEnded {
		return nil
	}
	s.question = noQuestion
	s.forward(s.ending)
	return s.resume()
}

// notEnded keeps the success of a transfer from a client that has no part in it, or not the whole: a server behind a foreign SSH server takes what
// ends without a byte for an empty file, and a client behind one what ends early for a whole one.
func (s *Session) notEnded(reason string) []Effect {
	s.question = noQuestion
	said, why, text := quote(s.ending.lines[0]), "the data connection broke off", "426 The data connection broke off"
	if s.asked.Client.IsValid() {
		why, text = "the client was not connected to", "426 The data connection to you could not be made"
	}
	s.note(NoteRefused, "the client has not had the transfer: "+reason+"; the server said "+said)
	s.cancel(why)
	s.toClient(text)
	return s.resume()
}

// activeCommand makes the command that tells a server to connect to at, or "" if none can.
func activeCommand(at netip.AddrPort) string {
	addr, port := at.Addr().Unmap().WithZone(""), at.Port()
	switch {
	case port == 0 || !addr.IsValid():
		return ""
	case addr.Is6():
		return fmt.Sprintf("EPRT |2|%v|%d|", addr, port)
	}
	a := addr.As4()
	return fmt.Sprintf("PORT %d,%d,%d,%d,%d,%d", a[0], a[1], a[2], a[3], port>>8, port&0xff)
}

// finishActive ends a PORT or EPRT of ours: with an Announce, or with an error to the client.
func (s *Session) finishActive(e entry, r reply) {
	if r.code >= 300 {
		s.cancel(fmt.Sprintf("the server refused active mode (%d)", r.code))
		s.activeOnly = false
		if r.code == 421 || r.code == 530 {
			s.forward(r)
			return
		}
		s.note(NoteRefused, "the server refused active mode: "+quote(r.lines[0]))
		s.cantActive(e)
		return
	}
	if e.bridged != nil && e.bridged.code >= 500 {
		s.activeOnly = true
	}
	s.announce(Endpoint{Mode: e.mode, Client: e.waits, Listening: true, Reply: r.lines[0]})
}

// parsePORT reads the argument of PORT: six decimals of at most 255, and nothing else. RFC 959, section 4.1.2.
func parsePORT(arg string) (netip.AddrPort, bool) {
	fields := strings.Split(arg, ",")
	if len(fields) != 6 {
		return netip.AddrPort{}, false
	}
	var n [6]byte
	for i, f := range fields {
		v, ok := decimal(f, 3, 255)
		if !ok {
			return netip.AddrPort{}, false
		}
		n[i] = byte(v)
	}
	return sextuple(n), true
}

// parseEPRT reads the argument of EPRT. An address that isn't of the family named by proto isn't
// well formed. RFC 2428, section 2.
func parseEPRT(arg string) (proto string, at netip.AddrPort, ok bool) {
	if arg == "" || !delimiter(arg[0]) {
		return "", at, false
	}
	fields := strings.Split(arg, arg[:1])
	if len(fields) != 5 || fields[0] != "" || fields[4] != "" || !decimals(fields[1]) {
		return "", at, false
	}
	proto = fields[1]
	port, ok := decimal(fields[3], 5, 65535)
	if !ok {
		return "", at, false
	}
	if proto != "1" && proto != "2" { // an address of it can't be read
		return proto, at, true
	}
	addr, err := netip.ParseAddr(fields[2])
	if err != nil || addr.Zone() != "" || addr.Is4() != (proto == "1") {
		return "", at, false
	}
	return proto, netip.AddrPortFrom(addr.Unmap(), port), true
}

// delimiter reports whether d may set the fields of RFC 2428 apart: a digit would be ambiguous.
func delimiter(d byte) bool { return d >= 33 && d <= 126 && (d < '0' || d > '9') }

// decimal reads one to digits digits. Leading zeros don't make it octal.
func decimal(s string, digits int, most uint64) (uint16, bool) {
	if !decimals(s) || len(s) > digits {
		return 0, false
	}
	v, err := strconv.ParseUint(s, 10, 16)
	return uint16(v), err == nil && v <= most
}

func sextuple(n [6]byte) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(n[:4])), uint16(n[4])<<8|uint16(n[5]))
}
