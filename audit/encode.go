package audit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"
)

// maxLine bounds a line, in bytes. The longest field that a peer controls is a user name in an SSH packet of 256 KiB, each
// byte of which may need six.
const maxLine = 4 << 20

// timeLayout is that of every time in the log: UTC, with milliseconds.
const timeLayout = "2006-01-02T15:04:05.000Z07:00"

func timestamp(t time.Time) string { return t.UTC().Format(timeLayout) }

// encoder makes lines of events.
type encoder struct {
	lines bytes.Buffer
	json  *json.Encoder // into lines
}

func (c *encoder) reset() {
	if c.json == nil || c.lines.Cap() > 64<<10 { // what one long line needed isn't kept
		c.lines = bytes.Buffer{}
		c.json = json.NewEncoder(&c.lines)
		c.json.SetEscapeHTML(false)
	}
	c.lines.Reset()
}

func (c *encoder) bytes() []byte { return c.lines.Bytes() }

// encode adds a line without a chain.
func (c *encoder) encode(now time.Time, e Event) error {
	if err := c.open(now, e); err != nil {
		return err
	}
	c.lines.WriteString("}\n")
	return nil
}

// chain adds a line that follows the line at, and returns its own place.
func (c *encoder) chain(now time.Time, e Event, at link) (link, error) {
	start := c.lines.Len()
	if err := c.open(now, e); err != nil {
		return link{}, err
	}
	c.lines.Write(at.appendNext(c.lines.AvailableBuffer()))
	next := at.next(c.lines.Bytes()[start:])
	c.lines.WriteByte('\n')
	return next, nil
}

// open adds a line but for its end. It puts the time and the name in front of the event's own fields, so that a person
// who reads the file sees them in the same column. After an error the lines are unchanged.
func (c *encoder) open(now time.Time, e Event) error {
	start := c.lines.Len()
	b := c.lines.AvailableBuffer()
	b = append(b, `{"time":"`...)
	b = now.UTC().AppendFormat(b, timeLayout)
	b = append(b, `","event":"`...)
	b = append(b, e.EventName()...)
	b = append(b, '"')
	c.lines.Write(b)
	at := c.lines.Len()
	err := c.json.Encode(e)
	if size := c.lines.Len() - start; err == nil && size > maxLine {
		err = fmt.Errorf("it has %d bytes", size)
	}
	if err != nil {
		c.lines.Truncate(start)
		return fmt.Errorf("encode audit event %q: %w", e.EventName(), err)
	}
	c.lines.Truncate(c.lines.Len() - len("}\n"))
	if own := c.lines.Bytes()[at:]; len(own) == 1 { // an event without fields
		c.lines.Truncate(at)
	} else {
		own[0] = ','
	}
	if safe := escapeControls(c.lines.Bytes()[at:]); safe != nil {
		c.lines.Truncate(at)
		c.lines.Write(safe)
	}
	return nil
}

// escapeControls escapes DEL and the C1 control characters, which JSON may hold as they are and which a terminal
// obeys. It returns nil if there are none.
func escapeControls(line []byte) []byte {
	if !hasControls(line) {
		return nil
	}
	var b bytes.Buffer
	for len(line) > 0 {
		r, n := utf8.DecodeRune(line)
		if control(r) {
			fmt.Fprintf(&b, `\u%04x`, r)
		} else {
			b.Write(line[:n])
		}
		line = line[n:]
	}
	return b.Bytes()
}

func control(r rune) bool { return r >= 0x7f && r <= 0x9f }

// hasControls reports whether there may be such a character; in UTF-8 the C1 ones begin with 0xC2.
func hasControls(line []byte) bool {
	return (bytes.IndexByte(line, 0x7f) >= 0 || bytes.IndexByte(line, 0xc2) >= 0) && bytes.IndexFunc(line, control) >= 0
}
