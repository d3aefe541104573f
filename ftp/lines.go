package ftp

// What a peer may make the session hold, in bytes unless it says otherwise.
const (
	// maxCommand bounds a command line without its CRLF: a path of PATH_MAX (4,096) minus the verb.
	maxCommand = 4096
	// maxReplyLine bounds a line of a reply without its line end: a path with every byte doubled.
	maxReplyLine = 8192
	// maxReply and maxReplyLines bound a reply of several lines. It is kept until it is whole; STAT of a
	// directory is the long one.
	maxReply      = 256 << 10
	maxReplyLines = 4096
	// maxBadLines command lines with bytes that have no place there end the session.
	maxBadLines = 3
)

// lineEnd says what a byte did to the line that it belongs to.
type lineEnd int

const (
	lineGoesOn  lineEnd = iota
	lineEnded           // the line is whole
	lineBad             // a line with a forbidden byte ended, or a bare LF was found
	lineTooLong         // the bound was crossed: the stream can't be followed any more
)

// commandReader cuts what the client sends into lines.
//
// Servers disagree about where a line ends: what is one line to us and two to the server would
// carry a command past every check made here. So only CRLF ends a line, and one with a bare CR,
// a bare LF, a NUL or another C0 byte in it goes nowhere.
type commandReader struct {
	telnet telnet
	line   []byte
	length int  // of the line so far, with what a bare LF took out of it
	cr     bool // the last byte was CR
	bad    bool
	// resync is set by a bare LF, which is answered at once, as a client that ends its lines
	// so would wait for ever. What follows it, up to CRLF, still isn't a command.
	resync bool
	begun  bool // a line that wasn't empty has ended before
	ended  int  // lines that have
}

// next takes one byte of text. After lineEnded and lineBad, r.line is the line, until reset
// or resume.
func (r *commandReader) next(b byte) lineEnd {
	if b == '\n' {
		return r.end()
	}
	if r.cr { // it was bare
		r.bad = true
		r.length++
	}
	if r.cr = b == '\r'; !r.cr {
		r.bad = r.bad || b < ' '
		r.length++
		r.line = append(r.line, b)
	}
	if r.length > maxCommand {
		return lineTooLong
	}
	return lineGoesOn
}

func (r *commandReader) end() lineEnd {
	switch {
	case !r.cr:
		return lineBad
	case r.resync: // it was answered at the bare LF
		r.reset()
		return lineGoesOn
	case r.bad:
		return lineBad
	}
	return lineEnded
}

// reset starts a new line after a CRLF.
func (r *commandReader) reset() {
	r.ended++
	r.line, r.length, r.cr, r.bad, r.resync = r.line[:0], 0, false, false, false
}

// resume goes on after a bare LF, which counts as a byte of the line that isn't over.
func (r *commandReader) resume() {
	length, ended := r.length+1, r.ended
	r.reset()
	r.length, r.ended, r.resync = length, ended, true
}

// foreign returns which other protocol the first line, or the beginning of a TLS record, which needn't have an end, is of; or "" if it may well be FTP.
func (r *commandReader) foreign(end lineEnd) string {
	switch {
	case r.begun:
	case end != lineGoesOn && len(r.line) > 0:
		r.begun = true
		return foreign(r.line)
	case tls(r.line):
		return "TLS"
	}
	return ""
}

// replyReader cuts what the server sends into lines.
//
// They end in CRLF. A first line that ends in a bare LF says that this server ends them all
// so. Otherwise a bare LF or CR comes from a name that the server echoed raw, and becomes a question mark, as a NUL does.
type replyReader struct {
	telnet   telnet
	line     []byte
	cr       bool
	replaced bool // a byte of this line became '?'
	begun    bool // the first line has ended
	lf       bool // lines end in LF
}

// next takes one byte of text. After lineEnded, r.line is the line, until reset.
func (r *replyReader) next(b byte) lineEnd {
	if b == '\n' && (r.cr || r.lf || !r.begun) {
		if !r.begun {
			r.begun, r.lf = true, !r.cr
		}
		r.cr = false
		return lineEnded
	}
	if r.cr {
		r.replace()
	}
	switch r.cr = b == '\r'; {
	case r.cr: // it belongs to the line only if no LF follows
	case b == '\n' || b == 0:
		r.replace()
	default:
		r.line = append(r.line, b)
	}
	if len(r.line) > maxReplyLine {
		return lineTooLong
	}
	return lineGoesOn
}

func (r *replyReader) replace() {
	r.line = append(r.line, '?')
	r.replaced = true
}

func (r *replyReader) reset() { r.line, r.replaced = r.line[:0], false }
