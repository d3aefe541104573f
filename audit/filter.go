package audit

import (
	"encoding/json"
	"io"
	"net/netip"
	"strings"
	"time"
)

// A Filter picks events. Its zero value picks all; of several fields, all must fit.
type Filter struct {
	User   string
	Conn   string       // of a connection, or the number of a request on it, or of an FTP command that was refused
	Event  string       // a name, or the beginning of one with "*" behind it
	Since  time.Time    // of this time or later
	Until  time.Time    // before this time
	Client netip.Prefix // where the client is, or the source that was penalised
	Denied bool         // what the bastion refused
}

// fields are those of an event that a Filter looks at.
type fields struct {
	Time    time.Time      `json:"time"`
	Event   string         `json:"event"`
	Conn    string         `json:"conn"`
	User    string         `json:"user"`
	Client  netip.AddrPort `json:"client"`
	Source  netip.Prefix   `json:"source"`
	Request string         `json:"request"`
	Control string         `json:"control"`
	Number  string         `json:"number"`
	Result  string         `json:"result"`
	By      string         `json:"by"`
}

// Select writes the lines of r that fit to w, as they are. It returns how many lines are no events; these
// fit nothing. It works on any size and on a log that is being written to.
func (f Filter) Select(w io.Writer, r io.Reader) (foreign int, err error) {
	return eachEvent(r, func(line []byte) (bool, error) {
		var e fields
		if json.Unmarshal(line, &e) != nil || e.Event == "" {
			return false, nil
		}
		if !f.fits(e) {
			return true, nil
		}
		if safe := escapeControls(line); safe != nil { // no line of a Log needs it
			line = safe
		}
		_, err := w.Write(append(line, '\n'))
		return true, err
	})
}

// eachEvent gives do every line of r, and counts those of which it says that they are no events.
func eachEvent(r io.Reader, do func(line []byte) (event bool, err error)) (foreign int, err error) {
	lines := newLineReader(r)
	for {
		line, err := lines.next()
		switch {
		case err == io.EOF:
			return foreign, nil
		case err == errLongLine:
			foreign++
			continue
		case err != nil:
			return foreign, err
		}
		event, err := do(line)
		if err != nil {
			return foreign, err
		}
		if !event {
			foreign++
		}
	}
}

func (f Filter) fits(e fields) bool {
	switch {
	case f.User != "" && f.User != e.User:
	case f.Conn != "" && f.Conn != e.Conn && f.Conn != e.Request && f.Conn != e.Control && f.Conn != e.Number:
	case !fitsName(f.Event, e.Event):
	case !f.Since.IsZero() && e.Time.Before(f.Since):
	case !f.Until.IsZero() && !e.Time.Before(f.Until):
	case f.Client.IsValid() && !f.fitsClient(e):
	case f.Denied && !e.denied():
	default:
		return true
	}
	return false
}

func fitsName(want, name string) bool {
	if begin, ok := strings.CutSuffix(want, "*"); ok {
		return strings.HasPrefix(name, begin)
	}
	return want == "" || want == name
}

func (f Filter) fitsClient(e fields) bool {
	if e.Source.IsValid() {
		return f.Client.Overlaps(e.Source)
	}
	return f.Client.Contains(e.Client.Addr().Unmap())
}

// denied reports whether the event says that the bastion refused something to somebody.
func (e fields) denied() bool {
	switch {
	case e.Event == (Reload{}).EventName():
		return false
	case e.Event == (Penalty{}).EventName(), strings.HasSuffix(e.Event, ".refused"):
		return true
	}
	return e.Result == "refused" || e.Result == "denied" || e.By == "bastion"
}
