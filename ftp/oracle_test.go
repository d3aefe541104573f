package ftp

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// FuzzAnnouncement holds that nothing is announced but what answers a PASV or EPSV, or agrees to a PORT or EPRT of ours, at the
// head of the FIFO, after login. A witness says so: it knows nothing of the machine, reads the two streams from their
// beginning at every announcement, and counts.
func FuzzAnnouncement(f *testing.F) {
	f.Add(byte(0), script(0x02, 0x44, 0x06, 0x48, 0x49))
	f.Add(byte(0), script(0x10, 0x02, 0x44, 0x4d, 0x44))
	f.Add(byte(0), []byte{0x40, 0x02, 0x44, 0x00, 0x42, 0x03, 0x46})
	f.Add(byte(0), script(0x0d, 0x02, 0x40, 0x44))
	f.Add(byte(0), script(0x0a, 0x02, 0x50, 0x51, 0x52, 0x44))
	f.Add(byte(0), script(0x02, 0x44, 0x06, 0x48, 0x09, 0x49, 0x02, 0x44))
	f.Add(byte(0x40), script(0x18, 0x4c, 0x06, 0x48, 0x49, 0x02, 0x5f, 0x4c, 0x06, 0x48, 0x09, 0x51, 0x49))
	addTranscripts(f)
	f.Fuzz(checkWitness)
}

func checkWitness(t *testing.T, pick byte, data []byte) {
	var w witness
	play(fuzzOptions(pick), fuzzActs(pick, data), inPieces(1), func(a act, b batch) {
		if a.fromServer {
			w.fromServer = append(w.fromServer, a.data...)
		}
		for _, e := range b.effects {
			switch e := e.(type) {
			case ToServer:
				for line := range strings.SplitAfterSeq(string(e.Data), "\r\n") {
					if line != "" {
						w.sent = append(w.sent, sentLine{line, len(w.fromServer)})
					}
				}
			case Announce:
				if err := w.doubts(e.Endpoint); err != nil {
					t.Fatalf("announced %+v, but %v\nsent: %v\nfrom the server: %q", e.Endpoint, err, w.sent, w.fromServer)
				}
			}
		}
	})
}

// A witness has seen what crossed the wire to the server.
type witness struct {
	sent       []sentLine
	fromServer []byte
}

type sentLine struct {
	line  string
	after int // how many bytes the server had sent before
}

// An utterance is one final reply of the server as the witness reads it.
type utterance struct {
	first string // its first line
	until int    // where it ends in the stream
}

var (
	sixNumbers = regexp.MustCompile(`\d{1,3}, *\d{1,3}, *\d{1,3}, *\d{1,3}, *\d{1,3}, *\d{1,3}`)
	fourBars   = regexp.MustCompile(`\(\D\d?\D[0-9a-f.:]*\D\d{1,5}\D\)`)
)

