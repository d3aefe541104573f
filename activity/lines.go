package activity

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"
)

// Lines shows all of a snapshot: the links, their tunnels, the connections through these, and what is transferred.
func (s Snapshot) Lines(st Style) (lines []string) {
	shown := make(map[string]bool)
	for _, l := range s.Links {
		shown[l.Name] = true
		lines = append(lines, s.link(l, st))
		lines = append(lines, s.tunnels(l.Name, "  ", st)...)
	}
	for _, t := range s.Tunnels { // of a link that nobody has told of
		if !shown[t.Link] {
			shown[t.Link] = true
			lines = append(lines, s.tunnels(t.Link, "", st)...)
		}
	}
	return lines
}

// Progress shows what is on its way alone, one line each; none if there is nothing.
func (s Snapshot) Progress(st Style) (lines []string) {
	for _, t := range s.Tunnels {
		for _, c := range t.Connections {
			for _, x := range c.Transfers {
				lines = append(lines, st.transfer("", x))
			}
			if !c.FTP && c.Rate > 0 {
				lines = append(lines, st.flow(c, target(t, c)))
			}
		}
	}
	return lines
}

// Clip leaves so many lines of those, the last of which says how many more there are.
func (st Style) Clip(lines []string, most int) []string {
	if most <= 0 || len(lines) <= most {
		return lines[:min(len(lines), max(0, most))]
	}
	row := line{style: st}
	row.add(fmt.Sprintf("and %d more", len(lines)-most+1), colorFaint)
	return append(slices.Clone(lines[:most-1]), row.String())
}

// Transfers are all that are on their way.
func (s Snapshot) Transfers() iter.Seq[Transfer] {
	return func(yield func(Transfer) bool) {
		for _, t := range s.Tunnels {
			for _, c := range t.Connections {
				for _, x := range c.Transfers {
					if !yield(x) {
						return
					}
				}
			}
		}
	}
}

func target(t Tunnel, c Connection) string {
	if c.Target != "" {
		return c.Target
	}
	return t.Target
}

func (s Snapshot) link(l Link, st Style) string {
	row := line{style: st}
	row.add(st.clean(l.Name), "")
	row.add("  "+st.clean(l.Bastion)+"  ", colorFaint)
	state, color := st.clean(string(l.State)), ""
	switch l.State {
	case Connected:
		color = colorDown
	case Broken:
		color = colorWrong
	}
	if !l.Since.IsZero() {
		state += " for " + clock(s.At.Sub(l.Since))
	}
	row.add(state, color)
	if l.Sides > 0 {
		row.add(", "+count(int64(l.Sides), "side connection", "side connections"), "")
	}
	if !l.Retry.IsZero() {
		row.add(", next try in "+clock(max(0, l.Retry.Sub(s.At))), "")
	}
	if l.Cause != "" {
		row.add(": ", "")
		row.add(st.clean(l.Cause), color)
	}
	return row.String()
}

func (s Snapshot) tunnels(link, indent string, st Style) (lines []string) {
	for _, t := range s.Tunnels {
		if t.Link != link {
			continue
		}
		lines = append(lines, s.tunnel(t, indent, st))
		for _, c := range t.Connections {
			lines = append(lines, s.connection(t, c, indent+"  ", st))
			for _, x := range c.Transfers {
				lines = append(lines, st.transfer(indent+"    ", x))
			}
		}
	}
	return lines
}

func (s Snapshot) tunnel(t Tunnel, indent string, st Style) string {
	row := line{style: st}
	row.add(indent, "")
	what := t.Target
	switch {
	case t.Target == "" && (t.Kind == Dynamic || t.Kind == Remote):
		what = "SOCKS"
	case t.Kind == Proxy:
		what = "FTP proxy"
	case t.Kind == Redirect:
		what = "redirected FTP"
	case t.FTP:
		what = "FTP to " + what
	}
	row.add(st.clean(what), "")
	where := " at " + t.Listen
	if t.Kind == Remote {
		where += " of the bastion"
	}
	row.add(st.clean(where), "")
	if t.Served > 0 {
		row.add(fmt.Sprintf(", %s now, %d so far", count(int64(len(t.Connections)), "connection", "connections"), t.Served), colorFaint)
	}
	if t.Up+t.Down > 0 {
		row.add(", "+st.both(t.Up, t.Down), colorFaint)
	}
	return row.String()
}

// both writes what has gone both ways.
func (st Style) both(up, down int64) string {
	return st.arrow(Download) + " " + amount(down) + " " + st.arrow(Upload) + " " + amount(up)
}

