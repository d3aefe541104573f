// Package transcript reads the transcripts of FTP dialogues that lie in ftp/testdata, and plays both ends of them to a
// driver of the state machine. It knows what was said and what comes of it, but not why.
package transcript

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A Transcript is a section of a file. Each line is a step, followed by its effects, which are
// indented by four spaces:
//
//	option KEY VALUE   what the session is to know or to do
//	C> text            a line from the client, CRLF added, with Go's escapes
//	C] text            the same without CRLF
//	S> S]              the same from the server
//	C. S.              the client, the server closes
//	WORD TEXT          something that the driver of the session does, such as the answer to an announcement
//
// \*N{text} in a text repeats it N times. Lines that begin with # are remarks.
type Transcript struct {
	Name    string // file and section
	Options []Option
	Steps   []Step
}

// An Option is what a session is to know or to do in one transcript.
type Option struct{ Where, Key, Value string }

// A Step is one thing that happens, and the effects of it.
type Step struct {
	Where string // file:line
	Line  string // as written
	Head  string // its first word
	Text  string // what follows that
	Data  []byte // what one side says
	Want  []string

	before []Step // what is said first
}

// Option returns the last value of an option, or "" if there is none.
func (t Transcript) Option(key string) (value string) {
	for _, o := range t.Options {
		if o.Key == key {
			value = o.Value
		}
	}
	return value
}

// largest is the most that is said in pieces to a driver, in bytes.
const largest = 1 << 10

// Long reports whether somebody says more at once than should be cut into pieces that are sent one by one.
func (t Transcript) Long() bool {
	return slices.ContainsFunc(t.Steps, func(s Step) bool { return len(s.Data) > largest })
}

// Silent reports whether the client goes on after the server has said something that has no effect but to be dropped. Whoever doesn't know
// when that was read can't play it: it might be taken for the answer to what comes next.
func (t Transcript) Silent() bool {
	for i, s := range t.Steps {
		if s.dropped() && i+1 < len(t.Steps) && t.Steps[i+1].Head[0] == 'C' {
			return true
		}
	}
	return false
}

// dropped reports whether the end of what the server says here is nobody's.
func (s Step) dropped() bool {
	return s.Head[0] == 'S' && len(s.Want) > 0 && strings.HasPrefix(s.Want[len(s.Want)-1], "note unsolicited: ")
}

// Load reads all transcripts of a directory.
func Load(directory string) (all []Transcript, err error) {
	files, err := filepath.Glob(filepath.Join(directory, "*.txtar"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("no transcripts in %s: %v", directory, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		some, err := Parse(file, string(text))
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	return all, nil
}

// Parse reads the transcripts of one file.
func Parse(file, text string) (all []Transcript, err error) {
	base := strings.TrimSuffix(filepath.Base(file), ".txtar")
	names := make(map[string]bool)
	for i, line := range strings.Split(text, "\n") {
		where := fmt.Sprintf("%s:%d", file, i+1)
		if name, ok := Section(line); ok {
			if names[name] {
				return nil, fmt.Errorf("%s: there are two sections %q", where, name)
			}
			names[name] = true
			all = append(all, Transcript{Name: base + "/" + name})
			continue
		}
		if len(all) == 0 || strings.TrimSpace(line) == "" || line[0] == '#' {
			continue
		}
		if err := all[len(all)-1].add(where, line); err != nil {
			return nil, fmt.Errorf("%s: %w", where, err)
		}
	}
	return all, nil
}

// add takes one line of the section.
func (t *Transcript) add(where, line string) error {
	if effect, ok := strings.CutPrefix(line, "    "); ok {
		if len(t.Steps) == 0 {
			return fmt.Errorf("an effect of nothing")
		}
		last := &t.Steps[len(t.Steps)-1]
		last.Want = append(last.Want, effect)
		return nil
	}
	head, text, _ := strings.Cut(line, " ")
	if head == "option" {
		key, value, _ := strings.Cut(text, " ")
		t.Options = append(t.Options, Option{Where: where, Key: key, Value: value})
		return nil
	}
	s := Step{Where: where, Line: line, Head: head, Text: text}
	switch head {
	case "C>", "C]", "S>", "S]":
		var err error
		if s.Data, err = Unescape(text); err != nil {
			return err
		}
		if head[1] == '>' {
			s.Data = append(s.Data, "\r\n"...)
		}
	}
	t.Steps = append(t.Steps, s)
	return nil
}

// Section reads the head of a section.
func Section(line string) (name string, ok bool) {
	name, ok = strings.CutPrefix(line, "-- ")
	name, ok2 := strings.CutSuffix(name, " --")
	return name, ok && ok2
}

// Unescape reads Go's escapes, and the one of ours that repeats.
func Unescape(text string) ([]byte, error) {
	if before, after, ok := strings.Cut(text, `\*`); ok {
		count, rest, _ := strings.Cut(after, "{")
		unit, rest, _ := strings.Cut(rest, "}")
		n, err := strconv.Atoi(count)
		if err != nil {
			return nil, err
		}
		unit, err = strconv.Unquote(`"` + unit + `"`)
		if err != nil {
			return nil, err
		}
		head, err := Unescape(before)
		if err != nil {
			return nil, err
		}
		tail, err := Unescape(rest)
		if err != nil {
			return nil, err
		}
		return append(append(head, strings.Repeat(unit, n)...), tail...), nil
	}
	s, err := strconv.Unquote(`"` + strings.ReplaceAll(text, `"`, `\"`) + `"`)
	return []byte(s), err
}

// Lines writes what goes to a side as the effects have it, a line each. One that is very long is cut, one that has no
// CRLF says so, and many of the same are one.
func Lines(side string, p []byte) (folded []string) {
	all := lines(side, p)
	for i := 0; i < len(all); {
		n := 1
		for i+n < len(all) && all[i+n] == all[i] {
			n++
		}
		if n < many {
			folded = append(folded, all[i])
			i++
			continue
		}
		folded = append(folded, fmt.Sprintf("%s (%d times)", all[i], n))
		i += n
	}
	return folded
}

// many of the same line are written as one.
const many = 8

var folding = regexp.MustCompile(`^(.*) \((\d+) times\)$`)

// Unfold undoes what Lines does to many of the same line.
func Unfold(line string) (all []string) {
	if m := folding.FindStringSubmatch(line); m != nil {
		if n, err := strconv.Atoi(m[2]); err == nil {
			return slices.Repeat(m[1:2], n)
		}
	}
	return []string{line}
}

func lines(side string, p []byte) (all []string) {
	for line := range strings.SplitAfterSeq(string(p), "\r\n") {
		if line == "" {
			continue
		}
		text, ok := strings.CutSuffix(line, "\r\n")
		text = strconv.Quote(text)
		text = strings.ReplaceAll(text[1:len(text)-1], `\"`, `"`)
		if len(text) > 300 {
			text = fmt.Sprintf("%s… (%d)", text[:60], len(text))
		}
		if !ok {
			text += " (no CRLF)"
		}
		all = append(all, side+": "+text)
	}
	return all
}
