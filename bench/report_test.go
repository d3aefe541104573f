package main

import (
	"bytes"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// TestCellComparesWithinEachRound has a machine that is slow in the second round: both are, and the ratio stays.
func TestCellComparesWithinEachRound(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		row     row
		v, base []float64
		want    cell
	}{
		{"more is better", row{}, []float64{300, 60, 210}, []float64{200, 40, 100}, cell{"x", 210, 60, 300, 1.5, 1.5, 2.1}},
		{"less is better", row{LessBetter: true}, []float64{1, 4}, []float64{2, 2}, cell{"x", 2.5, 1, 4, 1.25, 0.5, 2}},
		{"the base took no part", row{}, []float64{1, 2, 3}, nil, cell{"x", 2, 1, 3, 0, 0, 0}},
		{"too small to be measured", row{LessBetter: true}, []float64{0}, []float64{2}, cell{"x", 0, 0, 0, 0, 0, 0}},
	} {
		before := slices.Clone(c.v)
		if got := c.row.cell("x", c.v, c.base); got != c.want {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
		if !slices.Equal(c.v, before) {
			t.Errorf("%s: the values were put in another order, so that they are of other rounds", c.name)
		}
	}
}

func TestMedianIsInTheMiddle(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 1))
	for range 1000 {
		v := make([]float64, 1+r.IntN(9))
		for i := range v {
			v[i] = r.Float64()
		}
		middle, from, to := spread(v)
		below, above := 0, 0
		for _, x := range v {
			if x < middle {
				below++
			}
			if x > middle {
				above++
			}
			if x < from || x > to {
				t.Fatalf("%v is not between %v and %v", x, from, to)
			}
		}
		if below != above {
			t.Fatalf("%v of %v has %d below and %d above", middle, v, below, above)
		}
	}
}

// TestWorseIsWhatIsBeyondTheNoise compares one contender's ratio with an earlier one.
func TestWorseIsWhatIsBeyondTheNoise(t *testing.T) {
	t.Parallel()
	of := func(contender string, ratio, from, to float64) report {
		return report{Results: []result{{row: row{ID: "r", Name: "work"}, Measurement: "m", Cells: []cell{{Contender: contender, Ratio: ratio, RatioFrom: from, RatioTo: to}}}}}
	}
	then := of(ours, 2, 1.9, 2.2)
	for _, c := range []struct {
		name      string
		then, now report
		want      bool
	}{
		{"the same", then, then, false},
		{"better", then, of(ours, 3, 2.9, 3.1), false},
		{"worse in every round", then, of(ours, 1.5, 1.4, 1.6), true},
		{"one round as good as one then", then, of(ours, 1.5, 1.4, 1.95), false},
		{"in every round, but little", then, of(ours, 1.85, 1.8, 1.89), false},
		{"no longer measured", then, report{}, false},
		{"new", report{}, then, false},
		{"OpenSSH itself", of(baseGCM, 2, 1.9, 2.2), of(baseGCM, 1, 1, 1), false},
		{"without a base", of(ours, 0, 0, 0), of(ours, 0, 0, 0), false},
		{"without a base now", then, of(ours, 0, 0, 0), false},
	} {
		got := c.then.worse(c.now)
		if (len(got) > 0) != c.want {
			t.Errorf("%s: got %q, want a complaint: %v", c.name, lines(got), c.want)
		}
		for _, w := range got {
			if w.measurement != "m" || !strings.Contains(w.text, "work, culvert → culvertd: × 1.50 (1.40 to 1.60), was × 2.00") {
				t.Errorf("%s: got %+v", c.name, w)
			}
		}
	}
}

