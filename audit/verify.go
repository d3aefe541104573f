package audit

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// A Report is what a [Verifier] found.
type Report struct {
	Lines    uint64 // whole lines of the chain
	From     string // place of the line that the first file continues, "line N, HASH"; empty if the chain begins there
	Last     uint64 // number of the last line
	Head     string // its hash: who noted it elsewhere can prove later that no line up to it is missing
	Problems []Problem
	More     int      // problems that are not listed any more
	Torn     []string // file:line of torn lines that are on record as such: a crash or a full disk
	NotedAt  string   // file:line of the line that [Verifier.Noted] named; empty if there is none
}

// Problem is a place where the chain is broken.
type Problem struct {
	At   string // file:line
	Text string
}

// maxProblems bounds what is listed.
const maxProblems = 100

// Verifier reads files of an audit log, the oldest first, and finds where lines are removed, changed, inserted or
// moved. A tail that was cut off is found only by the head that somebody noted: nothing in the file tells of it.
type Verifier struct {
	r     Report
	noted string
	last  link
	at    string // of the last line

	fragment *fragment // the line before is no line of the chain
}

// fragment is a line that is none of the chain, until the next one tells whether it was torn.
type fragment struct {
	at    string
	first bool // of its file
	whole bool // it has a line end
	bytes int64
	hash  string
	text  string // what is wrong with it, if it wasn't torn
}

// NewVerifier returns a Verifier that has read nothing.
func NewVerifier() *Verifier { return &Verifier{} }

// Noted names a head that was noted earlier, for the report to say where it is. It must be called before File.
func (v *Verifier) Noted(head string) { v.noted = head }

// File reads one file to its end. An error is one of reading.
func (v *Verifier) File(name string, r io.Reader) error {
	lines := newLineReader(r)
	for n := 1; ; n++ {
		line, err := lines.next()
		if err == io.EOF {
			break
		}
		at := fmt.Sprintf("%s:%d", name, n)
		if errors.Is(err, errLongLine) {
			v.settle(nil, false)
			v.problem(at, err.Error())
			continue
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", at, err)
		}
		v.line(at, line, n == 1, lines.whole)
	}
	v.settle(nil, false)
	return nil
}

// Report returns what was found in all files.
func (v *Verifier) Report() Report {
	r := v.r
	if v.last.seq > 0 {
		r.Last, r.Head = v.last.seq, v.last.String()
	}
	return r
}

// entry is what the verifier must know of an event.
type entry struct {
	Event  string `json:"event"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

func (v *Verifier) line(at string, line []byte, first, whole bool) {
	var e entry
	seq, prev, ok := parseLink(line)
	hash := sha256.Sum256(line)
	if !ok || !whole || json.Unmarshal(line, &e) != nil || e.Event == "" {
		v.settle(nil, false)
		v.fragment = &fragment{at, first, whole, int64(len(line)), hex.EncodeToString(hash[:]), "it is no line of this log, or it was changed"}
		return
	}
	begins := first || v.fragment != nil && v.fragment.first
	instead := v.settle(&e, seq == v.last.seq+2)
	v.r.Lines++
	switch {
	case begins && e.Event != (Opened{}).EventName() && e.Event != (Torn{}).EventName():
		v.problem(at, "the beginning of the file is missing: a file begins with "+(Opened{}).EventName())
	case v.r.Lines == 1:
		v.begin(at, seq, prev)
	case instead:
	default:
		v.follows(at, seq, prev, first)
	}
	v.last, v.at = link{seq, hash}, at
	if v.noted != "" && v.noted == v.last.String() {
		v.r.NotedAt = at
	}
}

// begin takes the first line of all.
func (v *Verifier) begin(at string, seq uint64, prev [sha256.Size]byte) {
	before := link{seq - 1, prev}
	switch {
	case before == link{}:
	case seq == 1 || prev == link{}.hash:
		v.problem(at, "it was changed: it is neither the first line nor does it follow another")
	default:
		v.r.From = fmt.Sprintf("line %d, %s", before.seq, before)
	}
}

// follows checks that a line follows the last one.
func (v *Verifier) follows(at string, seq uint64, prev [sha256.Size]byte, first bool) {
	switch {
	case seq == v.last.seq+1 && prev == v.last.hash:
	case first && seq == 1 && prev == link{}.hash:
		v.problem(at, "a chain begins anew: that nothing is missing before it can't be proven")
	case seq == v.last.seq+1:
		v.problem(v.at, "it was changed: the line after it has another hash of it")
	case seq > v.last.seq+1:
		v.problem(at, fmt.Sprintf("missing before it: %s, as number %d follows %d", count(seq-v.last.seq-1, "line"), seq, v.last.seq))
	default:
		v.problem(at, fmt.Sprintf("it was inserted or moved here: number %d follows %d", seq, v.last.seq))
	}
}

// settle decides about a fragment when the next line, if there is one, is known. It reports whether the fragment is in the
// place of a line that was changed, which is then all that is wrong.
func (v *Verifier) settle(next *entry, skipsOne bool) (instead bool) {
	f := v.fragment
	if f == nil {
		return false
	}
	v.fragment = nil
	switch {
	case next != nil && next.Event == (Torn{}).EventName() && next.Bytes == f.bytes && next.SHA256 == f.hash:
		if len(v.r.Torn) < maxProblems {
			v.r.Torn = append(v.r.Torn, f.at)
		}
		return false
	case !f.whole:
		v.problem(f.at, "it is torn: a crash, a full disk, or somebody cut the file here")
	default:
		v.problem(f.at, f.text)
	}
	return skipsOne
}

func (v *Verifier) problem(at, text string) {
	if len(v.r.Problems) >= maxProblems {
		v.r.More++
		return
	}
	v.r.Problems = append(v.r.Problems, Problem{at, text})
}

// count says how many of something there are.
func count(n uint64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// errLongLine is a line longer than maxLine. The rest of it was skipped.
var errLongLine = fmt.Errorf("it is longer than %d bytes", maxLine)

// lineReader reads lines, none of which takes more memory than maxLine.
type lineReader struct {
	r     *bufio.Reader
	buf   []byte
	whole bool // the last line had an end
}

func newLineReader(r io.Reader) *lineReader { return &lineReader{r: bufio.NewReaderSize(r, 64<<10)} }

// next returns a line without its end. It is good until the next call.
func (l *lineReader) next() ([]byte, error) {
	l.buf = l.buf[:0]
	long := false
	for {
		part, err := l.r.ReadSlice('\n')
		if long = long || len(l.buf)+len(part) > maxLine; !long {
			l.buf = append(l.buf, part...)
		}
		switch {
		case err == bufio.ErrBufferFull:
			continue
		case err == io.EOF && len(l.buf) == 0 && len(part) == 0 && !long:
			return nil, io.EOF
		case err != nil && err != io.EOF:
			return nil, err
		}
		l.whole = err == nil
		if long {
			return nil, errLongLine
		}
		return bytes.TrimSuffix(l.buf, []byte("\n")), nil
	}
}
