package ftp

import "strings"

// A Command is what a log may say of a command: its verb, and the argument only where that is a path.
type Command struct {
	Verb  string // in upper case; "?" if it is none that is known here: it may be a password that was typed too early
	Class Class
	Path  string // escaped
}

// Class is what a command is about.
type Class string

const (
	ClassSession  Class = "session"  // who one is, and where
	ClassTransfer Class = "transfer" // how, and over which connection, the next transfer goes
	ClassList     Class = "list"     // names and attributes
	ClassRead     Class = "read"     // what is in a file
	ClassWrite    Class = "write"    // it changes something on the server
	ClassOther    Class = "other"
)

// Direction is which way a transfer goes.
type Direction string

const (
	Download Direction = "download"
	Upload   Direction = "upload"
	Listing  Direction = "listing" // a download of names
)

// Direction returns the direction of a transfer command, and "" of any other.
func (c Command) Direction() Direction {
	switch c.Verb {
	case "RETR":
		return Download
	case "STOR", "STOU", "APPE":
		return Upload
	case "LIST", "NLST", "MLSD":
		return Listing
	}
	return ""
}

// argument is where the argument of a command has a path.
type argument int

const (
	noPath     argument = iota
	path                // all of it
	secondPath          // after a word that is none
	timedPath           // all of it, or after a time
	digest              // all of it, or before one or two numbers
	listing             // after options
	ownName             // all of it, or the server chooses a name
	directory           // all of it, which becomes the working directory
	parent              // none, and the directory above becomes the working directory
	ahead               // that of the command in it, which is to come
	anywhere            // somewhere, if at all
)

// verb is what is known of a command.
type verb struct {
	class    Class
	argument argument
}

// verbs tells the commands that are known, with what may be said of them.
var verbs = func() map[string]verb {
	m := make(map[string]verb)
	for _, v := range []struct {
		class    Class
		argument argument
		verbs    string
	}{
		{ClassSession, noPath, "USER PASS ACCT REIN QUIT FEAT OPTS LANG CLNT CSID SYST HELP NOOP PWD XPWD"},
		{ClassSession, noPath, "AUTH PBSZ PROT CCC ADAT MIC CONF ENC HOST"},
		{ClassSession, directory, "CWD XCWD"},
		{ClassSession, parent, "CDUP XCUP"},
		{ClassSession, anywhere, "SMNT"},
		{ClassTransfer, noPath, "TYPE STRU MODE REST RANG ALLO PASV P@SW EPSV PORT EPRT ABOR"},
		{ClassTransfer, noPath, "LPSV LPRT SPSV SPAS SPOR CPSV SSCN CEPR ESTA ESTP"},
		{ClassTransfer, ahead, "PRET"},
		{ClassList, listing, "LIST NLST MLSD MLST STAT"},
		{ClassList, path, "SIZE"},
		{ClassList, timedPath, "MDTM"},
		{ClassRead, path, "RETR MD5"},
		{ClassRead, digest, "HASH XCRC XMD5 XSHA XSHA1 XSHA256 XSHA512"},
		{ClassRead, anywhere, "MMD5"},
		{ClassWrite, path, "STOR APPE DELE RMD XRMD MKD XMKD RNFR RNTO"},
		{ClassWrite, ownName, "STOU"},
		{ClassWrite, secondPath, "MFMT MFCT MFF"},
		{ClassWrite, anywhere, "SITE"},
	} {
		for _, name := range strings.Fields(v.verbs) {
			m[name] = verb{v.class, v.argument}
		}
	}
	return m
}()

// recorded returns what a log may say of c, which must be a command.
func (c command) recorded() Command {
	v, known := verbs[c.verb]
	if !known {
		return Command{Verb: "?", Class: ClassOther}
	}
	if setsTime(c) {
		v.class, v.argument = ClassWrite, secondPath
	}
	r := Command{Verb: c.verb, Class: v.class}
	switch v.argument {
	case path, timedPath, digest, listing, ownName, directory:
		r.Path = escape(withoutLogin(c.arg()))
	case anywhere:
		if c.verb != "SITE" { // whose argument may be a new password
			r.Path = escape(withoutLogin(c.arg()))
		}
	case secondPath:
		_, second, _ := strings.Cut(strings.TrimLeft(c.arg(), " "), " ")
		r.Path = escape(second)
	}
	return r
}

// An answering is a command that has left the FIFO, whose final reply is what is said to the client next.
type answering struct {
	command Command
	here    bool
	aborted bool
	refusal Refusal
}

// answer emits the record of the command whose final reply goes out with this code, if there is one.
func (s *Session) answer(code int) {
	a := s.answering
	if a.command.Verb == "" {
		return
	}
	s.answering = answering{}
	s.emit(Answered{Command: a.command, Code: code, Here: a.here, Aborted: a.aborted, Refusal: a.refusal})
}

// Unanswered returns the commands that went to the server and have no final reply: what a driver must still put on record
// when the session has ended, however it did.
func (s *Session) Unanswered() []Command {
	var all []Command
	for _, c := range []Command{s.answering.command, s.pending.command} {
		if c.Verb != "" {
			all = append(all, c)
		}
	}
	for _, e := range s.due {
		if e.command.Verb != "" && e.local == "" {
			all = append(all, e.command)
		}
	}
	return all
}
