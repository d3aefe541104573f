package sshconfig

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/culvert-ssh/culvert/internal/peers"
)

// howMany returns how many random files are tried: CULVERT_SSH_FILES, or else what takes some seconds.
func howMany(t *testing.T) int {
	t.Helper()
	text := os.Getenv("CULVERT_SSH_FILES")
	if text == "" {
		return 120
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestAnswersAreThoseOfSSH holds that random files come to the same for random command lines as they do with a real ssh.
func TestAnswersAreThoseOfSSH(t *testing.T) {
	t.Setenv("VARIABLE", "value")
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("CULVERT_SSH_SEED"); text != "" {
		seed, _ = strconv.ParseUint(text, 10, 64)
	}
	files := howMany(t)
	const workers = 4
	for worker := range uint64(workers) {
		t.Run(fmt.Sprint(worker), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, worker))
			for i := range files / workers {
				g := generator{Rand: random, dir: t.TempDir()}
				path := g.file()
				line := g.commandLine()
				compareWithSSH(t, path, line)
				if t.Failed() {
					text, _ := os.ReadFile(path)
					t.Fatalf("file %d of seed %d, ssh -G %q:\n%s\n%s", i, seed, line.args(), text, g.included.String())
				}
			}
		})
	}
}

// TestCorpusIsReadAsSSHReadsIt is the same for files that people write.
func TestCorpusIsReadAsSSHReadsIt(t *testing.T) {
	t.Setenv("VARIABLE", "value")
	files, err := filepath.Glob("testdata/corpus/*.conf")
	if err != nil || len(files) == 0 {
		t.Fatalf("got %d files, %v", len(files), err)
	}
	for _, path := range files {
		for _, line := range []commandLine{
			{host: "bastion"}, {host: "Web1.corp"}, {host: "10.1.2.3"}, {host: "db.internal", user: "alice"}, {host: "::1", port: "2222"}, {host: "tagged", user: "root"},
		} {
			t.Run(filepath.Base(path)+"/"+line.host, func(t *testing.T) {
				t.Parallel()
				full, err := filepath.Abs(path)
				if err != nil {
					t.Fatal(err)
				}
				compareWithSSH(t, full, line)
			})
		}
	}
}

// commandLine is what stands on it.
type commandLine struct{ host, user, port string }

func (c commandLine) args() []string {
	var args []string
	if c.user != "" {
		args = append(args, "-l", c.user)
	}
	if c.port != "" {
		args = append(args, "-p", c.port)
	}
	return append(args, c.host)
}

// compared are the keywords whose values are compared, and how many values count.
var compared = map[string]bool{
	"user": false, "port": false, "hostkeyalias": false, "serveraliveinterval": false, "bindaddress": false, "preferredauthentications": false,
	"identityfile": true, "certificatefile": true, "userknownhostsfile": false, "globalknownhostsfile": false, "identityagent": false,
	"controlpath": false, "proxycommand": false, "proxyjump": false, "connectionattempts": false, "remotecommand": false, "batchmode": false,
	"compression": false, "stricthostkeychecking": false, "setenv": true, "canonicaldomains": false, "localforward": true,
}

func compareWithSSH(t *testing.T, path string, line commandLine) {
	t.Helper()
	ctx := t.Context()
	args := append([]string{"-F", path}, line.args()...)
	out, err := peers.EffectiveSSH(ctx, nil, args...)
	if err != nil {
		t.Errorf("%v", err)
		return
	}
	standard, err := peers.EffectiveSSH(ctx, nil, append([]string{"-F", "none"}, line.args()...)...)
	if err != nil {
		t.Fatal(err)
	}
	theirs, defaults := valuesOf(out), valuesOf(standard)
	var lines lines
	r, q := readerFor(t, path, line)
	r.Into = &lines
	host, err := r.Read(ctx, q)
	if err != nil {
		t.Errorf("ssh takes what we refuse: %v", err)
		return
	}
	if got := theirs["hostname"]; !slices.Equal(got, []string{host}) {
		t.Errorf("host name: ssh has %q, we %q", got, host)
	}
	ours := settled(t, lines, host, r, q)
	for keyword := range compared {
		want, got := theirs[keyword], ours[keyword]
		if got == nil {
			got = defaults[keyword]
		}
		if !slices.Equal(want, got) {
			t.Errorf("%s: ssh has %q, we %q", keyword, want, got)
		}
	}
}

func readerFor(t *testing.T, path string, line commandLine) (*Reader, Query) {
	t.Helper()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	r := &Reader{
		Sources: []Source{{Path: path, Must: true, Dir: filepath.Join(me.HomeDir, ".ssh"), Home: me.HomeDir}},
		Home:    me.HomeDir, User: me.Username,
	}
	q := Query{Host: line.host, Said: map[string]string{}}
	if line.user != "" {
		q.Said["user"] = line.user
	}
	if line.port != "" {
		q.Said["port"] = line.port
	}
	return r, q
}

// lines takes all that ssh takes.
type lines []Line

func (*lines) Knows(keyword string) bool {
	return slices.Contains(standard, strings.ToLower(keyword)) || Foreign(keyword)
}

