package ftp

// What a client has said to a proxy is said to the server for it (Options.Said), a command at a time, and behind the greeting. The
// client waits for one reply, to what it has said last, so that it hears neither the greeting nor the replies on the way, unless one
// of them ends it: then that one is its reply, and the rest isn't said.

// holdSaid takes in what is to be said for the client. It goes before anything else, as nothing goes before the greeting has come.
func (s *Session) holdSaid(lines []string) {
	s.saying = len(lines)
	for _, line := range lines {
		c := parseCommand([]byte(line))
		c.said = true
		s.hold(c)
	}
}

// greet passes the greeting on, if the client waits for it, or if it is a refusal.
func (s *Session) greet(r reply) {
	if s.saying > 0 && r.code < 300 {
		return
	}
	s.sayNoMore()
	s.forward(r)
}

// hides reports whether the client hears nothing of a final reply, as more is to be said for it. It is asked once of each command.
func (s *Session) hides(e entry, code int) bool {
	if !e.said || s.saying == 0 {
		return false
	}
	s.saying--
	switch {
	case code >= 400 || code == 332 || code >= 300 && e.kind != userName:
		s.sayNoMore()
	case code < 300 && e.kind == userName: // no password is wanted
		if len(s.held) > 0 && s.held[0].said && s.held[0].verb == "PASS" {
			s.release(0)
			s.saying--
		}
	}
	return s.saying > 0
}

// sayNoMore drops what would have been said for the client.
func (s *Session) sayNoMore() {
	s.saying = 0
	for len(s.held) > 0 && s.held[0].said {
		s.release(0)
	}
}

// unheard reports whether a preliminary reply to e goes no further: the client doesn't know what it would be preliminary to.
func (s *Session) unheard(e entry) bool {
	return ownCommands[e.kind] != "" || s.saying > 0 && (e.said || e.kind == greeting)
}
