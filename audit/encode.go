package audit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// maxLine bounds a line, in bytes. The longest field that a peer controls is a user name in an SSH packet of 256 KiB, each
// byte of which may need six.
const maxLine = 4 << 20

// timeLayout is that of every time in the log: UTC, with milliseconds.
const timeLayout = "2006-01-02T15:04:05.000Z07:00"

func timestamp(t time.Time) string { return string(appendTime(nil, t)) }

// appendTime appends a time in timeLayout. Package time is several times as fast with a layout of its own.
func appendTime(b []byte, t time.Time) []byte {
	t = t.UTC()
	b = t.AppendFormat(b, time.RFC3339)
	ms := t.Nanosecond() / int(time.Millisecond)
	return append(b[:len(b)-len("Z")], '.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10), 'Z')
}

// encoder makes lines of events.
type encoder struct {
	lines bytes.Buffer
	json  *json.Encoder // into lines
	plain plainFields   // of the event that is being encoded
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
	if then, ok := e.(stamped); ok {
		now, e = then.at, then.Event
	}
	start := c.lines.Len()
	b := c.lines.AvailableBuffer()
	b = append(b, `{"time":"`...)
	b = appendTime(b, now)
	b = append(b, `","event":"`...)
	b = append(b, e.EventName()...)
	b = append(b, '"')
	if many, ok := e.(plain); ok {
		c.plain = plainFields{b: b}
		if many.appendFields(&c.plain); !c.plain.odd && len(c.plain.b) <= maxLine {
			c.lines.Write(c.plain.b)
			return nil
		}
	}
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

// escapeControls escapes what JSON may hold as it is and a terminal obeys: DEL, the C1 control characters, those that turn the
// direction of text, and whatever else isn't printable or no UTF-8. It returns nil if there is nothing of it.
func escapeControls(line []byte) []byte {
	if !slices.ContainsFunc(line, func(c byte) bool { return c >= 0x7f || c < ' ' }) || bytes.IndexFunc(line, suspect) < 0 {
		return nil
	}
	var b []byte
	for len(line) > 0 {
		r, n := utf8.DecodeRune(line)
		switch {
		case !suspect(r) || r == utf8.RuneError && n > 1:
			b = append(b, line[:n]...)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			b = fmt.Appendf(b, `\u%04x\u%04x`, high, low)
		default:
			b = fmt.Appendf(b, `\u%04x`, r)
		}
		line = line[n:]
	}
	return b
}

// suspect reports whether r isn't printable, or stands for what is no UTF-8.
func suspect(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }
