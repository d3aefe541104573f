package ftp

import "fmt"

// serverByte reads one byte from the server.
func (s *Session) serverByte(b byte) {
	r := &s.server
	text, removed := r.telnet.next(b)
	if removed != nil && s.notes[NoteTelnet] < maxNotes {
		s.note(NoteTelnet, telnetNote("server", removed))
	}
	if !text {
		return
	}
	first := !r.begun
	switch end := r.next(b); {
	case end == lineTooLong:
		s.fail("500 Line too long", fmt.Sprintf("a line of the server is longer than %d bytes", maxReplyLine))
	case end == lineEnded:
		s.serverLine(string(r.line), first)
		r.reset()
		if !s.reply.open {
			s.replies++
		}
	case first && len(r.line) >= firstLineEnough && !speaksFTP(r.line):
		s.foreignServer(r.line)
	}
}

// serverLine takes a line from the server.
func (s *Session) serverLine(line string, first bool) {
	if s.server.replaced {
		s.note(NoteMalformed, "a bare CR, a bare LF or a NUL in a reply became '?': ", line)
	}
	switch {
	case s.reply.open:
		if !s.reply.more(line) {
			s.fail("500 Reply too long", fmt.Sprintf("a reply of the server has more than %d bytes or %d lines", maxReply, maxReplyLines))
			return
		}
	case line == "":
		// Between replies it means nothing. If it is the very first, the next one counts.
		if first {
			s.server.begun = false
		}
		return
	case s.reply.begin(line):
	case first:
		s.foreignServer([]byte(line))
		return
	default:
		s.note(NoteMalformed, "a line of the server that is no reply was dropped: ", line)
		return
	}
	if !s.reply.open {
		r := s.reply
		s.reply = reply{}
		s.answered(r)
	}
}

// foreignServer ends the session with a server that doesn't begin as an FTP server does.
func (s *Session) foreignServer(line []byte) {
	s.fail("421 The server at this address does not speak FTP, closing the connection",
		"the server does not speak FTP, check host and port; it began with "+quote(line))
}

// serverEnd ends the session, as the server has.
func (s *Session) serverEnd() {
	if line := s.server.line; !s.server.begun && len(line) > len("220") && !speaksFTP(line) {
		s.foreignServer(line)
		return
	}
	if s.securing && len(s.greeting.lines) > 0 {
		s.fail("421 The FTP server closed the connection when it was asked for TLS", "the server closed the control connection when it was asked for TLS")
		return
	}
	reason := "the FTP server closed the control connection"
	if len(s.due) > 0 && s.due[0].kind == greeting {
		reason += " before it had greeted"
	}
	s.close(reason)
}

// answered takes a whole reply from the server.
func (s *Session) answered(r reply) {
	defer s.pump()
	switch {
	case r.code >= 600:
		// RFC 2228, section 5: protected replies. What is in them can't be read.
		s.fail("421 The server protects its replies, closing the connection", fmt.Sprintf("the server sent a protected reply (%d)", r.code))
		return
	case r.code == 421 && len(s.due) > 0:
		// It may come at any time, and the connection ends with it. The oldest command gets it for its answer.
		s.finish(0, r)
		return
	}
	i := s.target(r.code)
	switch {
	case i < 0 && announces(r.code):
		s.unasked(r)
	case i < 0 && r.code == 421:
		s.forward(r)
		s.close("the FTP server ended the session: " + quote(r.lines[0]))
	case i < 0:
		s.lost() // if it answers our PWD, what was taken for the answer wasn\'t
		// The next command of the client, which may be on its way, would be taken for answered.
		s.note(NoteUnsolicited, "dropped, as it answers nothing: ", r.lines[0])
	case r.code < 200 && s.unheard(s.due[i]):
	case r.code < 200:
		s.begin(&s.due[i], r)
		s.forward(r)
	default:
		s.finish(i, r)
	}
}

// unasked drops an announcement that answers no PASV or EPSV, such as one from the
// name of a file. No entry is taken for answered: its own reply is still to come.
func (s *Session) unasked(r reply) {
	if s.unsolicited++; s.unsolicited >= maxUnsolicited {
		s.fail("421 The server sent replies that nobody asked for, closing the connection",
			fmt.Sprintf("the server sent %d announcements that answer no PASV or EPSV; the last was %s", maxUnsolicited, quote(r.lines[0])))
		return
	}
	s.note(NoteUnsolicited, "dropped, as it answers no PASV or EPSV: ", r.lines[0])
}

