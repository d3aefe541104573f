package ftp

import "fmt"

// clientByte reads one byte from the client.
func (s *Session) clientByte(b byte) {
	if s.clientEnded { // fed by mistake, while an announcement was open
		return
	}
	r := &s.client
	text, removed := r.telnet.next(b)
	if removed != nil && s.notes[NoteTelnet] < maxNotes {
		s.note(NoteTelnet, telnetNote("client", removed))
	}
	if !text {
		return
	}
	end := r.next(b)
	switch {
	case end == lineTooLong:
		s.failClient("Line too long", fmt.Sprintf("a command of the client is longer than %d bytes", maxCommand))
		return
	case s.foreignClient(end):
		return
	}
	switch end {
	case lineBad:
		s.badLine()
		if r.cr {
			r.reset()
		} else {
			r.resume()
		}
	case lineEnded:
		if len(r.line) > 0 {
			s.hold(parseCommand(r.line))
		}
		r.reset()
	}
}

// foreignClient closes the session if the client doesn't begin as one of FTP does. Nothing was sent up by then.
func (s *Session) foreignClient(end lineEnd) bool {
	name := s.client.foreign(end)
	if name == "" {
		return false
	}
	s.close(fmt.Sprintf("the client speaks %s, not FTP", name))
	return true
}

// badLine answers a line with a byte in it that has no place there. The line isn't quoted in the
// log, as it may hold a password.
func (s *Session) badLine() {
	if s.badLines++; s.badLines >= maxBadLines {
		s.failClient("Bad line terminator", fmt.Sprintf("%d command lines of the client had bytes in them that have no place there", maxBadLines))
		return
	}
	s.hold(command{refusal: "500 Bad line terminator", size: perCommand})
}

// hold takes a command in, and lets it go at once if nothing is before it.
func (s *Session) hold(c command) {
	if s.heldBytes+c.size > maxHeld {
		s.fail("421 Too many commands at once", "the client sent too many commands ahead of their replies")
		return
	}
	if c.refusal != "" {
		s.note(NoteMalformed, "a line of the client was answered here: "+c.refusal)
	}
	s.held = append(s.held, c)
	s.heldBytes += c.size
	if c.overtakes() {
		s.overtakers++
	}
	s.pump()
}

// failClient ends the session with a 500, or where that would be taken for the answer to an earlier command, with a
// 421, which may come at any time.
func (s *Session) failClient(text, reason string) {
	code := "500 "
	if len(s.due)+len(s.held) > 0 {
		code = "421 "
	}
	s.fail(code+text, reason)
}
