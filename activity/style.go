package activity

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/width"
)

// Style is what lines are made for. The zero Style is for a pipe: no line is cut, and all of them are ASCII.
type Style struct {
	Width   int  // no line has more cells; 0 for as many as it takes
	Unicode bool // who reads it can show more than ASCII
	Color   bool // and colours
}

// The colours of what is worth finding at a glance.
const (
	colorDown  = "\x1b[32m"
	colorUp    = "\x1b[36m"
	colorWrong = "\x1b[31m"
	colorFaint = "\x1b[2m"
	colorEnd   = "\x1b[0m"
)

// maxMarks is how many marks stay on one letter. Some names pile up so many that they cover the lines above.
const maxMarks = 2

// clean makes text of a peer fit to be seen: nothing in it moves the cursor, turns the direction of writing round, or is invisible.
func (st Style) clean(text string) string {
	if !st.Unicode {
		q := strconv.QuoteToASCII(text)
		return strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(q[1 : len(q)-1])
	}
	marks := 0
	return strings.Map(func(r rune) rune {
		switch {
		case !unicode.IsPrint(r):
			marks = 0
			return '?'
		case !unicode.In(r, unicode.Mn, unicode.Me):
			marks = 0
		default:
			if marks++; marks > maxMarks {
				return -1
			}
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
}

// cells is how much room a character takes.
func cells(r rune) int {
	if unicode.In(r, unicode.Mn, unicode.Me) {
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

func cellsOf(text string) (n int) {
	for _, r := range text {
		n += cells(r)
	}
	return n
}

// fit cuts text, which clean has made, to so many cells. What is left is its end, as that is where the name of a file is.
func (st Style) fit(text string, room int) string {
	if cellsOf(text) <= room {
		return text
	}
	mark := "..."
	if st.Unicode {
		mark = "…"
	}
	room -= cellsOf(mark)
	if room <= 0 {
		return strings.Repeat(".", max(0, room+cellsOf(mark)))
	}
	from := len(text)
	for {
		r, size := utf8.DecodeLastRuneInString(text[:from])
		if room -= cells(r); room < 0 {
			break
		}
		from -= size
	}
	// A mark whose letter is cut off would land on ours.
	return mark + strings.TrimLeftFunc(text[from:], func(r rune) bool { return cells(r) == 0 })
}

// A line is one being written.
type line struct {
	style Style
	text  strings.Builder
	cells int
}

// add writes text as it is, in a colour if that isn't empty.
func (l *line) add(text, color string) {
	if room := l.style.Width - l.cells; l.style.Width > 0 && cellsOf(text) > room {
		text = cutEnd(text, room)
	}
	l.cells += cellsOf(text)
	if color != "" && l.style.Color && text != "" {
		text = color + text + colorEnd
	}
	l.text.WriteString(text)
}

// name writes text of a peer in the room that is left.
func (l *line) name(text string) {
	text = l.style.clean(text)
	if l.style.Width > 0 {
		text = l.style.fit(text, l.style.Width-l.cells)
	}
	l.add(text, "")
}

// cutEnd keeps the beginning of text.
func cutEnd(text string, room int) string {
	for i, r := range text {
		if room -= cells(r); room < 0 {
			return text[:i]
		}
	}
	return text
}

func (l *line) String() string { return strings.TrimRight(l.text.String(), " ") }

// spark draws rates, the newest at the right, so many cells wide. Nothing is a blank, and the highest of them the highest bar.
func (st Style) spark(rates []int64, room int) string {
	bars := []rune(" .:-=+*#@")
	if st.Unicode {
		bars = []rune(" ▁▂▃▄▅▆▇█")
	}
	rates = rates[max(0, len(rates)-room):]
	most := int64(1)
	for _, r := range rates {
		most = max(most, r)
	}
	drawn := make([]rune, 0, room)
	for range room - len(rates) {
		drawn = append(drawn, ' ')
	}
	for _, r := range rates {
		height := 0
		if r > 0 {
			height = 1 + int(float64(r)/float64(most)*float64(len(bars)-2))
		}
		drawn = append(drawn, bars[min(height, len(bars)-1)])
	}
	return string(drawn)
}
