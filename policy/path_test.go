package policy

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// paths is a line of words.
func paths(t testing.TB, source, words string) Line[[]PathPattern] {
	t.Helper()
	line := Line[[]PathPattern]{Source: source, Value: []PathPattern{}}
	for _, word := range strings.Fields(words) {
		p, err := ParsePathPattern(word)
		if err != nil {
			t.Fatal(err)
		}
		line.Value = append(line.Value, p)
	}
	return line
}

func TestDecidePath(t *testing.T) {
	deny := []Line[[]PathPattern]{
		paths(t, "f:1", "/secret /home/*/private"),
		paths(t, "f:2", "/**/.ssh /pub/**/k?y.* /étage /strasse /a/**/b/c"),
	}
	allow := paths(t, "f:3", "/pub /home/**/in /Case/x")
	for _, test := range []struct {
		path  string
		allow *Line[[]PathPattern]
		rule  string
		want  string // the reason
	}{
		{"/", nil, "", "no FTPDeny is against it"},
		{"/secret", nil, "f:1", "FTPDeny /secret"},
		{"/secret/a/b", nil, "f:1", "FTPDeny /secret"},
		{"/secrets", nil, "", "no FTPDeny is against it"},
		{"/a/secret", nil, "", "no FTPDeny is against it"},
		{"/home/joe/private", nil, "f:1", "FTPDeny /home/*/private"},
		{"/home/joe/private/x", nil, "f:1", "FTPDeny /home/*/private"},
		{"/home/joe/x/private", nil, "", "no FTPDeny is against it"},
		{"/home/private", nil, "", "no FTPDeny is against it"},
		{"/.ssh", nil, "f:2", "FTPDeny /**/.ssh"},
		{"/x/y/.ssh/id", nil, "f:2", "FTPDeny /**/.ssh"},
		{"/x/y.ssh", nil, "", "no FTPDeny is against it"},
		{"/pub/key.pem", nil, "f:2", "FTPDeny /pub/**/k?y.*"},
		{"/pub/a/b/key.", nil, "f:2", "FTPDeny /pub/**/k?y.*"},
		{"/pub/a/kéy.pem", nil, "f:2", "FTPDeny /pub/**/k?y.*"},
		{"/pub/a/keey.pem", nil, "", "no FTPDeny is against it"},
		{"/a/b/b/c", nil, "f:2", "FTPDeny /a/**/b/c"},
		// names that a server may take for another
		{"/SECRET", nil, "f:1", "FTPDeny /secret"},
		{"/secret. ./x", nil, "f:1", "FTPDeny /secret"},
		{"/secret::$INDEX_ALLOCATION/x", nil, "f:1", "FTPDeny /secret"},
		{"/se\u200dcret", nil, "f:1", "FTPDeny /secret"},
		{"/\u017fecret", nil, "f:1", "FTPDeny /secret"},
		{"/e\u0301tage/x", nil, "f:2", "FTPDeny /étage"},
		{"/E\u0301TAGE", nil, "f:2", "FTPDeny /étage"},
		{"/\uff53ecret", nil, "f:1", "FTPDeny /secret"},
		{"/pub/ke\u0301y.pem", nil, "f:2", "FTPDeny /pub/**/k?y.*"},
		{"/stra\u00dfe", nil, "f:2", "FTPDeny /strasse"},
		{"/STRASSE", nil, "f:2", "FTPDeny /strasse"},
		{"/STRA\u1e9eE", nil, "f:2", "FTPDeny /strasse"},
		{"/ÉTAGE", nil, "f:2", "FTPDeny /étage"},
		// what is allowed, to the byte
		{"/pub", &allow, "f:3", "FTPAllow /pub"},
		{"/pub/x", &allow, "f:3", "FTPAllow /pub"},
		{"/Pub", &allow, "f:3", "not in FTPAllow"},
		{"/pub ", &allow, "f:3", "not in FTPAllow"},
		{"/", &allow, "f:3", "not in FTPAllow"},
		{"/home/joe", &allow, "f:3", "not in FTPAllow"},
		{"/home/in", &allow, "f:3", "FTPAllow /home/**/in"},
		{"/home/joe/in/x", &allow, "f:3", "FTPAllow /home/**/in"},
		{"/pub/key.pem", &allow, "f:2", "FTPDeny /pub/**/k?y.*"},
		{"/case/x", &allow, "f:3", "not in FTPAllow"},
		// no path
		{"", nil, "", "the path isn't known"},
		{"pub", nil, "", "the path isn't known"},
		{"/pub/", nil, "", "the path isn't known"},
		{"/pub/../x", nil, "", "the path isn't known"},
	} {
		f := &FTP{Deny: deny, Allow: test.allow}
		d := f.DecidePath(PathRequest{Path: test.path})
		allowed := strings.HasPrefix(test.want, "FTPAllow") || strings.HasPrefix(test.want, "no ")
		if d.Allowed() != allowed || d.Rule != test.rule || d.Reason != test.want {
			t.Errorf("%q, FTPAllow %v: got %v, %q by %q, want %v, %q by %q",
				test.path, test.allow != nil, d.Allowed(), d.Reason, d.Rule, allowed, test.want, test.rule)
		}
		if e := f.ExplainPath(PathRequest{Path: test.path}); e.Decision.Reason != d.Reason || e.Decision.Rule != d.Rule {
			t.Errorf("%q: explained as %q by %q, want %q by %q", test.path, e.Decision.Reason, e.Decision.Rule, d.Reason, d.Rule)
		}
	}
	if d := (*FTP)(nil).DecidePath(PathRequest{Path: "/"}); d.Allowed() {
		t.Error("no rules at all: got allowed, want denied")
	}
}