func (l *lines) SetWords(keyword string, words []string) error {
	*l = append(*l, Line{Keyword: keyword, Words: words})
	return nil
}

// standard are keywords of ssh that every caller has.
var standard = []string{
	"addkeystoagent", "addressfamily", "batchmode", "bindaddress", "bindinterface", "casignaturealgorithms", "certificatefile", "ciphers",
	"connectionattempts", "connecttimeout", "globalknownhostsfile", "hashknownhosts", "hostkeyalgorithms", "hostkeyalias", "hostname",
	"identitiesonly", "identityagent", "identityfile", "kbdinteractiveauthentication", "kexalgorithms", "macs", "numberofpasswordprompts",
	"passwordauthentication", "port", "preferredauthentications", "proxycommand", "proxyjump", "pubkeyacceptedalgorithms",
	"pubkeyauthentication", "requiredrsasize", "revokedhostkeys", "serveralivecountmax", "serveraliveinterval", "stricthostkeychecking",
	"updatehostkeys", "user", "userknownhostsfile",
}

// settled is what lines say of each keyword, as ssh -G writes it.
func settled(t *testing.T, lines lines, host string, r *Reader, q Query) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	first := func(keyword, or string) string {
		if v, ok := q.Said[keyword]; ok {
			return v
		}
		if len(all[keyword]) > 0 {
			return all[keyword][0]
		}
		return or
	}
	for keyword, value := range q.Said {
		all[keyword] = []string{value}
	}
	for _, l := range lines {
		keyword := strings.ToLower(l.Keyword)
		if compared[keyword] || all[keyword] == nil {
			value := strings.Join(l.Words, " ")
			if keyword == "hostkeyalias" {
				value = strings.ToLower(value)
			}
			all[keyword] = append(all[keyword], value)
		}
	}
	tokens := Tokens{
		Host: host, Typed: q.Host, User: first("user", r.User), Port: first("port", "22"), LocalUser: r.User, Home: r.Home,
		HostKeyAlias: first("hostkeyalias", q.Host),
	}
	for _, keyword := range []string{"userknownhostsfile", "identityagent", "controlpath"} {
		for i, value := range all[keyword] {
			var words []string
			for word := range strings.FieldsSeq(value) {
				word, err := ExpandHome(word, r.Home)
				if err == nil {
					word, err = tokens.Path(word)
				}
				if err != nil {
					t.Error(err)
				}
				words = append(words, word)
			}
			all[keyword][i] = strings.Join(words, " ")
		}
	}
	if v := all["remotecommand"]; v != nil {
		text, err := tokens.Text(v[0])
		if err != nil {
			t.Error(err)
		}
		all["remotecommand"] = []string{text}
	}
	for _, keyword := range []string{"proxycommand", "proxyjump", "remotecommand", "controlpath"} { // ssh doesn't show these
		if slices.Equal(all[keyword], []string{"none"}) {
			delete(all, keyword)
		}
	}
	return all
}

func valuesOf(out string) map[string][]string {
	all := map[string][]string{}
	for line := range strings.Lines(out) {
		keyword, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		all[strings.ToLower(keyword)] = append(all[strings.ToLower(keyword)], value)
	}
	return all
}

// generator makes random files that ssh takes.
type generator struct {
	*rand.Rand
	dir      string
	included strings.Builder // what the other files have, for messages
	files    int
}

func (g *generator) one(of ...string) string { return of[g.IntN(len(of))] }

func (g *generator) commandLine() commandLine {
	return commandLine{
		host: g.one("bastion", "web1.corp", "WEB2.Corp", "db", "10.1.2.3", "a-b_c", "::1", "0::1", "web1"),
		user: g.one("", "", "alice", "root"),
		port: g.one("", "", "2022"),
	}
}

// file writes a file and returns its path.
func (g *generator) file() string {
	path := filepath.Join(g.dir, "config")
	g.write(path, g.lines(20))
	return path
}

func (g *generator) write(path, text string) {
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		panic(err)
	}
}

func (g *generator) lines(most int) string {
	var b strings.Builder
	for range 1 + g.IntN(most) {
		switch g.IntN(8) {
		case 0:
			b.WriteString(g.host())
		case 1:
			b.WriteString(g.match())
		case 2:
			if g.files < 4 {
				g.files++
				b.WriteString(g.include())
			}
		case 3:
			b.WriteString(g.one("# a comment\n", "\n", "  \t\n", "#Port 99\n"))
		default:
			b.WriteString(g.setting())
		}
	}
	return b.String()
}

func (g *generator) host() string {
	patterns := []string{"bastion", "web*", "*.corp", "!web1.corp", "*", "db", "10.*", "w?b1.corp", "WEB2.Corp", "::1", "!db", "*-*"}
	var words []string
	for range 1 + g.IntN(3) {
		words = append(words, g.one(patterns...))
	}
	return g.indent() + g.one("Host ", "host\t", "HOST=", `Host "`+g.one(patterns...)+`" `) + strings.Join(words, " ") + g.end()
}

