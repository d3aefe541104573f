package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
)

// report is what was measured, and on what.
type report struct {
	Machine string   `json:"machine"`
	Results []result `json:"results"`
}

// result is what was measured of one row.
type result struct {
	row
	Measurement string `json:"measurement"`
	Cells       []cell `json:"contenders"`
}

// cell is one contender's part in a row.
type cell struct {
	Contender string  `json:"name"`
	Median    float64 `json:"median"`
	From      float64 `json:"from"`
	To        float64 `json:"to"`

	// The ratio to the base of the same round, above 1 where this one is better; 0 if the base took no part.
	Ratio     float64 `json:"ratio,omitempty"`
	RatioFrom float64 `json:"ratio_from,omitempty"`
	RatioTo   float64 `json:"ratio_to,omitempty"`
}

// cell sums up what was measured in some rounds, and what the base had in each of them, if it took part.
func (r row) cell(contender string, v, base []float64) cell {
	c := cell{Contender: contender}
	c.Median, c.From, c.To = spread(v)
	if len(base) == len(v) {
		ratios := make([]float64, len(v))
		for i := range v {
			ratios[i] = r.ratio(v[i], base[i])
		}
		c.Ratio, c.RatioFrom, c.RatioTo = spread(ratios)
	}
	return c
}

// ratio is above 1 where v is better than the base.
func (r row) ratio(v, base float64) float64 {
	if r.LessBetter {
		v, base = base, v
	}
	if base == 0 {
		return 0 // too small to be measured
	}
	return v / base
}

// spread returns the median, the least and the greatest.
func spread(v []float64) (middle, from, to float64) {
	v = slices.Sorted(slices.Values(v))
	return median(v), v[0], v[len(v)-1]
}

// median of sorted values.
func median(v []float64) float64 {
	if len(v)%2 == 1 {
		return v[len(v)/2]
	}
	return (v[len(v)/2-1] + v[len(v)/2]) / 2
}

// add puts a result in the place of an older one of the same row, or at the end.
func (r *report) add(n result) {
	if i := slices.IndexFunc(r.Results, func(o result) bool { return o.ID == n.ID }); i >= 0 {
		r.Results[i] = n
		return
	}
	r.Results = append(r.Results, n)
}

// sort puts the rows into the order in which they are measured; what is no longer measured goes.
func (r *report) sort() {
	var order []string
	for _, m := range measurements(options{}) {
		for _, row := range m.rows {
			order = append(order, row.ID)
		}
	}
	r.Results = slices.DeleteFunc(r.Results, func(o result) bool { return !slices.Contains(order, o.ID) })
	slices.SortStableFunc(r.Results, func(a, b result) int { return cmp.Compare(slices.Index(order, a.ID), slices.Index(order, b.ID)) })
}

// result returns a row, if it was measured.
func (r report) result(id string) (result, bool) {
	i := slices.IndexFunc(r.Results, func(o result) bool { return o.ID == id })
	if i < 0 {
		return result{}, false
	}
	return r.Results[i], true
}

func (r result) cell(contender string) (cell, bool) {
	i := slices.IndexFunc(r.Cells, func(c cell) bool { return c.Contender == contender })
	if i < 0 {
		return cell{}, false
	}
	return r.Cells[i], true
}

// print prints medians, spread, and ratios to the base.
func (r result) print(to io.Writer) {
	out := tabwriter.NewWriter(to, 0, 8, 2, ' ', 0)
	fmt.Fprintf(out, "%s: %s (%s)\tmedian\tfrom\tto\t× %s\tfrom\tto\t\n", r.ID, r.Name, r.Unit, base)
	for _, c := range r.Cells {
		fmt.Fprintf(out, "  %s\t%.4g\t%.4g\t%.4g\t", c.Contender, c.Median, c.From, c.To)
		if c.Ratio > 0 {
			fmt.Fprintf(out, "%.2f\t%.2f\t%.2f\t", c.Ratio, c.RatioFrom, c.RatioTo)
		}
		fmt.Fprintln(out)
	}
	fmt.Fprintln(out)
	_ = out.Flush() // to standard output; whoever closed it wants no more
}

func readReport(path string) (report, error) {
	var r report
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		return r, fmt.Errorf("read what was measured before: %w", err)
	}
	return r, nil
}

// document adds what was measured to the documents in a folder: what was not measured this time stays there as it was.
func document(folder string, measured report) error {
	path := filepath.Join(folder, ratiosFile)
	all, err := readReport(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	all.Machine = measured.Machine
	for _, r := range measured.Results {
		all.add(r)
	}
	all.sort()
	text, err := json.MarshalIndent(all, "", "\t")
	if err == nil {
		err = errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, append(text, '\n'), 0o644))
	}
	if err != nil {
		return fmt.Errorf("write what was measured: %w", err)
	}
	return render(folder)
}

var opensshVersion = regexp.MustCompile(`OpenSSH_[^ ,]+`)

// machine says what was measured on.
func machine(ctx context.Context) string {
	parts := []string{fmt.Sprintf("%d processors (%s/%s)", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH)}
	if text, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		parts = append(parts, "Linux "+strings.TrimSpace(string(text)))
	}
	parts = append(parts, strings.Replace(runtime.Version(), "go", "Go ", 1))
	if out, err := exec.CommandContext(ctx, "ssh", "-V").CombinedOutput(); err == nil {
		parts = append(parts, opensshVersion.FindString(string(out)))
	}
	if text, err := os.ReadFile("/proc/sys/net/ipv4/tcp_congestion_control"); err == nil {
		parts = append(parts, "TCP "+strings.TrimSpace(string(text)))
	}
	return strings.Join(parts, ", ")
}
