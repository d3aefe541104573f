package main

import (
	"os"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// TestHelpFitsAScreen holds --help to 24 lines of 80 columns, and the longer ones to the columns.
func TestHelpFitsAScreen(t *testing.T) {
	text := helpText()
	if n := strings.Count(text, "\n"); n > 24 {
		t.Errorf("got %d lines, want at most 24:\n%s", n, text)
	}
	all := flagsHelp(flagSet(options))
	for _, o := range options {
		if !strings.Contains(all, "-"+o.name) {
			t.Errorf("help flags has no -%s", o.name)
		}
	}
	text += all
	for _, c := range commands() {
		if !strings.Contains(helpText(), " "+c.name) {
			t.Errorf("--help has no %s", c.name)
		}
		text += commandHelp(c)
	}
	for line := range strings.Lines(text) {
		if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > 80 {
			t.Errorf("got a line of %d columns: %s", n, line)
		}
	}
}

// TestManPageHasEveryWord holds culvert(1) against the tables of flags and commands.
func TestManPageHasEveryWord(t *testing.T) {
	text, err := os.ReadFile("../../man/culvert.1")
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	has := func(set *pflag.FlagSet, of string) {
		set.VisitAll(func(f *pflag.Flag) {
			item := ".It Fl " + f.Shorthand
			if f.Shorthand == "" {
				item = ".It Fl Fl " + f.Name
			}
			if !strings.Contains(page, item+"\n") && !strings.Contains(page, item+" ") {
				t.Errorf("culvert(1) has no %q%s", item, of)
			}
		})
	}
	has(flagSet(options), "")
	for _, c := range commands() {
		if item := ".It Cm " + c.name; !strings.Contains(page, item+"\n") && !strings.Contains(page, item+" ") {
			t.Errorf("culvert(1) has no %q", item)
		}
		if c.flags != nil {
			has(c.flags(), " of "+c.name)
		}
	}
}
