package main

import (
	"fmt"
	"html"
	"strings"
)

// chart is a picture of some rows, one above the other.
type chart struct {
	file string
	rows []string // their ids
}

// charts are those of docs/performance.
func charts() []chart {
	return []chart{
		{"bulk", []string{"download", "upload", "streams", "file"}},
		{"cpu", []string{"download-cpu-client", "download-cpu-server", "upload-cpu-client", "upload-cpu-server"}},
		{"far", []string{"file-50ms", "download-50ms", "upload-50ms", "download-200ms"}},
		{"small", []string{"trips-curl", "trips", "files", "files-socks"}},
		{"opens", []string{"opens", "opens16", "logins", "logins-cpu"}},
		{"ping", []string{"ping-p50", "ping-p99"}},
		{"memory", []string{
			"idle-connection-server", "idle-channel-client", "idle-channel-server", "used-channel-client", "used-channel-server", "stalled-stream-client", "stalled-stream-server",
		}},
	}
}

// The measures of a chart, in pixels.
const (
	chartWidth = 760
	labelWidth = 190
	valueWidth = 90 // to the right of the longest bar
	barHeight  = 14
	barStep    = 20
	headHeight = 34
	margin     = 12
)

// style makes a chart readable on white and on black: the colours of text follow what the reader prefers, and differ enough from the
// other ground as well, should that be asked for by other means.
const style = `text{font:12px system-ui,sans-serif;fill:#59636e}.head{font-weight:600;font-size:13px}.ours{font-weight:600}` +
	`.bar{fill:#8c959f}.bar.ours{fill:#2f81f7}.bar.none{fill:#bf8700}.spread{stroke:#59636e;stroke-width:1.5}` +
	`@media(prefers-color-scheme:dark){text{fill:#9198a1}.spread{stroke:#d1d7e0}}`

// svg draws those of its rows that were measured. It is empty if none was.
func (c chart) svg(r report) string {
	var body strings.Builder
	y := margin
	for _, id := range c.rows {
		if row, ok := r.result(id); ok && len(row.Cells) > 0 {
			y = row.panel(&body, y)
		}
	}
	if body.Len() == 0 {
		return ""
	}
	return fmt.Sprintf("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" role=\"img\">\n<style>%s</style>\n%s</svg>\n", chartWidth, y, style, body.String())
}

// panel draws a bar for each contender of a row, with the spread across its end, and returns where the next panel begins.
func (r result) panel(to *strings.Builder, y int) int {
	head := fmt.Sprintf("%s, %s", r.Name, r.Unit)
	if r.LessBetter {
		head += " (less is better)"
	}
	fmt.Fprintf(to, "<text class=\"head\" x=\"%d\" y=\"%d\">%s</text>\n", margin, y+13, html.EscapeString(head))
	y += headHeight - barStep/2
	longest := 0.0
	for _, c := range r.Cells {
		longest = max(longest, c.To)
	}
	scale := 0.0
	if longest > 0 {
		scale = (chartWidth - labelWidth - valueWidth - margin) / longest
	}
	for _, c := range r.Cells {
		class := c.class()
		at := func(v float64) float64 { return labelWidth + scale*v }
		middle := float64(y) + barHeight/2
		fmt.Fprintf(to, "<text class=\"%s\" x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>", class, labelWidth-8, y+barHeight-3, html.EscapeString(c.Contender))
		fmt.Fprintf(to, "<rect class=\"bar %s\" x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"%d\" rx=\"2\"/>", class, labelWidth, y, scale*c.Median, barHeight)
		fmt.Fprintf(to, "<path class=\"spread\" d=\"M%.1f %.1fH%.1f\"/>", at(c.From), middle, at(c.To))
		fmt.Fprintf(to, "<text class=\"%s\" x=\"%.1f\" y=\"%d\">%s</text>\n", class, at(c.To)+6, y+barHeight-3, html.EscapeString(c.label()))
		y += barStep
	}
	return y + barStep/2
}

// class is how a contender is drawn.
func (c cell) class() string {
	switch {
	case c.Contender == noTunnel:
		return "none"
	case strings.Contains(c.Contender, "culvert"):
		return "ours"
	}
	return "theirs"
}

// label is what stands behind a bar.
func (c cell) label() string {
	if c.Ratio == 0 || c.Contender == base {
		return figure(c.Median)
	}
	return fmt.Sprintf("%s  × %.2f", figure(c.Median), c.Ratio)
}

// figure writes three digits, or those before the point.
func figure(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
