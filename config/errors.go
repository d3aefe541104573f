package config

import (
	"fmt"
	"strings"
)

// Position is where something stands: a file and a line, counted from 1. Line 0 is the file as a
// whole.
type Position struct {
	File string
	Line int
}

func (p Position) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d", p.File, p.Line)
}

// Error is one thing that is wrong with a configuration.
type Error struct {
	At      Position
	Keyword string // as in the table, or as written if it isn't there; empty if none was read
	Err     error
}

func (e *Error) Error() string { return prefix(e.At, e.Keyword) + e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errors are all things that are wrong with a configuration, in the order of the file, a line
// each. There is at least one.
type Errors []*Error

func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, one := range e {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns each of them.
func (e Errors) Unwrap() []error {
	all := make([]error, len(e))
	for i, one := range e {
		all[i] = one
	}
	return all
}

// Warning is something that is valid and probably not what was meant.
type Warning struct {
	At      Position
	Keyword string
	Text    string
	Stock   bool // it is about stock sshd alone: nothing is wrong with it here
}

func (w Warning) String() string { return prefix(w.At, w.Keyword) + w.Text }

func prefix(at Position, keyword string) string {
	if keyword == "" {
		return at.String() + ": "
	}
	return at.String() + ": " + keyword + ": "
}