func (g *generator) match() string {
	if g.IntN(6) == 0 {
		return g.one("Match all\n", "match final all\n", "Match final\n", "Match canonical\n", "Match !canonical\n", "Match canonical all\n")
	}
	var words []string
	for range 1 + g.IntN(3) {
		word := g.one(
			"host web*,!web1.corp", "host *.corp,bastion", "Host real*", "originalhost *eb*", "user alice", "user r*,alice", "localuser *", "localuser nobody",
			`exec "test %h = bastion"`, `exec "true"`, `exec "test %p -gt 1000"`, `exec "test %r = %u"`, "exec false", "final", "host 10.*", `host "*"`, "user !root,*",
		)
		if word != "final" { // OpenSSH 9.2 reads twice for "!final", too
			word = g.one("", "", "!") + word
		}
		words = append(words, word)
	}
	return g.indent() + "Match " + strings.Join(words, g.one(" ", "  ", "\t")) + g.end()
}

func (g *generator) include() string {
	name := fmt.Sprintf("included%d.conf", g.files)
	text := g.lines(6)
	g.write(filepath.Join(g.dir, name), text)
	fmt.Fprintf(&g.included, "%s:\n%s", name, text)
	return g.indent() + "Include " + g.one(filepath.Join(g.dir, name), filepath.Join(g.dir, "inc*"+name[8:]), filepath.Join(g.dir, "no*.conf"), `"`+filepath.Join(g.dir, name)+`"`) + g.end()
}

func (g *generator) setting() string {
	keyword := g.one("HostName", "User", "Port", "HostKeyAlias", "ServerAliveInterval", "BindAddress", "PreferredAuthentications", "IdentityFile", "CertificateFile",
		"UserKnownHostsFile", "GlobalKnownHostsFile", "IdentityAgent", "ControlPath", "ProxyCommand", "ProxyJump", "ConnectionAttempts", "RemoteCommand",
		"StrictHostKeyChecking", "IgnoreUnknown", "SetEnv", "SendEnv", "Colour", "LocalForward", "Protocol")
	values := map[string][]string{
		"HostName":                 {"real%h", "real.corp", "10.9.9.9", "%h", "%h.example", "[%%]", "0:0::1"},
		"User":                     {"bob", `"carol"`, "d.e", `'f'"g"`},
		"Port":                     {"22", "2222", "65535", `"8022"`},
		"HostKeyAlias":             {"alias", "Alias%%"},
		"ServerAliveInterval":      {"0", "30", "7"},
		"BindAddress":              {"10.0.0.1", "::1"},
		"PreferredAuthentications": {"publickey", "publickey,password", "hostbased"},
		"IdentityFile":             {"~/.ssh/a", "/k/%h", `"/k/with space"`, "none", "/k/%d", `/k/a\ b`, "~/.ssh/a"},
		"CertificateFile":          {"/c/a", "~/c/%r"},
		"UserKnownHostsFile":       {"~/.ssh/kh", "/k/%h /k/%n", "/k/%C", "/k/${VARIABLE}/%p", "/k/%k-%L-%l-%u-%i-%d-%r"},
		"GlobalKnownHostsFile":     {"/g/a", "/g/a /g/b"},
		"IdentityAgent":            {"none", "SSH_AUTH_SOCK", "~/agent", "/a/%r@%h:%p", "${VARIABLE}/x", "/a/%i"},
		"ControlPath":              {"none", "~/.ssh/%C", "/c/%r@%h:%p", "/c/%n-%L"},
		"ProxyCommand":             {"none", "nc %h %p", `sh -c "a # b" 'c'`},
		"ProxyJump":                {"none", "jump", "a@jump:22,second", "[::2]:2222"},
		"ConnectionAttempts":       {"1", "3"},
		"RemoteCommand":            {"none", "echo %h %n %p %r", `a "b c" # d`},
		"StrictHostKeyChecking":    {"ask", "accept-new"},
		"IgnoreUnknown":            {"Col*,FTP*", "*"},
		"SetEnv":                   {"A=1"},
		"SendEnv":                  {"LANG LC_*"},
		"LocalForward":             {"2121 [ftp.corp]:21"},
		"Protocol":                 {"2,1"},
		"Colour":                   {"blue"},
	}[keyword]
	if keyword == "Colour" {
		return "IgnoreUnknown Colour\nMatch all\nIgnoreUnknown colour\n"
	}
	if keyword == "SetEnv" {
		return "SetEnv A=1\n"
	}
	if g.IntN(4) == 0 {
		keyword = strings.ToLower(keyword)
	}
	end := g.end()
	if strings.HasSuffix(strings.ToLower(keyword), "command") || strings.EqualFold(keyword, "ProxyJump") {
		end = "\n"
	}
	return g.indent() + keyword + g.one(" ", "=", " = ", "\t", "  ") + g.one(values...) + end
}

func (g *generator) indent() string { return g.one("", "", "  ", "\t", "    ") }

func (g *generator) end() string {
	return g.one("\n", "\n", "  \n", " # a comment\n", "\r\n", "\t#x\n")
}
