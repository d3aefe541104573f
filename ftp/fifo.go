package ftp

import (
	"net/netip"
	"slices"
)

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
	passive       // PASV, EPSV, and what is translated into them
	active        // PORT, EPRT of ours, which the driver has been asked to listen for
	epsvAll
	modeChange
	rein
	transfer
	abor
	stat
	noop
	feat
	clientAuth // AUTH of the client's own
	auth       // AUTH TLS, PBSZ 0 and PROT P of our own, whose replies go no further
	bufferSize
	protection
	// probe is a NOOP of our own, after an ABOR of which nobody knows whether another reply is due. Its reply
	// tells, and goes no further.
	probe
	// What Options.Paths needs to know: CWD and its kin, RNFR, and a PWD of our own, whose reply goes no further.
	move
	rename
	location
)

// barrier reports whether a command of kind k goes out only when no other reply is due, and is then the
// only one. What follows such a command depends on its reply; and a 227 or 229 that comes while one is due can
// answer nothing else.
//
// The greeting is one, so nothing goes to a server before it has shown that it speaks FTP.
func (k kind) barrier() bool {
	switch k {
	case greeting, passive, active, epsvAll, modeChange, rein, probe, clientAuth, auth, bufferSize, protection, move, rename, location:
		return true
	}
	return false
}

// An entry is a command whose reply is due, or one that was answered here and whose answer waits for
// the replies before it.
type entry struct {
	kind  kind
	mode  Mode   // passive, active: what the client asked for
	verb  string // passive: what was sent for it
	name  string // userName: the argument
	block bool   // modeChange: block or compressed
	coded bool   // modeChange: not stream
	local string // not empty: the answer given here
	alone bool   // it is a barrier, whatever its kind
	said  bool   // it is said for the client (Options.Said)

	refusal  Refusal // local: why, if that is numbered
	numbered bool    // local: the number isn't in it yet

	waits netip.AddrPort // passive, active: where the client waits, if mode is PORT or EPRT

	command  Command // for the record; without a verb, it is no command of the client
	argument string  // of what says something about sizes, if Options.Measures is set

	running bool   // transfer: a 1xx came
	aborted bool   // transfer: an ABOR was sent during it
	bridged *reply // passive, active: this is not the first try, and that was the answer to the first

	// during says of an ABOR that it was sent during a transfer. Some servers answer both by one
	// 226, others each by its own, so that once the transfer has its final reply, nobody knows whether one more is due.
	// If nothing came to show it until there is something else to be sent, a probe goes out first.
	during bool
}

func (e *entry) barrier() bool { return e.alone || e.kind.barrier() }

// mayGet reports whether a reply with this code can be meant for e. It is asked only where more than one
// entry is in question: during a transfer and after an ABOR. A failure is possible for anything.
func (e *entry) mayGet(code int) bool {
	switch {
	case code < 200:
		return e.kind == transfer
	case code >= 400:
		return true
	}
	switch e.kind {
	case abor:
		return code == 225 || code == 226
	case transfer:
		return code == 225 || code == 226 || code == 250
	case stat:
		return code >= 211 && code <= 213
	case noop, probe:
		return code == 200
	}
	return code != 225 && code != 226
}

func announces(code int) bool { return code == 227 || code == 229 }

// next returns which of the held commands may go out, or be answered here, now; -1 if none.
func (s *Session) next() int {
	if len(s.held) == 0 || len(s.due) >= maxDue {
		return -1
	}
	transferring, aborting := false, false
	for i := range s.due {
		e := &s.due[i]
		if e.barrier() {
			return -1
		}
		transferring = transferring || e.kind == transfer
		aborting = aborting || e.during
	}
	switch {
	case aborting && transferring:
		// Whatever else went out now could not be told from the ABOR by its reply.
		return s.overtaker(command.aborts)
	case aborting:
		return -1
	case len(s.due) == 0 || !s.headIsBarrier():
		return 0
	case transferring:
		return s.overtaker(command.overtakes)
	}
	return -1
}

func (s *Session) headIsBarrier() bool {
	p := s.plan(s.held[0])
	return p.entry.barrier()
}

func (s *Session) overtaker(is func(command) bool) int {
	if s.overtakers == 0 {
		return -1
	}
	return slices.IndexFunc(s.held, is)
}

// pump lets go of what is held back, as far as it may go.
func (s *Session) pump() {
	for !s.waits() && !s.asksWhere() {
		i := s.next()
		if i < 0 {
			break
		}
		c := s.release(i)
		s.carryOut(c, s.plan(c))
	}
	switch {
	case s.waits():
	case len(s.held) > 0 && s.inDoubt():
		s.due = append(s.due, entry{kind: probe})
		s.toServer("NOOP")
	case len(s.held) == 0 && s.clientEnded && !s.serverEOF && !s.securing:
		s.serverEOF = true
		s.emit(ServerEOF{})
	}
}