// finish ends the command of entry i with its final reply.
func (s *Session) finish(i int, r reply) {
	e := s.pop(i)
	s.answering = answering{command: e.command, aborted: e.aborted}
	s.hidden = s.hides(e, r.code)
	s.noteWantsTLS(r)
	switch e.kind {
	case greeting:
		s.finishGreeting(r)
	case clientAuth:
		s.finishClientAuth(r)
	case auth:
		s.finishAuth(r)
	case bufferSize:
		s.finishBufferSize(r)
	case protection:
		s.finishProtection(r)
	case passive:
		s.finishPassive(e, r)
	case active:
		s.finishActive(e, r)
	case transfer:
		s.finishTransfer(e, r)
	case userName, login:
		s.finishLogin(e, r)
	case feat:
		s.forward(r.withoutNotOffered(s.opt))
	case epsvAll:
		s.finishEPSVALL(r)
	case modeChange:
		if r.code < 300 {
			s.block = e.block
		}
		s.forward(r)
	case rein:
		s.finishREIN(r)
	case probe: // its reply has served
	case location:
		s.located(r)
	default:
		s.forward(r)
	}
	s.hidden = false
	s.moved(e, r)
	s.learn(e, r)
	s.flush()
}

// begin says once of each transfer that the client hears of it.
func (s *Session) begin(e *entry, r reply) {
	if e.kind == transfer && !e.running {
		s.measure(e, r)
		s.emit(Beginning{})
	}
	e.running = true
}

// finishTransfer ends a transfer. A failure ends its endpoint too; success doesn't, as the reply may
// overtake the data.
func (s *Session) finishTransfer(e entry, r reply) {
	if r.code >= 400 {
		s.cancel(fmt.Sprintf("the transfer failed (%d)", r.code))
		s.forward(r)
		return
	}
	s.begin(&e, r)
	if s.asked.Client.IsValid() || s.opt.HoldSuccess && !s.block {
		s.question, s.ending = hasEnded, r
		s.emit(Ending{})
		return
	}
	s.forward(r)
}

// finishLogin follows RFC 959, section 5.4: 230 may answer USER already, and 232 (RFC 2228) is one more
// way to be logged in. A USER that was taken and wants a password ends the login before it.
func (s *Session) finishLogin(e entry, r reply) {
	if e.kind == userName && r.code < 400 {
		s.user, s.loggedIn = e.name, false
	}
	if r.code == 230 || r.code == 232 {
		s.loggedIn = true
		s.note(NoteLogin, escape(s.user))
	}
	s.forward(r)
}

func (s *Session) finishEPSVALL(r reply) {
	if announces(r.code) {
		s.note(NoteRefused, "the server took EPSV ALL for an EPSV: "+quote(r.lines[0]))
		s.toClient("500 EPSV ALL is not understood by the server")
		return
	}
	if r.code == 200 || r.code == 220 {
		s.epsvAll = true
	}
	s.forward(r)
}

// finishREIN puts everything back to where the greeting left it. A transfer goes on by itself.
func (s *Session) finishREIN(r reply) {
	if r.code < 300 {
		s.cancel("REIN")
		s.user, s.loggedIn, s.epsvAll, s.block, s.used, s.activeOnly = "", false, false, false, false, false
	}
	s.forward(r)
}

// finishPassive ends a PASV or EPSV, the client's or what its PORT or EPRT has become: with an Announce, or with an error to the client.
func (s *Session) finishPassive(e entry, r reply) {
	switch {
	case announces(r.code):
		s.announced(e, r)
	case r.code == 421:
		s.forward(r)
	case r.code < 400:
		s.noEndpoint(e, "the answer to PASV or EPSV announces nothing: "+quote(r.lines[0]), "500 The server did not announce an endpoint")
	case s.bridges(e, r.code):
		s.bridge(e, r)
	case s.listens(e, r.code):
		if e.bridged == nil {
			e.bridged = &r
		}
		s.listen(e)
	case e.bridged != nil:
		s.refused(e, *e.bridged)
	default:
		s.refused(e, r)
	}
}