// TestDocumentKeepsWhatWasNotMeasured measures one row of two again.
func TestDocumentKeepsWhatWasNotMeasured(t *testing.T) {
	t.Parallel()
	docs := t.TempDir()
	text := "above\n" + tablesBegin + "old\n" + tablesEnd + "below\n"
	if err := os.WriteFile(filepath.Join(docs, "performance.md"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	first := some("first")
	if err := document(docs, first); err != nil {
		t.Fatal(err)
	}
	again := some("second")
	again.Results = again.Results[1:]
	again.Results[0].Cells[0].Median = 77
	if err := document(docs, again); err != nil {
		t.Fatal(err)
	}
	got, err := readReport(filepath.Join(docs, ratiosFile))
	if err != nil {
		t.Fatal(err)
	}
	want := report{Machine: "second", Results: []result{first.Results[0], again.Results[0]}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	page, err := os.ReadFile(filepath.Join(docs, "performance.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"above\n", "below\n", "second", "77.0", "performance/bulk.svg"} {
		if !bytes.Contains(page, []byte(part)) {
			t.Errorf("performance.md lacks %q:\n%s", part, page)
		}
	}
	if bytes.Contains(page, []byte("old")) {
		t.Errorf("performance.md has the old tables still:\n%s", page)
	}
	if _, err := withTables("no place for tables", want); err == nil {
		t.Error("a text without a place for tables got some")
	}
}

// some is a report of two rows that are drawn.
func some(machine string) report {
	r := report{Machine: machine}
	for _, id := range []string{"download", "upload"} {
		row := row{ID: id, Name: "bulk <" + id + "> & more", Unit: "MB/s"}
		v := []float64{200, 220, 240}
		r.add(result{row: row, Measurement: id, Cells: []cell{
			row.cell(base, v, v), row.cell(ours, []float64{400, 410, 500}, v), row.cell(noTunnel, []float64{math.Pi}, nil),
		}})
	}
	return r
}

// TestRowsAreWantedByName is about -rows.
func TestRowsAreWantedByName(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		rows string
		id   string
		want bool
	}{
		{"", "download", true},
		{"download", "download", true},
		{"upload,download", "download", true},
		{"upload", "download", false},
		{"down", "download", false},
		{"down*", "download", true},
		{"up*", "download", false},
	} {
		var o options
		if c.rows != "" {
			o.rows = strings.Split(c.rows, ",")
		}
		if got := o.wants(c.id); got != c.want {
			t.Errorf("-rows %q and %q: got %v", c.rows, c.id, got)
		}
	}
}

// TestContendersAreWantedByName is about -contenders: what all are compared with takes part always, and nobody who can't.
func TestContendersAreWantedByName(t *testing.T) {
	t.Parallel()
	all := []*contender{{name: base}, {name: baseGCM}, {name: ours}, {name: noTunnel}}
	m := measurement{who: tunnels}
	for _, c := range []struct {
		only []string
		want []string
	}{
		{nil, []string{base, baseGCM, ours}},
		{[]string{ours}, []string{base, ours}},
		{[]string{ours, noTunnel}, []string{base, ours}},
	} {
		var got []string
		for _, k := range m.among(all, options{only: c.only}) {
			got = append(got, k.name)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("-contenders %q: got %q, want %q", c.only, got, c.want)
		}
	}
}

// TestEveryRowHasANameOfItsOwnAndAPlaceInAChart is about the tables of measurements and charts.
func TestEveryRowHasANameOfItsOwnAndAPlaceInAChart(t *testing.T) {
	t.Parallel()
	seen := map[string]int{}
	for _, m := range measurements(options{}) {
		for _, r := range m.rows {
			seen[r.ID]++
		}
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("%d rows are called %s", n, id)
		}
	}
	for _, c := range charts() {
		for _, id := range c.rows {
			if seen[id] == 0 {
				t.Errorf("the chart %s has a row %s, which is nowhere measured, or drawn already", c.file, id)
			}
			delete(seen, id)
		}
	}
	for id := range seen {
		t.Errorf("no chart has the row %s", id)
	}
}

// TestDocumentsShowWhatIsCommitted draws the plots and tables from the committed figures again.
func TestDocumentsShowWhatIsCommitted(t *testing.T) {
	t.Parallel()
	const docs = "../docs"
	r, err := readReport(filepath.Join(docs, ratiosFile))
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(docs, "performance.md"))
	if err != nil {
		t.Fatal(err)
	}
	if want, err := withTables(string(page), r); err != nil || want != string(page) {
		t.Errorf("the tables of performance.md are not those of %s (%v): go run ./bench -render", ratiosFile, err)
	}
	for _, c := range charts() {
		got, err := os.ReadFile(filepath.Join(docs, "performance", c.file+".svg"))
		if want := c.svg(r); err != nil && want != "" || string(got) != want {
			t.Errorf("%s.svg does not show %s (%v): go run ./bench -render", c.file, ratiosFile, err)
		}
	}
}
