package ftp

import (
	"math"
	"strconv"
	"strings"
)

// measures are what has been said about the size of the files to come: by the server, or by the client.
type measures struct {
	restart int64 // REST: where the next transfer begins
	intends int64 // ALLO: how much the client is about to send
	coded   bool  // MODE Z, B or C
	sizes   Sizes // SIZE and MLST
}

// measuring tells the commands whose arguments and replies say something about sizes, besides transfers.
var measuring = map[string]bool{"SIZE": true, "MLST": true, "REST": true, "ALLO": true}

// measure says what is known of a transfer whose first reply this is.
func (s *Session) measure(e *entry, first reply) {
	if !s.opt.Measures {
		return
	}
	m := Measured{Coded: s.measures.coded}
	direction := e.command.Direction()
	if direction != Listing && e.command.Verb != "APPE" {
		m.Offset = s.measures.restart
	}
	switch {
	case m.Coded:
	case direction == Download:
		m.Size = s.downloadSize(e.name, m.Offset, first)
	case direction == Upload && m.Offset == 0: // of a file that goes on, ALLO may mean the whole or the rest
		m.Size = s.measures.intends
	}
	if e.command.Verb == "STOU" {
		m.Name = nameIn(first)
	}
	s.measures.restart, s.measures.intends = 0, 0
	s.emit(m)
}

// downloadSize returns the size of a whole file. The one in the reply is the latest news, but behind a REST some servers mean the rest.
func (s *Session) downloadSize(name string, offset int64, first reply) int64 {
	if n := sizeIn(first); n > 0 && offset == 0 {
		return n
	}
	return s.measures.sizes.Of(name)
}

// learn takes what the final reply to e says about sizes.
func (s *Session) learn(e entry, r reply) {
	if !s.opt.Measures {
		return
	}
	m := &s.measures
	positive := r.code < 400
	switch c := e.command; {
	case e.kind == transfer:
		if !e.running { // it has used up nothing
			m.restart, m.intends = 0, 0
		}
		if c.Class == ClassWrite {
			m.sizes.Clear()
		}
	case e.kind == modeChange && positive:
		m.coded = e.coded
	case c.Verb == "SIZE" && r.code == 213:
		m.sizes.Add(e.argument, amount(strings.Trim(r.lines[0][len("213"):], " ")))
	case c.Verb == "MLST" && r.code == 250 && len(r.lines) > 2:
		if _, size, ok := factsLine(strings.TrimLeft(r.lines[1], " ")); ok {
			m.sizes.Add(e.argument, size)
		}
	case c.Verb == "REST":
		m.restart = 0
		if positive {
			m.restart = amount(e.argument)
		}
	case c.Verb == "ALLO" && positive:
		first, _, _ := strings.Cut(e.argument, " ")
		m.intends = amount(first)
	case c.Verb == "REIN" && positive:
		*m = measures{}
	case positive && c.Elsewhere():
		m.sizes.Clear()
	case c.Class == ClassWrite:
		m.sizes.Clear() // a name may be another file's now
	}
}

// Elsewhere reports whether after c, if it succeeds, a name may be that of another file than before.
func (c Command) Elsewhere() bool {
	switch c.Verb {
	case "CWD", "XCWD", "CDUP", "XCUP", "SMNT", "USER", "PASS", "ACCT", "REIN":
		return true
	}
	return false
}

// amount reads a number of bytes. What is none, or none that could be one, is 0, which stands for unknown.
func amount(text string) int64 {
	if !decimals(text) {
		return 0
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n > math.MaxInt64/2 { // so that nobody's sum overflows
		return 0
	}
	return n
}

// sizeIn returns the size in the 150 of most servers: `150 Opening BINARY mode data connection for f (1234 bytes).` What
// stands before may be the name of a file, so the last one counts.
func sizeIn(r reply) (size int64) {
	for _, line := range r.lines {
		i := strings.LastIndexByte(line, '(')
		if i < 0 {
			continue
		}
		number, rest, _ := strings.Cut(line[i+1:], " ")
		if n := amount(number); n > 0 && len(rest) >= len("byte") && strings.EqualFold(rest[:len("byte")], "byte") {
			size = n
		}
	}
	return size
}

// nameIn returns the name that the server has chosen for a STOU, escaped: `150 FILE: name`. RFC 1123, section 4.1.2.9.
func nameIn(r reply) string {
	_, name, found := strings.Cut(r.lines[0], "FILE: ")
	if !found || r.code >= 200 {
		return ""
	}
	return escape(name)
}