func TestDirectoriesOnTheWayMayBeEntered(t *testing.T) {
	allow := paths(t, "f:1", "/a/b/c /x/**/y")
	f := &FTP{Allow: &allow, Deny: []Line[[]PathPattern]{paths(t, "f:2", "/x/no")}}
	for _, test := range []struct {
		path string
		want bool
	}{
		{"/", true},
		{"/a", true},
		{"/a/b", true},
		{"/a/b/c/d", true},
		{"/a/x", false},
		{"/b", false},
		{"/x/1/2", true},
		{"/x/no", false},
		{"/x/no/y", false},
	} {
		if got := f.DecidePath(PathRequest{Path: test.path, Enter: true}).Allowed(); got != test.want {
			t.Errorf("enter %s: got %v, want %v", test.path, got, test.want)
		}
	}
}

func TestRenameTakesNothingOutOfADenial(t *testing.T) {
	f := &FTP{Deny: []Line[[]PathPattern]{paths(t, "f:1", "/home/*/private /**/.ssh /**/a/b")}}
	for _, test := range []struct {
		from, to string
		want     string // the reason of the refusal
	}{
		{"/home/joe/f", "/home/joe/g", ""},
		{"/home/joe", "/home/jim", ""},
		{"/home/joe", "/pub/joe", "FTPDeny /home/*/private, of which it may hold something"},
		{"/pub/joe", "/home/joe", "FTPDeny /home/*/private, of which it may hold something"},
		{"/home", "/homes", "FTPDeny /home/*/private, of which it may hold something"},
		{"/pub/x", "/else/y", ""},
		{"/pub/a", "/pub/c", "FTPDeny /**/a/b, of which it may hold something"},
		{"/pub/a", "/else/a", ""},
		{"/home/joe/private", "/x", "FTPDeny /home/*/private"},
		{"/x", "/y/.ssh", "FTPDeny /**/.ssh"},
	} {
		d := f.DecidePath(PathRequest{From: test.from, Path: test.to})
		if d.Allowed() != (test.want == "") || test.want != "" && d.Reason != test.want {
			t.Errorf("rename %s to %s: got %v, %q, want %q", test.from, test.to, d.Allowed(), d.Reason, test.want)
		}
	}
}

// oraclePath is a pattern as a regular expression over the path and what is below it.
func oraclePath(p PathPattern, fold bool) *regexp.Regexp {
	text := strings.TrimSuffix(p.String(), "/") + "/"
	text = regexp.QuoteMeta(text)
	text = strings.ReplaceAll(text, `\*\*/`, `([^/]+/)*`)
	text = strings.NewReplacer(`\*`, `[^/]*`, `\?`, `[^/]`).Replace(text)
	text = strings.ReplaceAll(text, `([^/]+/)[^/]*`, `([^/]+/)*`) // the Replacer took the star of our own
	if fold {
		text = `(?i)` + text
	}
	return regexp.MustCompile(`^` + text)
}

