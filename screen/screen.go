// Package screen keeps a block of lines at the bottom of what a program writes to a terminal, and redraws it in place. It doesn't know
// what is in the lines, and leaves the terminal as it is otherwise: what is above scrolls as ever, and nothing is hidden.
//
// The cursor rests at the beginning of the block. So what a resize does to the lines is of no matter: the block begins where the cursor is,
// wherever that has gone, and all below it is the block's.
package screen

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/term"
)

const (
	toLineStart = "\r"
	clearLine   = "\x1b[K" // to its end
	clearBelow  = "\x1b[J" // and the rest of the line
	wrapOff     = "\x1b[?7l"
	wrapOn      = "\x1b[?7h"
)

// Screen is a terminal with a block of lines. It is an io.Writer for what goes above them. Its methods may be called from several goroutines.
type Screen struct {
	file *os.File

	mu     sync.Mutex
	lines  []string // of the block, as they were drawn
	width  int      // of the terminal by then
	paused int
	closed bool
}

// Open takes a terminal. The caller must call Close or Leave.
func Open(f *os.File) (*Screen, error) {
	switch {
	case !term.IsTerminal(int(f.Fd())):
		return nil, errors.New("it is no terminal")
	case os.Getenv("TERM") == "dumb":
		return nil, errors.New("the terminal moves no cursor (TERM=dumb)")
	}
	if err := prepare(f); err != nil {
		return nil, fmt.Errorf("prepare the terminal: %w", err)
	}
	return &Screen{file: f}, nil
}

// Size returns how many cells a line may have, and how many lines the block: what a line has more is cut, and lines more are left out.
func (s *Screen) Size() (width, lines int) {
	width, height, err := term.GetSize(int(s.file.Fd()))
	if err != nil || width <= 0 || height <= 0 { // a terminal that doesn't say
		width, height = 80, 24
	}
	return max(1, width-1), max(1, height-1) // there are terminals that go to the next line behind the last cell
}

// Draw puts lines in place of those of the block. They must not hold anything that a terminal obeys but colours.
func (s *Screen) Draw(lines []string) {
	width, most := s.Size()
	lines = lines[:min(len(lines), most)]
	s.mu.Lock()
	defer s.mu.Unlock()
	same := width == s.width && slices.Equal(lines, s.lines)
	if s.closed || s.paused > 0 || same || !foreground(s.file) {
		return
	}
	s.width = width
	s.say(s.redraw(lines))
}

// redraw draws lines in place of those of the block, from its beginning and back to it. A line that goes is cleared by itself: there are terminals that
// keep what is cleared as a whole.
func (s *Screen) redraw(lines []string) string {
	var b strings.Builder
	b.WriteString(wrapOff)
	_, most := s.Size()
	n := min(max(len(lines), len(s.lines)), most+1) // more would scroll
	for i := range n {
		if i > 0 {
			b.WriteString("\n")
		}
		b.WriteString(toLineStart)
		if i < len(lines) {
			b.WriteString(lines[i])
		}
		b.WriteString(clearLine)
	}
	b.WriteString(clearBelow + wrapOn + toLineStart)
	if n > 1 {
		fmt.Fprintf(&b, "\x1b[%dA", n-1)
	}
	s.lines = slices.Clone(lines)
	return b.String()
}

// say writes all at once, so that nobody sees half of it. There is nowhere to tell of a terminal that is gone.
func (s *Screen) say(text string) { _, _ = s.file.WriteString(text) }

// Write writes whole lines above the block.
func (s *Screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.lines) == 0 || !foreground(s.file) { // where the block was, another program writes by now
		s.lines = nil
		return s.file.Write(p)
	}
	block := s.lines
	text := s.redraw(nil) + string(p)
	if !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	if _, err := s.file.WriteString(text + s.redraw(block)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Pause takes the block away until resume is called, and with it, Draw draws it again: for who speaks with a person on the terminal.
func (s *Screen) Pause() (resume func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.paused++
	s.erase()
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.paused--
	})
}

// erase takes the block away.
func (s *Screen) erase() {
	if len(s.lines) > 0 {
		s.say(s.redraw(nil))
	}
}

// Close takes the block away for good.
func (s *Screen) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase()
	s.closed = true
}

// Leave ends the drawing, and leaves the block where it is, with the cursor below.
func (s *Screen) Leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.lines) > 0 {
		s.say(strings.Repeat("\n", len(s.lines)) + toLineStart)
		s.lines = nil
	}
	s.closed = true
}
