package ftp

import "strings"

// A reply is one whole reply from the server.
type reply struct {
	code  int
	lines []string // without their ends; the first begins with the code
	size  int      // of the lines, in bytes
	open  bool     // more lines follow
}

// replyCode reads the head of a line: a code from 100 to 659 that is followed by SP, by a hyphen, or by nothing, which
// stands for a SP. RFC 959, section 4.2; RFC 2228, section 5 (codes that begin with 6).
func replyCode[T string | []byte](line T) (code int, hyphen, ok bool) {
	if !number(line) || len(line) > 3 && line[3] != ' ' && line[3] != '-' {
		return 0, false, false
	}
	code = int(line[0]-'0')*100 + int(line[1]-'0')*10 + int(line[2]-'0')
	return code, len(line) > 3 && line[3] == '-', code >= 100 && code <= 659
}

// number reports whether line begins with three digits.
func number[T string | []byte](line T) bool {
	return len(line) >= 3 && digit(line[0]) && digit(line[1]) && digit(line[2])
}

// begin takes the first line of a reply.
func (r *reply) begin(line string) (ok bool) {
	code, hyphen, ok := replyCode(line)
	if ok {
		*r = reply{code: code, lines: []string{withSP(line)}, size: len(line), open: hyphen}
	}
	return ok
}

// more takes a further line. It reports whether the reply is still within its bounds, as it goes on and will be read again.
//
// An inner line that begins with a number gets a SP in front, as RFC 959, section 4.2, asks of the server itself: some
// clients end a reply at any line that begins with three digits, and would take the rest, which may
// be the name of a file, for replies.
func (r *reply) more(line string) (bounded bool) {
	code, hyphen, ok := replyCode(line)
	own := ok && code == r.code
	switch {
	case own && !hyphen:
		r.open = false
		line = withSP(line)
	case number(line) && !own:
		line = " " + line
	}
	r.size += len(line)
	r.lines = append(r.lines, line)
	return len(line) <= maxReplyLine && r.size <= maxReply && len(r.lines) <= maxReplyLines
}

// withSP completes a code that stands alone.
func withSP(line string) string {
	if len(line) == 3 {
		return line + " "
	}
	return line
}

// bytes returns the reply as it goes on to the client.
func (r reply) bytes() []byte {
	p := make([]byte, 0, r.size+2*len(r.lines))
	for _, line := range r.lines {
		p = appendLine(p, line)
	}
	return p
}

// withoutNotOffered takes out of the answer to FEAT (RFC 2389) what would be refused here.
func (r reply) withoutNotOffered(o Options) reply {
	if r.code != 211 {
		return r
	}
	kept := reply{code: r.code, size: r.size}
	for i, line := range r.lines {
		inner := i > 0 && i < len(r.lines)-1
		if inner && hidden(line, o) {
			continue
		}
		kept.lines = append(kept.lines, line)
	}
	return kept
}

// hidden reports whether a line of FEAT names a command that isn't offered. Old servers put
// the code in front of every line.
func hidden(line string, o Options) bool {
	line = strings.TrimLeft(strings.TrimPrefix(line, "211-"), " \t")
	end := strings.IndexFunc(line, notInVerb)
	if end < 0 {
		end = len(line)
	}
	verb := strings.ToUpper(line[:end])
	_, refused := notOffered[verb]
	return refused && !o.offers(verb) || o.Active == ActiveRefused && (verb == "PORT" || verb == "EPRT")
}

// speaksFTP reports whether the first line of a server is a reply, or the beginning of one.
func speaksFTP(line []byte) bool {
	_, _, ok := replyCode(line)
	return ok
}
