package control

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"github.com/culvert-ssh/culvert/ftp"
)

// Speaker is who says a line of the dialogue.
type Speaker int

const (
	Client Speaker = iota // the FTP client, to the server
	Server                // the FTP server, to the client
	Here                  // this program, to either
)

// Line is a line on a control connection, for people.
type Line struct {
	Speaker  Speaker
	ToServer bool // or else to the client

	// Text is the line as it came, or as it goes. What may be a password is masked, and what isn't printable escaped.
	Text string

	// Instead says of a line of Here that it goes in place of one that came. A line that came and goes on as it is isn't told a
	// second time. If Dropped is set, the line is one that came, and nothing goes in its place.
	Instead, Dropped bool
}

const (
	// shownLine is how much of a line is shown, in bytes.
	shownLine = 1000
	// maxPending bounds the lines that are remembered until it is known what becomes of them. A reply has fewer.
	maxPending = 5000
	// maxSecrets bounds what is masked in replies; shortSecret is too short to be masked wherever it is.
	maxSecrets, shortSecret = 16, 3
)

// dialogue tells the lines of both sides as they come, and what goes on instead of them. It looks at bytes alone, so that it
// says what really was on the wire.
type dialogue struct {
	tell           func(Line)
	client, server speech
	secrets        []string // lower case
}

// speech is one side.
type speech struct {
	partial []byte   // of the line that has no end yet
	more    int      // bytes of it that aren't kept
	pending []string // lines that came and didn't go on yet
	open    string   // the code of a reply of several lines
}

// say says something to one side.
func (r *run) say(toServer bool, p []byte) error {
	if r.dialogue != nil {
		r.dialogue.goes(toServer, p)
	}
	if toServer {
		return write(r.Server, p)
	}
	r.toClient++
	return write(r.Client, p)
}

// came takes what a side says.
func (d *dialogue) came(from Speaker, p []byte) {
	s := d.speech(from)
	for len(p) > 0 {
		end := bytes.IndexByte(p, '\n')
		part := p
		if end >= 0 {
			part = p[:end]
		}
		room := min(len(part), ftpLine-len(s.partial))
		s.partial, s.more = append(s.partial, part[:room]...), s.more+len(part)-room
		if end < 0 {
			return
		}
		p = p[end+1:]
		line := string(bytes.TrimSuffix(s.partial, []byte("\r")))
		d.tell(Line{Speaker: from, ToServer: from == Client, Text: d.shown(from == Client, line, s.more)})
		s.remember(from, line)
		s.partial, s.more = s.partial[:0], 0
	}
}

// ftpLine is the longest line that goes on as it is.
const ftpLine = 8 << 10

func (d *dialogue) speech(from Speaker) *speech {
	if from == Client {
		return &d.client
	}
	return &d.server
}

// remember keeps a line until it goes on, as the state machine sends it on if it leaves it as it is.
func (s *speech) remember(from Speaker, line string) {
	if line == "" {
		return
	}
	if from == Client {
		verb, rest, found := strings.Cut(line, " ")
		if line = strings.ToUpper(verb); found {
			line += " " + rest
		}
	} else {
		s.follow(line)
	}
	if len(s.pending) == maxPending {
		s.pending = s.pending[1:]
	}
	s.pending = append(s.pending, line)
}

// follow notices where a reply of several lines begins and ends.
func (s *speech) follow(line string) {
	switch {
	case s.open == "" && len(line) > 3 && line[3] == '-':
		s.open = line[:3] + " "
	case s.open != "" && strings.HasPrefix(line+" ", s.open):
		s.open = ""
	}
}

// goes takes what is about to be said to a side: what came from the other goes on, or something else.
func (d *dialogue) goes(toServer bool, p []byte) {
	from := Server
	if toServer {
		from = Client
	}
	s := d.speech(from)
	for line := range strings.SplitAfterSeq(string(p), "\r\n") {
		line = strings.TrimSuffix(line, "\r\n")
		if line == "" {
			continue
		}
		if i := slices.Index(s.pending, line); i >= 0 {
			if !toServer { // in a reply, what is left out stands before it
				d.drop(s.pending[:i])
				s.pending = s.pending[i+1:]
			} else {
				s.pending = slices.Delete(s.pending, i, i+1)
			}
			continue
		}
		l := Line{Speaker: Here, ToServer: toServer, Text: d.shown(toServer, line, 0)}
		if toServer {
			l.Instead = s.endpoint(line)
		} else {
			if l.Instead = len(s.pending) > 0; l.Instead {
				s.pending = s.pending[1:]
			}
		}
		d.tell(l)
	}
}

// endpoint reports whether a command asks for a data connection in place of one that came, which is then done with.
func (s *speech) endpoint(line string) bool {
	if !asksForEndpoint(line) {
		return false
	}
	i := slices.IndexFunc(s.pending, asksForEndpoint)
	if i >= 0 {
		s.pending = slices.Delete(s.pending, i, i+1)
	}
	return i >= 0
}

func asksForEndpoint(line string) bool {
	verb, _, _ := strings.Cut(line, " ")
	return slices.Contains([]string{"PASV", "P@SW", "EPSV", "PORT", "EPRT"}, verb)
}

func (d *dialogue) drop(lines []string) {
	for _, line := range lines {
		d.tell(Line{Speaker: Here, Text: d.shown(false, line, 0), Dropped: true})
	}
}

// settle is called when all that a chunk of the server's brings about is done: what it said and wasn't sent on was meant for this program.
func (d *dialogue) settle() {
	if d.server.open == "" {
		d.server.pending = nil
	}
}

// shown makes a line fit to be seen. Replies may quote what the client said.
func (d *dialogue) shown(command bool, line string, more int) string {
	if command {
		var secrets []string
		line, secrets = ftp.Shown(line)
		for _, s := range secrets {
			if len(s) >= shortSecret && !slices.Contains(d.secrets, lowerASCII(s)) {
				d.secrets = append(d.secrets, lowerASCII(s))
			}
		}
		d.secrets = d.secrets[max(0, len(d.secrets)-maxSecrets):]
	} else {
		line = d.mask(line)
	}
	if len(line) > shownLine {
		line, more = line[:shownLine], more+len(line)-shownLine
	}
	line = strconv.Quote(line)
	line = strings.ReplaceAll(line[1:len(line)-1], `\"`, `"`)
	if more > 0 {
		line += "… and " + strconv.Itoa(more) + " more bytes"
	}
	return line
}

// mask masks in a reply what was masked in a command.
func (d *dialogue) mask(line string) string {
	for _, secret := range d.secrets {
		for from := 0; ; {
			i := strings.Index(lowerASCII(line[from:]), secret)
			if i < 0 {
				break
			}
			line = line[:from+i] + ftp.Masked + line[from+i+len(secret):]
			from += i + len(ftp.Masked)
		}
	}
	return line
}

// lowerASCII keeps every byte where it is.
func lowerASCII(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}