// noEndpoint says no to a PASV or EPSV, or to what has become one.
func (s *Session) noEndpoint(e entry, note, line string) {
	s.note(NoteRefused, note)
	if e.mode == PORT || e.mode == EPRT {
		line = cantOpen(e.mode)
	}
	s.toClient(line)
}

// refused passes the server's refusal of passive mode on. Who has asked for active mode would not know what it is about, unless it is that
// nobody is logged in.
func (s *Session) refused(e entry, r reply) {
	if (e.mode == PORT || e.mode == EPRT) && r.code != 530 {
		s.note(NoteRefused, "the server refused passive mode: "+quote(r.lines[0]))
		s.toClient("502 The server refuses passive mode, which active mode becomes here (FTPActive forward does without)")
		return
	}
	s.forward(r)
}

// cantBeUsed is the answer to an endpoint that can't be used, and its code.
const (
	cantBeUsed = "500 The server announced an endpoint that can't be used"
	r500       = 500
)

// announced takes a 227 or 229 that answers a PASV or EPSV.
//
// One limit is left: if PASV is pipelined behind a command whose reply holds a name echoed raw, and the name holds a CRLF
// and a 227, then that one is read first, as bytes don't say whether they were sent before PASV arrived. It can
// choose a port, as the policy lets it, and an address only where ForeignAddress does; the real 227 is then dropped and noted.
func (s *Session) announced(e entry, r reply) {
	if !s.loggedIn {
		s.note(NoteRefused, "an announcement before login: "+quote(r.lines[0]))
		s.toClient(logInFirst)
		return
	}
	at, mismatch, err := s.opt.endpoint(e.mode, r.code, r.lines[0])
	if err != nil && e.verb == "PASV" && !s.opt.Peer.Is4() && s.bridges(e, r500) {
		// PASV can't name an IPv6 address, which keeps proftpd from nothing: 227 Entering Passive Mode (1,177,149).
		s.note(NoteRefused, fmt.Sprintf("announcement refused, %v: %s", err, quote(r.lines[0])))
		s.bridge(e, reply{code: r500, lines: []string{cantBeUsed}})
		return
	}
	if err != nil {
		s.noEndpoint(e, fmt.Sprintf("announcement refused, %v: %s", err, quote(r.lines[0])), cantBeUsed)
		return
	}
	if mismatch {
		s.note(NoteMismatch, fmt.Sprintf("the server announced %v, %v is used: %s", at.Announced, at.Addr, quote(r.lines[0])))
	}
	at.Client = e.waits
	s.passiveVerb = e.verb
	s.announce(at)
}

// announce asks the driver to make an endpoint reachable.
func (s *Session) announce(at Endpoint) {
	at.Protected = s.protected
	s.live, s.used, s.question, s.asked = true, false, isReachable, at
	s.emit(Announce{at})
}

// bridges reports whether the other of PASV and EPSV is worth a try: where the client can't try it itself, as PASV on an
// IPv6 hop, or has no reason to, as it is in active mode, or the server's address is of another family than its own hop. What follows
// is held back, so that one more command fits in.
func (s *Session) bridges(e entry, code int) bool {
	if e.bridged != nil || !s.goesOn(code) {
		return false
	}
	switch e.mode {
	case PASV:
		return !s.opt.Peer.Is4()
	case EPSV:
		return s.opt.Hop.Is6()
	}
	return true
}

// listens reports whether a client in passive mode is served by the active mode of a server that has refused it the passive one.
func (s *Session) listens(e entry, code int) bool {
	return s.opt.Active == ActiveForwarded && (e.mode == PASV || e.mode == EPSV) && s.goesOn(code)
}

// goesOn reports whether a refusal of passive mode is one after which something else may be tried.
func (s *Session) goesOn(code int) bool {
	understood := code == 425 || code >= 500 && code != 530
	return understood && s.loggedIn && !s.clientEnded && !s.epsvAll
}

func (s *Session) bridge(e entry, r reply) {
	verb := "EPSV"
	if e.verb == "EPSV" {
		verb = "PASV"
	}
	e.verb, e.bridged = verb, &r
	s.due = append(s.due, e)
	s.answering = answering{}
	s.toServer(verb)
}
