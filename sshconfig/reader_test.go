package sshconfig

import (
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// taker takes some keywords, as lines of text.
type taker struct {
	knows string // with spaces between
	lines []string
}

func (k *taker) Knows(keyword string) bool {
	return strings.Contains(" "+k.knows+" ", " "+strings.ToLower(keyword)+" ")
}

func (k *taker) SetWords(keyword string, words []string) error {
	if len(words) == 1 && words[0] == "wrong" {
		return fmt.Errorf("%s: that is wrong", keyword)
	}
	k.lines = append(k.lines, strings.ToLower(keyword)+" "+strings.Join(words, " "))
	return nil
}

// write puts files, named and by their text, into a directory and returns it.
func write(t *testing.T, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(files); i += 2 {
		if err := os.WriteFile(filepath.Join(dir, files[i]), []byte(files[i+1]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// read reads the file "config" of a directory about a host.
func read(t *testing.T, dir, host string, said map[string]string) (got string, lines []string, err error) {
	t.Helper()
	k := &taker{knows: "hostname user port identityfile hostkeyalias proxyjump proxycommand"}
	r := &Reader{Sources: []Source{{Path: filepath.Join(dir, "config"), Must: true, Dir: dir, Home: dir}}, Home: dir, User: "me", Into: k, Names: zone{
		"web.a.corp.": "web.a.corp.", "www.b.corp.": "web.a.corp.", "anchored.": "anchored.", "bare": "web.a.corp.",
	}}
	got, err = r.Read(context.Background(), Query{Host: host, Said: said})
	return got, k.lines, err
}

// zone is the canonical names of names.
type zone map[string]string

func (z zone) LookupCNAME(_ context.Context, host string) (string, error) {
	if host == "broken.a.corp." {
		return "", errors.New("no server answers")
	}
	name, ok := z[host]
	if !ok {
		return "", &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return name, nil
}

func TestErrorsOfFilesAreToldTogetherWithTheirPlaces(t *testing.T) {
	dir := write(t, "config", `Port
Colour blue
Host
Host ""
Match
Match host
Match colour blue
Match all user x
Match user x all
Host other
  KnownHostsCommand /bin/x
  Number wrong
Match all
  Port 22
  ProxyUseFdpass yes
  KnownHostsCommand /bin/x
  User wrong
  User "me
  Include more
  Include
  KnownHostsCommand none
`, "more", "Protocol 2\nTint red\n")
	_, _, err := read(t, dir, "h", nil)
	if err == nil {
		t.Fatal("no error")
	}
	want := `config:1: Port: it has no value
config:2: Colour: there is no such keyword: culvert(1) lists those that there are, and IgnoreUnknown names those to ignore
config:3: Host: it has no value: it wants patterns of host names
config:4: Host: a pattern is empty
config:5: Match: it has no criterion
config:6: Match: the criterion "host" has no value
config:7: Match: there is no criterion "colour"; if your ssh has it, try --via ssh
config:8: Match: all stands alone, or behind canonical or final
config:9: Match: all stands alone, or behind canonical or final
config:12: Number: there is no such keyword: culvert(1) lists those that there are, and IgnoreUnknown names those to ignore
config:15: ProxyUseFdpass: culvert can't do that, and must not ignore it: the command hands a socket over instead of data; --via ssh leaves it to ssh
config:16: KnownHostsCommand: culvert can't do that, and must not ignore it: a command that says whom to trust may say whom not to; --via ssh leaves it to ssh
config:17: User: that is wrong
config:18: User: a quote isn't closed
more:2: Tint: there is no such keyword: culvert(1) lists those that there are, and IgnoreUnknown names those to ignore
config:20: Include: it has no value: it wants paths, in which * and ? may stand`
	if got := strings.ReplaceAll(err.Error(), dir+"/", ""); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestFirstValueOfForeignKeywordsCounts(t *testing.T) {
	dir := write(t, "config", "KnownHostsCommand none\nKnownHostsCommand /x\nRefuseConnection \"try tomorrow\"\n")
	_, _, err := read(t, dir, "h", nil)
	if err == nil || !strings.HasSuffix(err.Error(), "config:3: RefuseConnection: no connection: try tomorrow") || strings.Contains(err.Error(), "Known") {
		t.Errorf("got %v, want RefuseConnection alone to be an error", err)
	}
}

func TestTheWayIsSaidOnce(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"ProxyJump a\nProxyCommand b\n", "proxyjump a"},
		{"ProxyCommand b c\nProxyJump a\n", "proxycommand b c"},
		{"ProxyCommand none\nProxyJump a\n", "proxycommand none"},
		{"ProxyJump none\nProxyJump a\n", "proxyjump none|proxyjump a"}, // the caller takes the first
	} {
		_, lines, err := read(t, write(t, "config", test.text), "h", nil)
		if got := strings.Join(lines, "|"); err != nil || got != test.want {
			t.Errorf("%q: got %q, %v; want %q", test.text, got, err, test.want)
		}
	}
}

func TestFilesAreBounded(t *testing.T) {
	dir := write(t, "config", "Include config\n")
	if _, _, err := read(t, dir, "h", nil); err == nil || !strings.Contains(err.Error(), "includes itself") {
		t.Errorf("got %v, want an error about a file that includes itself", err)
	}
	files := []string{"config", "Include 0\n"}
	for i := range 20 {
		files = append(files, fmt.Sprint(i), fmt.Sprintf("Include %d\n", i+1))
	}
	if _, _, err := read(t, write(t, files...), "h", nil); err == nil || !strings.Contains(err.Error(), "more than 16 files deep") {
		t.Errorf("got %v, want an error about the depth", err)
	}
	dir = write(t, "config", strings.Repeat("# a long comment\n", 100_000))
	if _, _, err := read(t, dir, "h", nil); err == nil || !strings.Contains(err.Error(), "it is over 1048576 bytes") {
		t.Errorf("got %v, want an error about the size", err)
	}
	dir = write(t, "config", strings.Repeat("Include many\n", 1001), "many", "")
	if _, _, err := read(t, dir, "h", nil); err == nil || !strings.Contains(err.Error(), "one of more than 1000 files") {
		t.Errorf("got %v, want an error about the number of files", err)
	}
	dir = write(t, "config", strings.Repeat("x\n", 1000))
	if _, _, err := read(t, dir, "h", nil); err == nil || strings.Count(err.Error(), "\n") != 100 {
		t.Errorf("got %d lines of errors, want 101", strings.Count(fmt.Sprint(err), "\n")+1)
	}
}

func TestFilesOfOthersAreNotRead(t *testing.T) {
	dir := write(t, "config", "Include open\n", "open", "Port 1\n")
	if err := os.Chmod(filepath.Join(dir, "open"), 0o620); err != nil {
		t.Fatal(err)
	}
	if _, _, err := read(t, dir, "h", nil); err == nil || !strings.Contains(err.Error(), "may be written by others (mode 0620)") {
		t.Errorf("got %v, want an error about who may write", err)
	}
	// A file that is named on the command line may be, but no command of it is run.
	dir = write(t, "config", "Port 1\n")
	if err := os.Chmod(filepath.Join(dir, "config"), 0o620); err != nil {
		t.Fatal(err)
	}
	if _, _, err := read(t, dir, "h", nil); err != nil {
		t.Errorf("got %v, want no error", err)
	}
	dir = write(t, "config", "Match exec true\nPort 1\n")
	if err := os.Chmod(filepath.Join(dir, "config"), 0o620); err != nil {
		t.Fatal(err)
	}
	if _, _, err := read(t, dir, "h", nil); err == nil || !strings.Contains(err.Error(), "no command of it is run") {
		t.Errorf("got %v, want an error about the command", err)
	}
}

func TestCommandsOfMatch(t *testing.T) {
	ran := filepath.Join(t.TempDir(), "ran")
	for _, test := range []struct{ criteria, user, want, err string }{
		{`exec "test %h-%n-%p-%u = real-h-22-me"`, "", "port 7", ""},
		{`exec "echo no >&2; exit 3"`, "", "", ""},
		{`user nobody exec "touch ` + ran + `"`, "", "", ""},
		{`exec "test %r = me"`, "a;touch " + ran, "", `%r stands for "a;touch `},
		{`exec "test %z"`, "", "", "there is no %z here"},
		{`exec "kill -9 $$"`, "", "", "signal: killed"},
		{`exec true exec "test ok = ok"`, "", "port 7", ""},
	} {
		dir := write(t, "config", "HostName real\nMatch "+test.criteria+"\nPort 7\n")
		said := map[string]string{}
		if test.user != "" {
			said["user"] = test.user
		}
		_, lines, err := read(t, dir, "h", said)
		got := strings.TrimPrefix(strings.TrimPrefix(strings.Join(lines, "|"), "hostname real"), "|")
		if test.err == "" && (err != nil || got != test.want) {
			t.Errorf("%s: got %q, %v; want %q", test.criteria, got, err, test.want)
		}
		if test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
			t.Errorf("%s: got %v, want an error with %q", test.criteria, err, test.err)
		}
	}
	dir := write(t, "config", "Port 22;touch "+ran+"\nMatch exec \"test %p\"\nUser x\n")
	if _, _, err := read(t, dir, "h", nil); err == nil {
		t.Error("a command is taken with what is no port")
	}
	dir = write(t, "config", "Host other\nInclude more\n", "more", `Match exec "touch `+ran+`"`+"\n")
	if _, _, err := read(t, dir, "h", nil); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(ran); err == nil {
		t.Error("a command ran whose line doesn't match, or that a name brought")
	}
}

func TestCriteriaOfLaterVersions(t *testing.T) {
	for _, test := range []struct {
		criteria, tag string
		want          bool
	}{
		{"tagged a,b", "b", true},
		{"tagged a", "", false},
		{`tagged ""`, "", true},
		{"!tagged a", "b", true},
		{`command ""`, "", true},
		{"command x", "", false},
		{"sessiontype none", "", true},
		{"sessiontype shell", "", false},
		{"version OpenSSH_*", "", false},
		{"localnetwork 127.0.0.0/8", "", true},
		{"localnetwork 2001:db8:dead::/48,::1", "", true},
		{"localnetwork 2001:db8:dead::/48", "", false},
		{"host=h user=me", "", true},
	} {
		_, lines, err := read(t, write(t, "config", "Match "+test.criteria+"\nPort 7\n"), "h", map[string]string{"tag": test.tag})
		if got := len(lines) == 1; err != nil || got != test.want {
			t.Errorf("%s with the tag %q: got %v, %v; want %v", test.criteria, test.tag, got, err, test.want)
		}
	}
	if _, _, err := read(t, write(t, "config", "Match localnetwork 10.1.2.3/8\n"), "h", nil); err == nil {
		t.Error("a network with host bits was taken")
	}
}

func TestShortNamesAreCompleted(t *testing.T) {
	const domains = "CanonicalizeHostname yes\nCanonicalDomains a.corp b.corp\n"
	for _, test := range []struct{ text, host, want, err string }{
		{domains, "web", "web.a.corp", ""},
		{domains, "WWW", "www.b.corp", ""},
		{domains + "CanonicalizePermittedCNAMEs *.b.corp:*.a.corp\n", "www", "web.a.corp", ""},
		{domains + "CanonicalizePermittedCNAMEs *.c.corp:*.a.corp\n", "www", "www.b.corp", ""},
		{domains + "CanonicalizePermittedCNAMEs *\n", "bare", "web.a.corp", ""},
		{domains, "nowhere", "nowhere", ""},
		{domains + "CanonicalizeFallbackLocal no\n", "nowhere", "", "no such host is in CanonicalDomains"},
		{domains, "broken", "", "no server answers"},
		{domains, "web.x.y", "web.x.y", ""},
		{domains, "anchored.", "anchored", ""},
		{domains, "10.1.2.3", "10.1.2.3", ""},
		{domains + "ProxyJump j\n", "web", "web", ""},
		{"CanonicalizeHostname always\nCanonicalDomains a.corp\nProxyJump j\n", "web", "web.a.corp", ""},
		{"CanonicalDomains a.corp\n", "web", "web", ""},
		{domains + "CanonicalizeMaxDots x\n", "web", "", "is not a number"},
		{domains + "CanonicalizePermittedCNAMEs x\n", "web", "", "isn't a list of names"},
	} {
		got, _, err := read(t, write(t, "config", test.text), test.host, nil)
		if test.err == "" && (err != nil || got != test.want) {
			t.Errorf("%s of %q: got %q, %v; want %q", test.host, test.text, got, err, test.want)
		}
		if test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
			t.Errorf("%s of %q: got %q, %v; want an error with %q", test.host, test.text, got, err, test.err)
		}
	}
	// What is said of the full name counts then.
	_, lines, err := read(t, write(t, "config", domains+"Host *.a.corp\nUser alice\nMatch canonical host web.a.corp\nPort 7\n"), "web", nil)
	if got := strings.Join(lines, "|"); err != nil || got != "user alice|port 7" {
		t.Errorf("got %q, %v; want the user and the port of the full name", got, err)
	}
}

func TestTokens(t *testing.T) {
	t.Setenv("CULVERT_TEST", "x y")
	tokens := Tokens{Host: "h", Typed: "n", Port: "1", User: "r", LocalUser: "u", Home: "/d", HostKeyAlias: "k", Jump: "j"}
	for _, test := range []struct{ text, path, command string }{
		{"%h%n%p%r%k", "hn1rk", "hn1rk"},
		{"%%%u%d%j", "%u/dj", ""},
		{"${CULVERT_TEST}$x", "x y$x", "${CULVERT_TEST}$x"},
		{"${CULVERT_NONE}", "", "${CULVERT_NONE}"},
		{"${", "", "${"},
		{"%", "", ""},
		{"%z", "", ""},
		{"plain", "plain", "plain"},
	} {
		if got, err := tokens.Path(test.text); got != test.path || (err != nil) != (test.path == "") {
			t.Errorf("path %q: got %q, %v; want %q", test.text, got, err, test.path)
		}
		if got, err := tokens.Command(test.text, false); got != test.command || (err != nil) != (test.command == "") {
			t.Errorf("command %q: got %q, %v; want %q", test.text, got, err, test.command)
		}
	}
	machine, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("%x", sha1.Sum([]byte(machine+"h1rj"))) // as OpenSSH 9.6 and later have it
	if got, err := tokens.Path("%C"); err != nil || got != want {
		t.Errorf("%%C: got %s, %v; want %s", got, err, want)
	}
	for _, hop := range []struct{ jump, want string }{
		{"", ""}, {"none", ""}, {"a", "a"}, {"x@a:22,y@b:23", "b"}, {"ssh://y@[::1]:23/", "::1"}, {"a,[::1]", "::1"},
	} {
		if got := LastHop(hop.jump); got != hop.want {
			t.Errorf("last hop of %q: got %q, want %q", hop.jump, got, hop.want)
		}
	}
}

// FuzzRead holds that any file is read to an end, that what it says doesn't depend on blank lines and comments, and that a name is
// never invented.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{
		"Host a b !c\nPort 1\n", "Match host a,!b user me\nHostName %h.corp\n", "Match final all\nUser x\n", "IgnoreUnknown *\nx y\n",
		"CanonicalizeHostname yes\nCanonicalDomains a.corp\n", "HostName %%h\nHostKeyAlias \"a b\"\n", "\xff=\x00", "Match !tagged x localnetwork ::1\nPort 1",
	} {
		f.Add(seed, "web")
	}
	f.Fuzz(func(t *testing.T, text, host string) {
		low := strings.ToLower(text)
		if strings.Contains(low, "include") || strings.Contains(low, "exec") || host == "" {
			return // the files and programs of this machine are none of the fuzzer's business
		}
		dir := t.TempDir()
		one := func(text string) (string, []string, error) {
			if err := os.WriteFile(filepath.Join(dir, "config"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			return read(t, dir, host, nil)
		}
		got, lines, err := one(text)
		if err != nil {
			if got != "" {
				t.Fatalf("%q: got %q beside %v", text, got, err)
			}
			return
		}
		again, same, err := one("# comment\n\n" + strings.ReplaceAll(text, "\n", "\n\t\n#\n"))
		if err != nil || again != got || strings.Join(same, "\n") != strings.Join(lines, "\n") {
			t.Fatalf("%q: got %q %q; with comments %q %q, %v", text, got, lines, again, same, err)
		}
		if !strings.Contains(low, "hostname") && got != lower(host) && net.ParseIP(host) == nil && !strings.Contains(host, ":") {
			t.Fatalf("%q: %q became %q", text, host, got)
		}
	})
}