func TestPathsAgreeWithAnOracle(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	name := func(of ...string) string { return of[random.IntN(len(of))] }
	pattern := func() string {
		var b strings.Builder
		for range 1 + random.IntN(4) {
			b.WriteString("/" + name("a", "b", "ab", "*", "a*", "?", "?b", "**", "*b*"))
		}
		return b.String()
	}
	path := func() string {
		var b strings.Builder
		for range random.IntN(5) {
			b.WriteString("/" + name("a", "b", "ab", "A", "Ab", "bab", "c"))
		}
		return "/" + strings.TrimPrefix(b.String(), "/")
	}
	for range 4000 {
		deny, allow := paths(t, "deny", pattern()+" "+pattern()), paths(t, "allow", pattern()+" "+pattern())
		f := &FTP{Deny: []Line[[]PathPattern]{deny}, Allow: &allow}
		asked := path()
		under := strings.TrimSuffix(asked, "/") + "/"
		hit := func(fold bool) func(PathPattern) bool {
			return func(p PathPattern) bool { return oraclePath(p, fold).MatchString(under) }
		}
		want := !slices.ContainsFunc(deny.Value, hit(true)) && slices.ContainsFunc(allow.Value, hit(false))
		if d := f.DecidePath(PathRequest{Path: asked}); d.Allowed() != want {
			t.Fatalf("FTPDeny %v, FTPAllow %v, %s: got %v (%s), the oracle says %v", deny.Value, allow.Value, asked, d.Allowed(), d.Reason, want)
		}
	}
}

// What was denied must be denied after a permitted rename, wherever it is then.
func TestRenamesAgreeWithAnOracle(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	path := func(n int) string {
		var b strings.Builder
		for range n {
			fmt.Fprintf(&b, "/%c", 'a'+random.IntN(3))
		}
		return b.String()
	}
	permitted := 0
	for range 20000 {
		var words []string
		for range 1 + random.IntN(2) {
			var b strings.Builder
			for range 1 + random.IntN(4) {
				b.WriteString("/" + []string{"a", "b", "c", "*", "**"}[random.IntN(5)])
			}
			words = append(words, b.String())
		}
		f := &FTP{Deny: []Line[[]PathPattern]{paths(t, "deny", strings.Join(words, " "))}}
		from, to := path(1+random.IntN(3)), path(1+random.IntN(3))
		if !f.DecidePath(PathRequest{From: from, Path: to}).Allowed() {
			continue
		}
		permitted++
		for range 10 {
			below := path(random.IntN(4))
			before, after := f.DecidePath(PathRequest{Path: from + below}), f.DecidePath(PathRequest{Path: to + below})
			if before.Allowed() != after.Allowed() {
				t.Fatalf("FTPDeny %v permits to rename %s to %s, and then %s is %v, was %v", words, from, to, below, after.Allowed(), before.Allowed())
			}
		}
	}
	if permitted < 1000 {
		t.Fatalf("%d renames were permitted, want more to look at", permitted)
	}
}

func FuzzPathPattern(f *testing.F) {
	for _, s := range []string{"/", "/a", "/a/**/b?/*", "/**", "a", "/a//b", "/é/..", "/a/"} {
		f.Add(s, "/a/x/b1/c")
	}
	f.Fuzz(func(t *testing.T, word, path string) {
		p, err := ParsePathPattern(word)
		if err != nil {
			return
		}
		again, err := ParsePathPattern(p.String())
		if err != nil || again.String() != p.String() {
			t.Fatalf("%q reads as %q, and that as %q (%v)", word, p, again, err)
		}
		names, ok := splitPath(path)
		if !ok {
			return
		}
		denies, allows := p.denies(names).matched, p.allows(names).matched
		if allows && !denies {
			t.Fatalf("%q allows %q and doesn't deny it", p, path)
		}
		if below, ok := splitPath(strings.TrimSuffix(path, "/") + "/x"); ok && denies && !p.denies(below).matched {
			t.Fatalf("%q denies %q and not what is below it", p, path)
		}
	})
}
