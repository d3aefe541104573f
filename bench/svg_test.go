package main

import (
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestChartIsWellFormedAndStaysWithinItsFrame draws names with letters that XML has other uses for.
func TestChartIsWellFormedAndStaysWithinItsFrame(t *testing.T) {
	t.Parallel()
	svg := charts()[0].svg(some("machine"))
	var bars []float64
	var texts []string
	height := 0.0
	for d := xml.NewDecoder(strings.NewReader(svg)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, svg)
		}
		switch token := token.(type) {
		case xml.StartElement:
			switch token.Name.Local {
			case "svg":
				height = number(t, strings.Fields(attribute(token, "viewBox"))[3])
			case "rect":
				x, width := number(t, attribute(token, "x")), number(t, attribute(token, "width"))
				if y := number(t, attribute(token, "y")); x+width > chartWidth || y+barHeight > height {
					t.Errorf("a bar ends at %v, %v; the frame is %d × %v", x+width, y+barHeight, chartWidth, height)
				}
				bars = append(bars, width)
			}
		case xml.CharData:
			texts = append(texts, string(token))
		}
	}
	if len(bars) != 6 || bars[1] <= bars[0] || bars[2] <= 0 {
		t.Errorf("got bars of %v, want six, the second of each three longer than the first", bars)
	}
	for _, want := range []string{"bulk <download> & more, MB/s", "culvert → culvertd", "220", "410  × 2.00"} {
		if !slices.Contains(texts, want) {
			t.Errorf("the chart lacks the text %q: %q", want, texts)
		}
	}
	if empty := charts()[0].svg(report{}); empty != "" {
		t.Errorf("a chart of nothing is drawn:\n%s", empty)
	}
}

func attribute(e xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

func number(t *testing.T, s string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}