// inDoubt reports whether all that is due are ABORs that may have had their replies.
func (s *Session) inDoubt() bool {
	return len(s.due) > 0 && !slices.ContainsFunc(s.due, func(e entry) bool { return !e.during })
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

const (
	newEndpoint = "the client asks for a new endpoint"
	logInFirst  = "530 Log in first"
)

// carryOut sends a command up, or puts its answer in line.
func (s *Session) carryOut(c command, p plan) {
	if c.refusal == "" {
		p.entry.command = c.recorded()
		if s.opt.Measures && measuring[c.verb] {
			p.entry.argument = c.arg()
		}
	}
	if c.said {
		p.entry.said, p.entry.alone = true, true
	}
	if p.entry.kind == active && !s.loggedIn {
		p.entry.local = logInFirst
	}
	if p.entry.local != "" {
		s.number(&p.entry)
		if c.refusal == "" && !p.entry.numbered { // what is no command was noted when it came, and what is numbered goes on record
			s.note(NoteRefused, c.shown()+" was answered here: "+p.entry.local)
		}
		s.due = append(s.due, p.entry)
		s.flush()
		return
	}
	switch p.entry.kind {
	case passive:
		s.cancel(newEndpoint)
	case clientAuth:
		s.cancel("the client asks for TLS with the server")
	case active:
		s.cancel(newEndpoint)
		s.listen(p.entry)
		return
	case transfer:
		s.used = true
		s.emit(Transferring{p.entry.command, s.block})
	case abor:
		for i := range s.due {
			if s.due[i].kind == transfer {
				s.due[i].aborted, p.entry.during = true, true
			}
		}
	}
	s.where.renames = ""
	s.due = append(s.due, p.entry)
	s.toServer(p.line)
}

// flush emits the answers given here that are next in line.
func (s *Session) flush() {
	for !s.waits() && len(s.due) > 0 && s.due[0].local != "" {
		e := s.pop(0)
		s.answering = answering{command: e.command, here: true, refusal: e.refusal}
		code, _, _ := replyCode(e.local)
		s.hidden = s.hides(e, code)
		s.toClient(e.local)
		s.hidden = false
	}
}

// target returns which entry a reply with this code answers, or -1 if none.
//
// Servers answer in the order of the commands, with three exceptions. A transfer has a preliminary reply and a
// final one, and between the two some servers answer other commands (RFC 959, section 4.1.3, has STAT so). An ABOR is
// read ahead of its turn by some. And an ABOR may have had its reply already.
//
// Each command sent takes one entry and each final reply takes one away, whichever it is; so a
// wrong guess among these exchanges two replies, but never leaves a command waiting, or one reply too many.
func (s *Session) target(code int) int {
	if announces(code) { // which only a barrier asks for, so that it's alone
		if len(s.due) > 0 && (s.due[0].kind == passive || s.due[0].kind == epsvAll) {
			return 0
		}
		return -1
	}
	for code >= 200 && len(s.due) > 1 && s.due[0].during && !s.due[0].mayGet(code) {
		// What was sent after it is answered: it shared the reply of the transfer.
		s.answering = answering{command: s.pop(0).command}
		s.answer(0)
	}
	if len(s.due) == 0 {
		return -1
	}
	head := &s.due[0]
	switch {
	case head.kind == transfer && !head.mayGet(code):
		// If there is no other to be answered, it ends the transfer: better a strange end than none.
		return s.later(func(e entry) bool { return e.mayGet(code) })
	case head.kind == transfer && head.running && code >= 500 && code <= 504:
		// A syntax error can't befall a command that is under way.
		return s.later(func(e entry) bool { return e.kind == stat || e.kind == noop })
	case head.kind != transfer && head.kind != abor && (code == 225 || code == 226):
		return s.later(func(e entry) bool { return e.kind == abor })
	}
	return 0
}

// later returns the first entry after the head that was sent on, is no transfer, and fits; if there is none, the head.
func (s *Session) later(fits func(entry) bool) int {
	for i, e := range s.due {
		if i > 0 && e.local == "" && e.kind != transfer && fits(e) {
			return i
		}
	}
	return 0
}

// pop takes an entry out of the FIFO.
func (s *Session) pop(i int) entry {
	e := s.due[i]
	s.due = slices.Delete(s.due, i, i+1)
	if e.kind == abor {
		s.cancel("ABOR ended")
	}
	return e
}