// doubts returns what speaks against the endpoint that the machine announces at this moment.
func (w *witness) doubts(e Endpoint) error {
	replies := w.finalReplies()
	if len(replies) == 0 {
		return fmt.Errorf("the server hasn't said anything")
	}
	last := replies[len(replies)-1]
	switch {
	case last.until != len(w.fromServer):
		return fmt.Errorf("the server's last words aren't a whole reply")
	case last.first != e.Reply:
		return fmt.Errorf("the server's last reply is %q", last.first)
	case e.Listening:
		if last.first[0] != '2' {
			return fmt.Errorf("it is no agreement")
		}
	case strings.HasPrefix(last.first, "227") && !sixNumbers.MatchString(last.first):
		return fmt.Errorf("there are no six numbers in it")
	case strings.HasPrefix(last.first, "229") && !fourBars.MatchString(last.first):
		return fmt.Errorf("there is no port in it")
	case !strings.HasPrefix(last.first, "227") && !strings.HasPrefix(last.first, "229"):
		return fmt.Errorf("it is no announcement")
	}
	question := w.sent[len(w.sent)-1]
	passive := question.line == "PASV\r\n" || question.line == "EPSV\r\n"
	if passive == e.Listening || e.Listening && !portToUp.MatchString(question.line) {
		return fmt.Errorf("the last command was %q", question.line)
	}
	before, since := 0, 0
	for _, r := range replies[:len(replies)-1] {
		switch {
		case r.until <= question.after:
			before++
		case e.Listening && (strings.HasPrefix(r.first, "227") || strings.HasPrefix(r.first, "229")): // nobody asked
		default:
			since++
		}
	}
	// An ABOR may have had its reply or not, so each makes the count uncertain by one.
	slack := 0
	for _, s := range w.sent {
		if strings.HasPrefix(s.line, "ABOR") {
			slack++
		}
	}
	if since > slack {
		return fmt.Errorf("%d replies came since the question", since)
	}
	if due := len(w.sent); before < due-slack { // the greeting, and all commands but the question
		return fmt.Errorf("only %d of %d replies were there before the question", before, due)
	}
	return w.doubtsLogin(replies, slack)
}

// doubtsLogin looks for a 230 or 232 after a USER, PASS or ACCT, and for no REIN that was granted since.
func (w *witness) doubtsLogin(replies []utterance, slack int) error {
	asked, loggedIn := false, false
	next, rein := 0, false
	for _, r := range replies {
		for next < len(w.sent) && w.sent[next].after < r.until {
			line := w.sent[next].line
			asked = asked || strings.HasPrefix(line, "USER") || strings.HasPrefix(line, "PASS") || strings.HasPrefix(line, "ACCT")
			rein = rein || line == "REIN\r\n"
			next++
		}
		switch {
		case strings.HasPrefix(r.first, "227") || strings.HasPrefix(r.first, "229"):
		case rein && slack == 0:
			rein = false
			if r.first[0] == '2' {
				asked, loggedIn = false, false
			}
		case asked && (strings.HasPrefix(r.first, "230") || strings.HasPrefix(r.first, "232")):
			loggedIn = true
		}
	}
	if !loggedIn {
		return fmt.Errorf("nobody is logged in")
	}
	return nil
}

// finalReplies reads the whole stream of the server.
func (w *witness) finalReplies() (all []utterance) {
	var line []byte
	lfMode, knowsMode := false, false
	open := "" // the code of a reply of several lines
	first := ""
	for i := 0; i < len(w.fromServer); i++ {
		if w.fromServer[i] == 0xff {
			i++
			switch {
			case i == len(w.fromServer):
			case w.fromServer[i] == 0xff:
				line = append(line, 0xff)
			case w.fromServer[i] >= 0xfb:
				i++
			}
			continue
		}
		line = append(line, w.fromServer[i])
		text, crlf := bytes.CutSuffix(line, []byte("\r\n"))
		if !crlf {
			var lf bool
			if text, lf = bytes.CutSuffix(line, []byte("\n")); !lf || knowsMode && !lfMode {
				continue
			}
		}
		line = nil
		s := strings.NewReplacer("\r", "?", "\n", "?", "\x00", "?").Replace(string(text))
		if s != "" && !knowsMode {
			knowsMode, lfMode = true, !crlf
		}
		if len(s) == 3 {
			s += " "
		}
		reply := len(s) > 3 && s >= "100" && s[:3] <= "659" && strings.Trim(s[:3], "0123456789") == "" && (s[3] == ' ' || s[3] == '-')
		switch {
		case open == "" && reply && s[3] == '-':
			open, first = s[:3], s
		case open == "" && reply:
			all = append(all, utterance{s, i + 1})
		case open != "" && reply && s[:3] == open && s[3] == ' ':
			all = append(all, utterance{first, i + 1})
			open = ""
		}
	}
	final := all[:0]
	for _, u := range all {
		if u.first[0] != '1' {
			final = append(final, u)
		}
	}
	return final
}
