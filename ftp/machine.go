package ftp

import (
	"bytes"
	"fmt"
	"net/netip"
)

// What the machine holds for a peer that doesn't wait, in bytes.
const (
	// perCommand is what a command that is held costs besides its bytes.
	perCommand = 64
	// holdEnough is where WantsClient says no: some two hundred commands are held back.
	holdEnough = 16 << 10
	// maxHeld ends the session. A last read of 32 KiB fits above holdEnough, even if it is all NOOP.
	maxHeld = 512 << 10
	// maxOverfed bounds what a driver feeds after Announce, when the machine wants nothing.
	maxOverfed = 1 << 20
	// firstLineEnough bytes that are no FTP reply show what a server is not, even if its line never ends.
	firstLineEnough = 64
)

const (
	// maxUnsolicited announcements that nobody asked for end the session: somebody tries.
	maxUnsolicited = 3
	// maxNotes bounds the notes of a kind that a peer can cause with two bytes each.
	maxNotes = 32
)

// A Session is one FTP control connection. Its methods take what a driver saw and return
// what it must do. They must not be called concurrently.
//
// The effects depend on the bytes and their order alone, never on how they were cut into calls.
type Session struct {
	opt Options
	out []Effect

	// What was fed and not yet read: everything that came after a question to the driver waits here.
	inputs  []input
	overfed int // bytes of them that were fed while a question was open

	closed   bool
	question question // that the driver hasn't answered
	asked    Endpoint // of an Announce that isn't answered
	pending  entry    // of a Listen that isn't answered
	ending   reply    // of an Ending that isn't answered

	client      commandReader
	clientEnded bool
	badLines    int
	server      replyReader
	reply       reply // being read
	replies     int   // that are whole, and lines that were none
	unsolicited int
	notes       [NoteWantsTLS + 1]int

	// Commands that wait for the replies to others, and the FIFO of those that were sent.
	held       []command
	heldBytes  int
	overtakers int  // among held
	saying     int  // commands said for the client whose replies haven't come
	hidden     bool // the client hears nothing of what is being answered
	serverEOF  bool
	due        []entry

	answering answering
	refusals  int // that were numbered
	where     whereabouts
	measures  measures

	securing  bool  // TLS is wanted, and isn't there yet
	greeting  reply // which the client hasn't seen, while securing
	agreed    reply // the server's 234 to an AUTH of the client's, which that hasn't seen
	secured   bool  // the control connection is inside TLS
	protected bool  // data connections are, too

	user     string // argument of the last USER that the server took
	loggedIn bool
	epsvAll  bool
	block    bool // MODE B or C: a data connection serves several transfers

	live bool // an endpoint was announced or listened for, and not cancelled
	used bool // a transfer was sent for it

	passiveVerb string // PASV or EPSV: what the server took last
	activeOnly  bool   // it refused both, and took PORT
}

// A question is an effect that waits for the driver's answer, with everything that comes after it.
type question int

const (
	noQuestion  question = iota
	isReachable          // Announce
	listensAt            // Listen
	hasEnded             // Ending
	isSecured            // StartTLS
	isUnread             // Unread
)

// An input is something that a driver saw on one side.
type input struct {
	fromServer bool
	data       []byte
	end        bool // after data
}

// NewSession returns the state of a control connection on which nothing has been said yet.
func NewSession(o Options) *Session {
	o.Peer, o.Hop, o.Client = o.Peer.Unmap(), o.Hop.Unmap(), o.Client.Unmap()
	o.Opaque = o.Opaque && o.TLS == TLSOff && o.Access == ReadWrite && o.Paths == nil
	s := &Session{opt: o, due: []entry{{kind: greeting}}, securing: o.TLS != TLSOff}
	s.holdSaid(o.Said)
	return s
}

// FromClient takes bytes from the FTP client.
func (s *Session) FromClient(p []byte) []Effect {
	if s.clientEnded {
		return nil
	}
	return s.feed(input{data: p})
}

// FromServer takes bytes from the FTP server.
func (s *Session) FromServer(p []byte) []Effect {
	return s.feed(input{data: p, fromServer: true})
}

// ClientClosed says that the client has ended its side. A line without an end is dropped. What was held back
// still goes out, then comes ServerEOF.
func (s *Session) ClientClosed() []Effect { return s.feed(input{end: true}) }

// ServerClosed says that the server has ended its side, and with it the session.
func (s *Session) ServerClosed() []Effect { return s.feed(input{end: true, fromServer: true}) }

// WantsClient reports whether bytes from the client are of use now. While they are not, the driver
// should not read any: so much is held back already that TCP may do the rest of the holding.
func (s *Session) WantsClient() bool {
	return !s.waits() && !s.clientEnded && s.heldBytes < holdEnough
}

// WantsServer is the same for bytes from the server.
func (s *Session) WantsServer() bool { return !s.waits() }

// LoggedIn reports whether the server has let the client in. Until it has, somebody may be waiting who will never go on, so that a driver
// gives both a time for it.
func (s *Session) LoggedIn() bool { return s.loggedIn }

