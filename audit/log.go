// Package audit writes what happened, one JSON line an event, in the order in which it
// happened. It decides nothing, and it knows no secret to keep back.
package audit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"
)

// Event is one thing that happened. Its kinds are the types of this package; EventName is the
// stable name under which a reader finds it.
type Event interface{ EventName() string }

// Log writes events. It may be used from any goroutine.
type Log struct {
	mu  sync.Mutex
	w   io.Writer
	now func() time.Time
}

// New returns a Log that writes to w, one Write a line, stamped by now.
func New(w io.Writer, now func() time.Time) *Log { return &Log{w: w, now: now} }

// Write writes one event. An error means that the event is not on record; what then
// happens to the thing that it records is the caller's decision, and must not be nothing.
func (l *Log) Write(e Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	line, err := encode(l.now(), e)
	if err != nil {
		return err
	}
	if _, err := l.w.Write(line); err != nil {
		return fmt.Errorf("write audit event %q: %w", e.EventName(), err)
	}
	return nil
}

// encode puts the time and the name in front of the event's own fields, so that a person
// who reads the file sees them in the same column.
func encode(now time.Time, e Event) ([]byte, error) {
	var b bytes.Buffer
	head := struct {
		Time  string `json:"time"`
		Event string `json:"event"`
	}{now.UTC().Format("2006-01-02T15:04:05.000Z07:00"), e.EventName()}
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(head); err != nil {
		return nil, fmt.Errorf("encode audit event %q: %w", e.EventName(), err)
	}
	b.Truncate(b.Len() - len("}\n"))
	at := b.Len()
	if err := enc.Encode(e); err != nil {
		return nil, fmt.Errorf("encode audit event %q: %w", e.EventName(), err)
	}
	line := b.Bytes()
	if line[at+1] == '}' { // an event without fields
		line = append(line[:at], "}\n"...)
	} else {
		line[at] = ','
	}
	return escapeControls(line), nil
}

// escapeControls escapes DEL and the C1 control characters, which JSON may hold as they are and which a terminal
// obeys.
func escapeControls(line []byte) []byte {
	control := func(r rune) bool { return r >= 0x7f && r <= 0x9f }
	if bytes.IndexFunc(line, control) < 0 {
		return line
	}
	var b bytes.Buffer
	for _, r := range string(line) {
		if control(r) {
			fmt.Fprintf(&b, `\u%04x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.Bytes()
}
