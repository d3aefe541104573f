package ftp

import (
	"bytes"
	"fmt"
)

// The Telnet commands that matter on a control connection. RFC 854 and RFC 959, section 4.1.3.
const (
	telnetDM   = 242
	telnetIP   = 244
	telnetWILL = 251
	telnetDONT = 254
	telnetIAC  = 255
)

// telnet takes Telnet commands out of one direction of a control connection, a byte at a time.
type telnet struct {
	iac    bool // the last byte was IAC
	option byte // WILL, WONT, DO or DONT if the next byte is its option
}

// next takes one byte of the stream. If text, b belongs to the text: a 0xFF that comes out is
// the literal one. Otherwise removed, where it isn't empty, is the sequence that ended here and was taken out.
//
// IP and DM announce an ABOR that follows as text, and that is what the session acts on.
func (t *telnet) next(b byte) (text bool, removed []byte) {
	switch {
	case t.option != 0:
		removed = []byte{telnetIAC, t.option, b}
		t.option = 0
		return false, removed
	case !t.iac:
		t.iac = b == telnetIAC
		return !t.iac, nil
	}
	t.iac = false
	switch {
	case b == telnetIAC:
		return true, nil
	case b >= telnetWILL && b <= telnetDONT:
		t.option = b
		return false, nil
	}
	return false, []byte{telnetIAC, b}
}

// telnetNote describes a sequence that next removed.
func telnetNote(from string, removed []byte) string {
	name := ""
	switch removed[1] {
	case telnetDM:
		name = " (DM, urgent)"
	case telnetIP:
		name = " (IP, urgent)"
	}
	return fmt.Sprintf("Telnet sequence from the %s removed%s: %q", from, name, removed)
}

// appendLine appends line and its CRLF to p, with a literal 0xFF doubled.
func appendLine[T string | []byte](p []byte, line T) []byte {
	if bytes.IndexByte([]byte(line), telnetIAC) < 0 {
		return append(append(p, line...), '\r', '\n')
	}
	for i := range len(line) {
		if line[i] == telnetIAC {
			p = append(p, telnetIAC)
		}
		p = append(p, line[i])
	}
	return append(p, '\r', '\n')
}