func (s Snapshot) connection(t Tunnel, c Connection, indent string, st Style) string {
	row := line{style: st}
	row.add(indent, "")
	if c.User != "" {
		row.add(st.clean(c.User)+" ", "")
	}
	if c.From != "" {
		row.add("from "+st.clean(c.From), "")
	} else {
		row.add("from this machine", "") // by a Unix socket
	}
	if t.Target == "" && c.Target != "" {
		row.add(" to "+st.clean(c.Target), "")
	}
	row.add(", "+clock(s.At.Sub(c.Since)), colorFaint)
	if c.Up+c.Down > 0 {
		row.add(", "+st.both(c.Up, c.Down), colorFaint)
	}
	if !c.FTP && c.Rate > 0 {
		row.add("  "+st.spark(c.Rates, sparkCells)+" "+rate(c.Rate), "")
	}
	return row.String()
}

// sparkCells is how wide a spark line is.
const sparkCells = 10

// bothWays stands where Directions have their arrows.
const bothWays Direction = "both"

func (st Style) arrow(d Direction) string {
	ascii, unicode := "v", "↓"
	switch d {
	case Upload:
		ascii, unicode = "^", "↑"
	case Listing:
		ascii, unicode = "=", "≡"
	case bothWays:
		ascii, unicode = "x", "⇅"
	}
	if st.Unicode {
		return unicode
	}
	return ascii
}

// transfer writes numbers first, in columns, and the name last: whatever is in a name, it has nothing behind it to push away.
//
//	↓  36% ▂▃▅▆▇▇████ 51.2 MB/s  512 MB of 1.40 GB     0:17 left  pub/big.iso
func (st Style) transfer(indent string, x Transfer) string {
	color := colorDown
	if x.Direction == Upload {
		color = colorUp
	}
	row := line{style: st}
	row.add(indent+st.arrow(x.Direction)+" ", color)
	share, left, of := "", "", amount(x.Offset+x.Bytes)
	if part, known := x.Share(); known {
		share = fmt.Sprintf("%d%%", int(part*100))
		of += " of " + amount(x.Size)
	}
	if rest, known := x.Left(); known {
		left = clock(rest) + " left"
	}
	row.add(fmt.Sprintf("%4s ", share), "")
	room := st.room(row.cells)
	if room >= 60 {
		row.add(st.spark(x.Rates, sparkCells)+" ", color)
	}
	row.add(fmt.Sprintf("%9s  ", rate(x.Rate)), "")
	if room >= 40 {
		row.add(fmt.Sprintf("%17s  ", of), "")
	}
	if room >= 72 {
		row.add(fmt.Sprintf("%12s  ", left), "")
	}
	row.name(x.title())
	return row.String()
}

// room is what is left of a line for what may be left out.
func (st Style) room(used int) int {
	if st.Width <= 0 {
		return 1000
	}
	return st.Width - used
}

// flow is transfer for a connection that isn't FTP's.
func (st Style) flow(c Connection, target string) string {
	row := line{style: st}
	row.add(st.arrow(bothWays)+"      ", "")
	room := st.room(row.cells)
	if room >= 60 {
		row.add(st.spark(c.Rates, sparkCells)+" ", "")
	}
	row.add(fmt.Sprintf("%9s  ", rate(c.Rate)), "")
	if room >= 40 {
		row.add(st.both(c.Up, c.Down)+"  ", "")
	}
	row.name(target)
	return row.String()
}

// title is what a transfer is called.
func (t Transfer) title() string {
	switch {
	case t.Direction == Listing && t.File == "":
		return "(the directory)"
	case t.Direction == Listing:
		return "(the directory) " + t.File
	case t.File == "":
		return "(a new file)" // STOU, before the server has named it
	}
	return t.File
}

// Line says how far a transfer is, for who reads lines one after the other.
func (t Transfer) Line(st Style) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s, ", st.clean(t.title()), st.clean(string(t.Direction)))
	if share, known := t.Share(); known {
		fmt.Fprintf(&b, "%d%% of %s", int(share*100), amount(t.Size))
	} else {
		b.WriteString(amount(t.Offset + t.Bytes))
	}
	b.WriteString(", " + rate(t.Rate))
	if left, known := t.Left(); known {
		b.WriteString(", " + clock(left) + " left")
	}
	return b.String()
}

// Line says how it has ended.
func (e Ended) Line(st Style) string {
	took := e.At.Sub(e.Since)
	said := fmt.Sprintf("%s: %s %s, %s", st.clean(e.title()), st.clean(string(e.Direction)), st.clean(string(e.Outcome)), amount(e.Bytes))
	if e.Outcome == Done {
		if took >= time.Second {
			said += fmt.Sprintf(" in %s, %s", clock(took), rate(e.Rate))
		}
		return said
	}
	if share, known := e.Share(); known {
		said += fmt.Sprintf(", %d%% of %s", int(share*100), amount(e.Size))
	}
	if e.Cause != "" {
		said += ": " + st.clean(e.Cause)
	}
	return said
}
