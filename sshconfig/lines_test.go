package sshconfig

import (
	"slices"
	"strings"
	"testing"
)

func TestLinesAreSplitAsSSHSplitsThem(t *testing.T) {
	for _, test := range []struct {
		line, keyword string
		words         []string
	}{
		{"", "", nil},
		{"  \t\r\n", "", nil},
		{"# Port 22", "", nil},
		{"Port 22", "Port", []string{"22"}},
		{"\tPort\t=\t22\r\n", "Port", []string{"22"}},
		{"Port=22 # the usual one", "Port", []string{"22"}},
		{"Port==22", "Port", []string{"=22"}},
		{`"Port" 22`, "Port", []string{"22"}},
		{"Port", "Port", nil},
		{"Port #22", "Port", nil},
		{`IdentityFile "a b"`, "IdentityFile", []string{"a b"}},
		{`IdentityFile 'a "b"'c\ d\e`, "IdentityFile", []string{`a "b"c d\e`}},
		{`IdentityFile ""`, "IdentityFile", []string{""}},
		{"Host a#b c", "Host", []string{"a#b", "c"}},
		{`ProxyCommand = sh -c "a # b"`, "ProxyCommand", []string{`sh -c "a # b"`}},
		{`proxycommand nc %h %p # x`, "proxycommand", []string{"nc %h %p # x"}},
	} {
		keyword, words, err := Split(test.line)
		if err != nil || keyword != test.keyword || !slices.Equal(words, test.words) {
			t.Errorf("%q: got %q %q, %v; want %q %q", test.line, keyword, words, err, test.keyword, test.words)
		}
	}
	for line, want := range map[string]string{
		`IdentityFile "a`:             "IdentityFile: a quote isn't closed",
		`ProxyCommand sh -c 'a`:       "a quote isn't closed",
		"Port 2\x002":                 "the control character '\\x00'",
		"= Port":                      "stands where a keyword should",
		`Port"22"`:                    "stands where a keyword should",
		`"Port`:                       "stands where a keyword should",
		strings.Repeat("x", 70<<10):   "the line is over 65536 bytes",
		"IdentityFile a\x1b[2Jb\x7fc": "the control character '\\x1b'",
	} {
		if keyword, words, err := Split(line); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %q %q, %v; want an error with %q", line, keyword, words, err, want)
		}
	}
}

// FuzzSplit holds that the words of a line, quoted, are the same words.
func FuzzSplit(f *testing.F) {
	for _, seed := range []string{`Host "a b"`, `a=b\ c 'd"' # e`, "x = \"\\\\\" '\\''", "K\t==", "\f", `"`, "é \xff", "proxycommand \" = #\""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		keyword, words, err := Split(text)
		if err != nil || keyword == "" {
			return
		}
		if slices.Contains(commands, strings.ToLower(keyword)) {
			if len(words) > 1 || len(words) == 1 && !strings.HasSuffix(strings.TrimRight(text, " \t\r\n\f"), words[0]) {
				t.Fatalf("%q has the words %q", text, words)
			}
			return
		}
		again, err := Words(Join(words))
		if err != nil || !slices.Equal(again, words) {
			t.Fatalf("%q has the words %q; joined as %q they are %q, %v", text, words, Join(words), again, err)
		}
		name, again, err := Split("Keyword " + Join(words))
		if err != nil || name != "Keyword" || !slices.Equal(again, words) {
			t.Fatalf("%q has the words %q; as the value of a keyword they are %q, %v", text, words, again, err)
		}
	})
}

func TestPatterns(t *testing.T) {
	for _, test := range []struct {
		list, s string
		want    bool
	}{
		{"*", "", true},
		{"a", "A", false},
		{"web?.corp", "web1.corp", true},
		{"web?.corp", "web.corp", false},
		{"*.corp,!web1.corp", "web1.corp", false},
		{"!web1.corp,*.corp", "web1.corp", false},
		{"!web1.corp", "web2.corp", false},
		{"!web1.corp,*", "web2.corp", true},
		{"a,,b", "b", true},
		{"**a**", "bab", true},
		{"", "", true},
	} {
		if got := MatchList(test.list, test.s); got != test.want {
			t.Errorf("%q matches %q: got %v, want %v", test.list, test.s, got, test.want)
		}
	}
	long := strings.Repeat("a", 5000)
	if Match(strings.Repeat("a*", 2000)+"b", long) {
		t.Error("a pattern that ends in b matches what has none")
	}
}
