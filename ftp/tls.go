package ftp

import (
	"fmt"
	"strings"
)

// TLS with the server is begun before the client is told of the greeting, and so before anything of the client's goes up. RFC 4217, section 4:
//
//	greeting   AUTH TLS, unless the session is inside TLS already
//	234        StartTLS; what the server has said behind it was not said inside TLS, and ends the session
//	Secured    PBSZ 0, whose answer decides nothing
//	its reply  PROT P
//	200        the greeting goes on to the client
//
// A server that refuses AUTH may be spoken to in the clear, if Options.TLS is TLSPrefer. Whatever goes wrong after that
// ends the session: what is half protected is taken for protected.

// prefersClear reports whether the session may go on in the clear.
func (s *Session) prefersClear() bool { return s.opt.TLS == TLSPrefer }

// finishGreeting keeps the greeting back until TLS is there.
func (s *Session) finishGreeting(r reply) {
	switch {
	case !s.securing:
		s.greet(r)
	case r.code >= 300 && s.prefersClear():
		s.securing = false
		s.greet(r)
	case r.code >= 300: // it doesn't want to talk, and in the clear it may not
		s.greet(r)
		s.close("the server refuses the connection: " + quote(r.lines[0]))
	case s.opt.TLS == TLSImplicit:
		s.greeting, s.secured = r, true
		s.ask(bufferSize)
	default:
		s.greeting = r
		s.ask(auth)
	}
}

// ownCommands are what the session asks of the server by itself.
var ownCommands = map[kind]string{auth: "AUTH TLS", bufferSize: "PBSZ 0", protection: "PROT P", location: "PWD"}

// ask sends a command of our own, whose reply goes no further.
func (s *Session) ask(k kind) {
	s.due = append(s.due, entry{kind: k})
	s.toServer(ownCommands[k])
}

func (s *Session) finishAuth(r reply) {
	said := quote(r.lines[0])
	switch {
	case r.code == 234:
		s.question = isSecured
		s.emit(StartTLS{})
	case r.code == 421:
		s.leave(r)
	case r.code < 400:
		s.fail("421 The server answered AUTH TLS by something else than TLS, closing the connection",
			"the server answered AUTH TLS by something else than TLS: "+said)
	case s.prefersClear():
		s.note(NoteClear, "the server takes no TLS, and the session goes on in the clear: "+said)
		s.welcome()
	default:
		advice := s.opt.WithoutTLS
		if advice == "" {
			advice = "have it offered there, or set FTPUpstreamTLS to prefer if the way to the server is safe without"
		}
		s.fail(fmt.Sprintf("421 The FTP server takes no TLS (%d): %s", r.code, advice), "the server takes no TLS, and it is required: "+said)
	}
}

// finishBufferSize goes on whatever the answer is: servers that know no PBSZ may know PROT.
func (s *Session) finishBufferSize(r reply) {
	if r.code == 421 {
		s.leave(r)
		return
	}
	s.ask(protection)
}

func (s *Session) finishProtection(r reply) {
	switch {
	case r.code == 421:
		s.leave(r)
	case r.code >= 300:
		s.fail(fmt.Sprintf("421 The FTP server protects no data connections (%d), closing the connection", r.code),
			"the server refuses PROT P: "+quote(r.lines[0]))
	default:
		s.protected = true
		s.note(NoteProtected, "the server is spoken to by TLS, data connections too")
		s.welcome()
	}
}

// leave passes on that the server ends the session. It ends here as well, as nothing may follow in the clear.
func (s *Session) leave(r reply) {
	s.forward(r)
	s.close("the server ended the session before TLS was there: " + quote(r.lines[0]))
}

// welcome lets the client begin.
func (s *Session) welcome() {
	r := s.greeting
	s.securing, s.greeting = false, reply{}
	s.greet(r)
}

// Secured says that the handshake of the last StartTLS has ended well, and that what the server says from now on comes through it.
func (s *Session) Secured() []Effect {
	if s.question != isSecured {
		return nil
	}
	s.question = noQuestion
	if n := s.unread(true); n > 0 {
		s.fail("421 The server spoke on in the clear after it had agreed to TLS, closing the connection",
			fmt.Sprintf("%d bytes of the server came between its 234 and TLS: somebody may have put them there", n))
	} else {
		s.secured = true
		s.ask(bufferSize)
	}
	return s.resume()
}

// Unsecured says that the handshake of the last StartTLS has failed. The reason goes to the client, and into the log.
func (s *Session) Unsecured(reason string) []Effect {
	if s.question != isSecured {
		return nil
	}
	s.question = noQuestion
	s.fail("421 "+oneLine(reason), "no TLS with the server: "+reason)
	return s.resume()
}

// unread returns how many bytes of the server, or of the client, were fed and not read.
func (s *Session) unread(fromServer bool) (n int) {
	for _, in := range s.inputs {
		if in.fromServer == fromServer {
			n += len(in.data)
		}
	}
	return n
}

// oneLine makes text fit into a reply.
func oneLine(text string) string {
	const enough = 1000
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, text[:min(len(text), enough)])
}
