package config

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/culvert-ssh/culvert/policy"
)

func readDocument(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestExampleStartsAsItStands(t *testing.T) {
	l, err := Load("../sshd_config.example", nil)
	if err != nil || slices.ContainsFunc(l.Warnings, func(w Warning) bool { return !w.Stock }) {
		t.Fatalf("got %v, warnings %v", err, l.Warnings)
	}
	c := l.Config
	if words := c.Policy().Permitted(policy.Subject{User: "alice"}, time.Time{}); len(words) > 0 {
		t.Errorf("it permits %q, want nothing", words)
	}
	if s := c.Global(); len(s.HostKeys) == 0 || len(s.DenyOpen) == 0 {
		t.Errorf("it has the host keys %q and denies %q, want some of both", s.HostKeys, s.DenyOpen)
	}
}

// In the example, #Keyword is a default, and # and a tab are before an example.
func TestExampleShowsDefaultsAndExamples(t *testing.T) {
	const base = "HostKey /key\n"
	text := readDocument(t, "../sshd_config.example")
	defaults := regexp.MustCompile(`(?m)^#([A-Z].*)$`).FindAllStringSubmatch(text, -1)
	var lines []string
	for _, m := range defaults {
		lines = append(lines, m[1])
	}
	got := mustParse(t, base+strings.Join(lines, "\n")).Global()
	if diff := cmp.Diff(mustParse(t, base).Global(), got, compareWords); diff != "" || len(lines) == 0 {
		t.Errorf("the defaults want -, the example has +:\n%s", diff)
	}
	examples := regexp.MustCompile(`(?m)^#\t(.*)$`).FindAllStringSubmatch(text, -1)
	lines = nil
	for _, m := range examples {
		mustParse(t, base+m[1])
		lines = append(lines, m[1])
	}
	mustParse(t, base+strings.Join(lines, "\n"))
	if len(lines) == 0 {
		t.Error("there are no examples")
	}
}

func TestEveryKeywordIsDocumented(t *testing.T) {
	page := readDocument(t, "../man/culvertd_config.5")
	example := readDocument(t, "../sshd_config.example")
	for _, k := range keywords {
		_, entry, found := strings.Cut(page, "\n.It Cm "+k.name+"\n")
		entry, _, _ = strings.Cut(entry, "\n.It ")
		if !found {
			t.Errorf("man page: no entry for %s", k.name)
		}
		if k.standard != nil && !strings.Contains(entry, "default") {
			t.Errorf("man page: %s has a default, and the entry doesn't name it", k.name)
		}
		for _, value := range k.standard {
			if !strings.Contains(strings.ReplaceAll(entry, ",\n", ","), value) {
				t.Errorf("man page: the entry of %s doesn't show its default %s", k.name, value)
			}
		}
		if outside := strings.Contains(entry, "\nIt stands outside of Match only.\n"); outside != (k.where != anywhere) {
			t.Errorf("man page: the entry of %s says that it stands outside of Match only: %v", k.name, outside)
		}
		if !regexp.MustCompile(`(?m)^(#\t?)?` + k.name + " ").MatchString(example) {
			t.Errorf("example: no line for %s", k.name)
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^\.It Cm (\S+)$`).FindAllStringSubmatch(page, -1) {
		if findKeyword(m[1]) == nil && m[1] != matchName && m[1] != includeName {
			t.Errorf("man page: %s is no keyword", m[1])
		}
	}
}
