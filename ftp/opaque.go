package ftp

import (
	"fmt"
	"strings"
)

// Opaque TLS is the client's with the server, through this session (Options.Opaque). RFC 4217, section 4:
//
//	AUTH        goes up, alone
//	234         Unread: from here on nothing can be read, and nothing announced
//	Unreading   the 234 goes on to the client, and PassOn ends the session
//
// What was said in the clear behind AUTH or 234 would be taken for a part of what is protected; it ends the session.

// planAuth lets AUTH pass if it begins TLS (RFC 4217, section 2, and what servers called it before).
func planAuth(c command) plan {
	if c.verb != "AUTH" {
		return answer("503 AUTH comes first")
	}
	switch mechanism := strings.ToUpper(strings.TrimSpace(c.arg())); mechanism {
	case "TLS", "TLS-C", "TLS-P", "SSL":
		return plan{entry{kind: clientAuth}, "AUTH " + mechanism}
	}
	return answer("504 AUTH is for TLS here")
}

// offers reports whether a command that is refused elsewhere has a place in this session.
func (o Options) offers(verb string) bool {
	return o.Opaque && (verb == "AUTH" || verb == "PBSZ" || verb == "PROT")
}

func (s *Session) finishClientAuth(r reply) {
	switch {
	case r.code == 234:
		s.agreed = r
		s.question = isUnread
		s.emit(Unread{})
	case r.code < 400:
		s.fail("421 The server answered AUTH by something else than TLS, closing the connection",
			"the server answered AUTH by something else than TLS: "+quote(r.lines[0]))
	default:
		s.forward(r)
	}
}

// Unreading says that the driver is ready for what can't be read: what is fed from now on is not looked at.
func (s *Session) Unreading() []Effect {
	if s.question != isUnread {
		return nil
	}
	s.question = noQuestion
	server, client := s.unread(true), s.unread(false)+len(s.client.line)
	switch {
	case server > 0:
		s.fail("421 The server spoke on in the clear after it had agreed to TLS, closing the connection",
			fmt.Sprintf("%d bytes of the server came between its 234 and TLS: somebody may have put them there", server))
	case client > 0 || len(s.held) > 0:
		s.fail("421 Commands came behind AUTH in the clear, closing the connection",
			"the client sent commands in the clear behind AUTH: somebody may have put them there")
	case s.clientEnded:
		s.close("the client ended its side when it had asked for TLS")
	default:
		s.forward(s.agreed)
		s.emit(PassOn{})
		s.closed = true
	}
	return s.resume()
}

// notUnread ends the session, as the server has agreed to what isn't possible here.
func (s *Session) notUnread(reason string) []Effect {
	s.question = noQuestion
	s.fail("421 TLS through this connection is not possible now, closing it", "no opaque TLS: "+reason)
	return s.resume()
}
