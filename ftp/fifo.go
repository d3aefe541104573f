package ftp

import "slices"

// maxDue bounds the commands whose replies are due. A client that pipelines more waits for
// some of them first.
const maxDue = 256

// A kind is what a command means to the pairing of replies and to the state of the session.
type kind int

const (
	plain    kind = iota
	greeting      // not a command: the reply that a connection begins with
	userName      // USER
	login         // PASS, ACCT
	passive       // PASV, EPSV
	epsvAll
	modeChange
	rein
	transfer
	abor
	stat
	noop
	feat
)

// barrier reports whether a command of kind k goes out only when no other reply is due, and is then the
// only one. What follows such a command depends on its reply; and a 227 or 229 that comes while one is due can
// answer nothing else.
//
// The greeting is one, so nothing goes to a server before it has shown that it speaks FTP.
func (k kind) barrier() bool {
	switch k {
	case greeting, passive, epsvAll, modeChange, rein:
		return true
	}
	return false
}

// An entry is a command whose reply is due, or one that was answered here and whose answer waits for
// the replies before it.
type entry struct {
	kind  kind
	mode  Mode   // passive: what the client asked for
	name  string // userName: the argument
	block bool   // modeChange: block or compressed
	local string // not empty: the answer given here

	running bool   // transfer: a 1xx came
	bridged *reply // passive: this is the second try, and that was the answer to the first

	// optional says that the reply may never come, because one that was seen may have been
	// it. It begins with ABOR: some servers answer RETR and ABOR with one 226, others with two replies.
	//
	// So that nobody waits for ever, an optional entry holds nothing back; so that no reply is
	// paired wrongly for good, it ends at the first reply that can only be for what was sent after it. If a
	// reply may be for either, it is taken for the first, and the doubt goes over to the second.
	optional bool
}

// mayGet reports whether a reply with this code can be meant for e. It is asked only where
// there is a doubt about that: where e may have had its reply, and where commands may be
// answered during a transfer. A failure is possible for anything.
func (e *entry) mayGet(code int) bool {
	switch {
	case code < 200:
		return e.kind == transfer || e.kind == greeting || e.kind == rein
	case code >= 400:
		return true
	case announces(code):
		return e.kind == passive
	}
	switch e.kind {
	case abor:
		return code == 225 || code == 226
	case transfer:
		return code == 225 || code == 226 || code == 250
	case stat:
		return code >= 211 && code <= 213
	case noop, modeChange:
		return code == 200
	case feat:
		return code == 211
	case userName, login:
		return code == 202 || code/10 == 23 || code/10 == 33
	case rein, greeting:
		return code == 220
	case epsvAll:
		return code == 200 || code == 220
	case passive:
		return false
	}
	// Every other command. 221 ends QUIT.
	return code != 211 && (code/10 != 22 || code == 221) && code/10 != 23 && code/10 != 33
}

func announces(code int) bool { return code == 227 || code == 229 }

// next returns which of the held commands may go out, or be answered here, now; -1 if none.
func (s *Session) next() int {
	if len(s.held) == 0 || len(s.due) >= maxDue {
		return -1
	}
	busy, transferring := false, false
	for _, e := range s.due {
		switch {
		case e.optional:
			continue
		case e.kind.barrier():
			return -1
		}
		busy = true
		transferring = transferring || e.kind == transfer
	}
	switch {
	case !busy || !s.plan(s.held[0]).entry.kind.barrier():
		return 0
	case transferring && s.overtakers > 0:
		return slices.IndexFunc(s.held, command.overtakes)
	}
	return -1
}

// pump lets go of what is held back, as far as it may go.
func (s *Session) pump() {
	for !s.waits() {
		i := s.next()
		if i < 0 {
			break
		}
		c := s.release(i)
		s.carryOut(c, s.plan(c))
	}
	if s.clientEnded && len(s.held) == 0 && !s.serverEOF && !s.waits() {
		s.serverEOF = true
		s.emit(ServerEOF{})
	}
}

// release takes a command out of what is held.
func (s *Session) release(i int) command {
	c := s.held[i]
	if i == 0 {
		s.held = s.held[1:] // the common case, which should not move all the others
	} else {
		s.held = slices.Delete(s.held, i, i+1)
	}
	s.heldBytes -= c.size
	if c.overtakes() {
		s.overtakers--
	}
	return c
}

// carryOut sends a command up, or puts its answer in line.
func (s *Session) carryOut(c command, p plan) {
	if p.entry.local != "" {
		if c.refusal == "" { // what is no command was noted when it came
			s.note(NoteRefused, c.shown()+" was answered here: "+p.entry.local)
		}
		s.due = append(s.due, p.entry)
		s.flush()
		return
	}
	switch p.entry.kind {
	case passive:
		s.cancel("the client asks for a new endpoint")
	case transfer:
		s.used = true
	}
	s.due = append(s.due, p.entry)
	s.toServer(p.line)
}

// flush emits the answers given here that are next in line. An optional entry doesn't hold them back: its
// reply may never come.
func (s *Session) flush() {
	for i := 0; i < len(s.due); {
		switch e := s.due[i]; {
		case e.local != "":
			s.due = slices.Delete(s.due, i, i+1)
			s.toClient(e.local)
		case !e.optional:
			return
		default:
			i++
		}
	}
}

// target returns which entry a reply with this code answers, or -1 if none. Entries that it
// shows to have been answered before leave the FIFO.
//
// Servers answer in the order of the commands, with the exception of a transfer, which has a preliminary reply and a
// final one, between which some answer other commands. RFC 959, section 4.1.3, has STAT so.
func (s *Session) target(code int) int {
	if announces(code) && !slices.ContainsFunc(s.due, asks) {
		return -1
	}
	for len(s.due) > 1 && s.due[0].optional && (!s.due[0].mayGet(code) || announces(code) && s.asksLater()) {
		s.pop(0)
	}
	if len(s.due) == 0 {
		return -1
	}
	head := &s.due[0]
	switch {
	case head.optional && !head.mayGet(code):
		return -1
	case announces(code) && !asks(*head):
		return -1
	case head.kind == transfer && !head.mayGet(code):
		// Without another command to be answered, it ends the transfer: better a strange end than none.
		if i := s.during(func(e entry) bool { return e.mayGet(code) }); i > 0 {
			return i
		}
	case head.kind == transfer && head.running && code >= 500 && code <= 504:
		// A syntax error can't befall a command that is under way.
		if i := s.during(func(e entry) bool { return e.kind == stat || e.kind == noop }); i > 0 {
			return i
		}
	}
	return 0
}

// asks reports whether e takes a 227 or 229 for its answer. EPSV ALL asks for none, but some servers
// take it for an EPSV; as a barrier it is the only one that can be meant.
func asks(e entry) bool { return e.kind == passive || e.kind == epsvAll }

func (s *Session) asksLater() bool { return slices.ContainsFunc(s.due[1:], asks) }

// during returns the first entry after the head that is sent on and that is fits, or -1.
func (s *Session) during(fits func(entry) bool) int {
	return slices.IndexFunc(s.due, func(e entry) bool {
		return e.local == "" && e.kind != transfer && fits(e)
	})
}

// pop takes an entry out of the FIFO.
func (s *Session) pop(i int) entry {
	e := s.due[i]
	s.due = slices.Delete(s.due, i, i+1)
	if e.kind == abor && e.local == "" {
		s.cancel("ABOR ended")
	}
	return e
}