// LoginExpired says that the time for the login is over. It ends the session, unless somebody is logged in.
func (s *Session) LoginExpired() []Effect {
	if s.waits() || s.loggedIn {
		return nil
	}
	if len(s.due) > 0 && s.due[0].kind == greeting {
		s.fail("421 The FTP server has not greeted, closing the connection", "the FTP server had not greeted when the time for a login was over")
	} else {
		s.fail("421 Nobody has logged in for too long, closing the connection", "nobody had logged in when the time for it was over")
	}
	return s.run()
}

// Announced says that the endpoint of the last Announce can be reached at the given address, which
// is what the client is told, unless it is in active mode.
func (s *Session) Announced(at netip.AddrPort) []Effect {
	if s.question != isReachable {
		return nil
	}
	line := announcement(s.asked.Mode, at)
	if line == "" {
		s.cancel("it can't be announced at this address")
		return s.refuse(fmt.Sprintf("%v can't be announced to the client", at))
	}
	s.question = noQuestion
	s.toClient(line)
	return s.resume()
}

// Refused says that the endpoint of the last Announce can't be reached, that the last Listen or Unread has failed, or that the client has no
// part in the transfer of the last Ending, or not the whole. The client is told so in chosen words; the reason is for the log and comes back in a Note.
func (s *Session) Refused(reason string) []Effect {
	switch s.question {
	case isReachable:
		if s.asked.Listening {
			s.cancel("it can't be reached")
		}
		s.live = false
		return s.refuse(reason)
	case listensAt:
		return s.notListening(reason)
	case isUnread:
		return s.notUnread(reason)
	case hasEnded:
		return s.notEnded(reason)
	}
	return nil
}

func (s *Session) refuse(reason string) []Effect {
	s.question = noQuestion
	s.note(NoteRefused, "data endpoint not opened: "+reason)
	s.toClient(cantOpen(s.asked.Mode))
	return s.resume()
}

// cantOpen is the answer to an endpoint that can't be had. Clients go on with PASV after EPSV's 500.
func cantOpen(asked Mode) string {
	switch asked {
	case EPSV:
		return "500 Can't open a data connection"
	case PORT, EPRT:
		return "502 Can't open a data connection by active mode, use passive mode (PASV or EPSV)"
	}
	return "425 Can't open a data connection"
}

// resume goes on after the answer to a question.
func (s *Session) resume() []Effect {
	if s.overfed > maxOverfed {
		s.close("the driver kept on feeding while a question to it was open")
	}
	s.overfed = 0
	s.flush()
	s.pump()
	return s.run()
}

// waits reports whether the session must stay silent for now, or for good.
func (s *Session) waits() bool { return s.closed || s.question != noQuestion }

func (s *Session) feed(in input) []Effect {
	if s.closed {
		return nil
	}
	if s.question != noQuestion {
		if s.overfed += len(in.data); s.overfed > maxOverfed {
			return nil // resume closes the session
		}
	}
	in.data = bytes.Clone(in.data)
	s.inputs = append(s.inputs, in)
	return s.run()
}

// run reads the inputs, until there are none or a question is open, and returns the effects.
func (s *Session) run() []Effect {
	for len(s.inputs) > 0 && !s.waits() {
		in := &s.inputs[0]
		switch {
		case len(in.data) > 0:
			b := in.data[0]
			in.data = in.data[1:]
			if in.fromServer {
				s.serverByte(b)
			} else {
				s.clientByte(b)
			}
			continue
		case in.end && in.fromServer:
			s.serverEnd()
		case in.end:
			s.clientEnded = true
			s.pump()
		}
		s.inputs = s.inputs[1:]
	}
	if s.closed {
		s.inputs, s.held, s.reply = nil, nil, reply{} // due is for Unanswered
	}
	out := s.out
	s.out = nil
	return out
}

// emit adds an effect. Nothing comes after a Close.
func (s *Session) emit(e Effect) {
	if !s.closed {
		s.out = append(s.out, e)
	}
}

func (s *Session) toServer(line string) { s.emit(ToServer{appendLine(nil, line)}) }

// toClient and forward say something to the client. If a command is being answered, it is the answer.
func (s *Session) toClient(line string) {
	code, _, _ := replyCode(line)
	s.answer(code)
	s.tell(appendLine(nil, line))
}

func (s *Session) forward(r reply) {
	s.answer(r.code)
	s.tell(r.bytes())
}

func (s *Session) tell(reply []byte) {
	if !s.hidden {
		s.emit(ToClient{reply})
	}
}

// note notes, except for what a peer repeats without an end: that would cost more than it cost to say. What a peer has said, if anything,
// is quoted behind the text.
func (s *Session) note(k NoteKind, text string, said ...string) {
	s.notes[k]++
	n, cheap := s.notes[k], k == NoteTelnet || k == NoteMalformed || k == NoteUnsolicited
	if cheap && n > maxNotes {
		return
	}
	for _, p := range said {
		text += quote(p)
	}
	if cheap && n == maxNotes {
		text += " (further ones are not noted)"
	}
	s.emit(Note{k, text})
}

// cancel withdraws the endpoint, if there is one.
func (s *Session) cancel(reason string) {
	if s.live {
		s.live = false
		s.emit(Cancel{reason})
	}
}

// fail ends the session with a last word to the client.
func (s *Session) fail(line, reason string) {
	s.toClient(line)
	s.close(reason)
}

// close ends the session.
func (s *Session) close(reason string) {
	s.cancel("the control connection ends")
	s.emit(Close{reason})
	s.closed = true
}
