package main

import (
	"os"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

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
