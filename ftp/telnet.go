package ftp

import (
	"bytes"
	"fmt"
)

// The Telnet commands that matter on a control connection. RFC 854 and RFC 959, section 4.1.3.
const (
	telnetDM   = 242
	telnetSE   = 240 // the lowest of them
	telnetIP   = 244
	telnetWILL = 251
	telnetDONT = 254
	telnetIAC  = 255
)

// telnet takes Telnet commands out of one direction of a control connection, a byte at a time.
type telnet struct {
	iac    bool // the last byte was IAC
	option byte // WILL, WONT, DO or DONT if the next byte is its option
	ip     bool // what was removed last was IAC IP, and nothing has come since
}

// next takes one byte of the stream. If text, b belongs to the text: a 0xFF that comes out is
// the literal one. And removed, where it isn't empty, is the sequence that ended here, or before b, and was taken out.
//
// IP and DM announce an ABOR that follows as text, and that is what the session acts on. The DM is urgent data, which is missing
// from the stream where somebody on the way, such as OpenSSH, doesn't read that inline: IAC IP IAC A is the A of ABOR.
func (t *telnet) next(b byte) (text bool, removed []byte) {
	switch {
	case t.option != 0:
		removed = []byte{telnetIAC, t.option, b}
		t.option = 0
		return false, removed
	case !t.iac:
		t.iac = b == telnetIAC
		t.ip = t.ip && t.iac
		return !t.iac, nil
	}
	interrupted := t.ip
	t.iac, t.ip = false, b == telnetIP
	switch {
	case interrupted && b < telnetSE:
		return true, []byte{telnetIAC}
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
	switch {
	case len(removed) == 1:
		name = " (DM, whose second byte got lost as urgent data)"
	case removed[1] == telnetDM:
		name = " (DM, urgent)"
	case removed[1] == telnetIP:
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
