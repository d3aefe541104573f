package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The lines of performance.md between which the tables are.
const (
	tablesBegin = "<!-- `make bench` writes from here -->\n"
	tablesEnd   = "<!-- to here -->\n"
)

// render draws the plots, and writes the tables, from the figures that are in a folder of documents.
func render(folder string) error {
	r, err := readReport(filepath.Join(folder, ratiosFile))
	if err != nil {
		return err
	}
	var errs []error
	for _, c := range charts() {
		if svg := c.svg(r); svg != "" {
			errs = append(errs, os.WriteFile(filepath.Join(folder, "performance", c.file+".svg"), []byte(svg), 0o644))
		}
	}
	path := filepath.Join(folder, "performance.md")
	text, err := os.ReadFile(path)
	if err == nil {
		var with string
		if with, err = withTables(string(text), r); err == nil {
			err = os.WriteFile(path, []byte(with), 0o644)
		}
	}
	return errors.Join(append(errs, err)...)
}

// withTables puts the tables into the text of performance.md, in the place of those that are there.
func withTables(text string, r report) (string, error) {
	before, rest, begins := strings.Cut(text, tablesBegin)
	_, after, ends := strings.Cut(rest, tablesEnd)
	if !begins || !ends {
		return "", fmt.Errorf("performance.md has no lines %q and %q for the tables", strings.TrimSpace(tablesBegin), strings.TrimSpace(tablesEnd))
	}
	return before + tablesBegin + "\n" + tables(r) + "\n" + tablesEnd + after, nil
}

// columns are the contenders of the first table; those of the second are other ways into the same programs.
var (
	columns  = []string{base, baseGCM, ours, oursAlone, theirs, noTunnel}
	variants = []string{base, "ssh -D → sshd", "culvert -D → sshd", byMaster}
)

// tables writes what was measured as tables of Markdown, with the plots below.
func tables(r report) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s.\n\n", r.Machine)
	r.table(&b, columns, func(result) bool { return true })
	b.WriteString("\nOther ways into the same programs: SOCKS, and culvert over the connection of an ssh that runs (`-S`).\n\n")
	r.table(&b, variants, func(row result) bool {
		return slices.ContainsFunc(variants[1:], func(name string) bool { _, ok := row.cell(name); return ok })
	})
	b.WriteByte('\n')
	for _, c := range charts() {
		if c.svg(r) != "" {
			fmt.Fprintf(&b, "![%s](performance/%s.svg)\n", strings.Join(c.rows, ", "), c.file)
		}
	}
	return b.String()
}

func (r report) table(to *strings.Builder, columns []string, wanted func(result) bool) {
	fmt.Fprintf(to, "| row | work | %s |\n|%s\n", strings.Join(columns, " | "), strings.Repeat(" --- |", 2+len(columns)))
	for _, row := range r.Results {
		if !wanted(row) {
			continue
		}
		fmt.Fprintf(to, "| %s | %s, %s |", row.ID, row.Name, row.Unit)
		for _, name := range columns {
			c, ok := row.cell(name)
			switch {
			case !ok:
				to.WriteString(" |")
			case c.class() == "ours" && c.Ratio > 1:
				fmt.Fprintf(to, " %s, **× %.2f** |", figure(c.Median), c.Ratio)
			case c.Ratio == 0 || name == base:
				fmt.Fprintf(to, " %s |", figure(c.Median))
			default:
				fmt.Fprintf(to, " %s, × %.2f |", figure(c.Median), c.Ratio)
			}
		}
		to.WriteByte('\n')
	}
}
