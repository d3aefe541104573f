package ftp

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
)

// The tree of the model server, and what of it is denied.
var (
	modelTree   = []string{"/", "/pub", "/pub/sub", "/secret", "/secret/deep", "/home", "/home/joe", "/home/joe/private", "/a b"}
	modelDenied = "/secret /home/joe/private"
)

// A model is an FTP server without links, whose quirks are chosen. It notes what it does in what is denied, or outside of /pub.
type model struct {
	quirks  uint16
	allow   bool // what is in /pub is allowed, instead of something denied
	at      string
	renames string // as it came in RNFR
	did     []string
	passed  int // commands with a path that it got
}

const (
	ignoresCase uint16 = 1 << iota
	expandsPatterns
	splitsLists
	takesBackslashes
	trimsSpaces
	knowsTilde
	takesQuotes
	knowsDrives
	keepsNoDots
	readsNumbers
	hasNoPWD
	singleQuotes // doesn't double them in PWD
)

// touch takes down that the server does something with a path as it reads it.
func (m *model) touch(command, text string) string {
	all := m.read(text)
	for _, p := range all {
		if m.allow {
			if !strings.HasPrefix(p+"/", "/pub/") && !(p == "/" && entersModel(command)) {
				m.did = append(m.did, fmt.Sprintf("%s in %s is %s", command, m.at, p))
			}
			continue
		}
		folded := strings.ToLower(p)
		for _, denied := range strings.Fields(modelDenied) {
			if p == denied || strings.HasPrefix(p, denied+"/") ||
				m.quirks&ignoresCase != 0 && (folded == denied || strings.HasPrefix(folded, denied+"/")) {
				m.did = append(m.did, fmt.Sprintf("%s in %s is %s", command, m.at, p))
			}
		}
	}
	return all[0]
}

// entersModel reports whether a command changes the directory, which it may on the way to what is allowed.
func entersModel(command string) bool {
	verb, _, _ := strings.Cut(command, " ")
	return strings.Contains("CWD XCWD CDUP", verb)
}

// read returns the paths that a text means to this server; the first is the one that it goes by.
func (m *model) read(text string) []string {
	has := func(q uint16) bool { return m.quirks&q != 0 }
	if has(trimsSpaces) {
		text = strings.Trim(text, " ")
	}
	if has(takesQuotes) {
		text = strings.Trim(text, `"'`)
	}
	if has(takesBackslashes) {
		text = strings.ReplaceAll(text, `\`, "/")
	}
	if has(knowsDrives) && len(text) > 1 && text[1] == ':' {
		text = text[2:]
	}
	if has(knowsTilde) && strings.HasPrefix(text, "~") {
		_, rest, _ := strings.Cut(text, "/")
		text = "/home/joe/" + rest
	}
	if !strings.HasPrefix(text, "/") {
		text = m.at + "/" + text
	}
	if has(keepsNoDots) {
		names := strings.Split(text, "/")
		for i, name := range names {
			if strings.Trim(name, ". ") != "" {
				names[i] = strings.TrimRight(name, ". ")
			} else if len(name) > 2 {
				names[i] = "../.."
			}
		}
		text = strings.Join(names, "/")
	}
	all := []string{filepath.Clean(text)}
	if has(expandsPatterns) {
		for _, p := range modelTree {
			if hit, _ := filepath.Match(strings.NewReplacer("{", "[", "}", "]").Replace(filepath.Clean(text)), p); hit {
				all = append(all, p)
			}
		}
	}
	return all
}

func (m *model) exists(p string) (canonical string, ok bool) {
	for _, d := range modelTree {
		if p == d || m.quirks&ignoresCase != 0 && strings.EqualFold(p, d) {
			return p, true
		}
	}
	return "", false
}

// obey carries a command out and returns the replies.
func (m *model) obey(line string) string {
	verb, arg, _ := strings.Cut(line, " ")
	switch verb {
	case "USER":
		return "331 password"
	case "PASS":
		m.at = "/"
		return "230 in"
	case "PWD":
		if m.quirks&hasNoPWD != 0 {
			return "502 no"
		}
		if m.quirks&singleQuotes != 0 {
			return fmt.Sprintf("257 \"%s\" is it", m.at)
		}
		return fmt.Sprintf("257 \"%s\" is it", strings.ReplaceAll(m.at, `"`, `""`))
	case "MODE", "NOOP", "OPTS", "FEAT":
		return "200 ok"
	case "PASV":
		return "227 (10,0,0,5,4,1)"
	}
	if line == "STAT" { // how the server is
		return "211 well"
	}
	m.passed++
	switch verb {
	case "CWD", "CDUP":
		if verb == "CDUP" {
			arg = ".."
		}
		if arg == "" {
			arg = "/home/joe/private" // where else?
		}
		if at, ok := m.exists(m.touch(line, arg)); ok {
			m.at = at
			return "250 ok"
		}
		return "550 no"
	case "RNFR":
		if !strings.Contains(arg, "nothing") {
			m.renames = arg
			return "350 go on"
		}
		return "550 no" // and the one before stays
	case "RNTO":
		m.touch(line+" after RNFR", m.renames)
		m.touch(line, arg)
		return "250 done"
	case "MFMT", "MDTM":
		if time, second, ok := strings.Cut(arg, " "); ok && strings.HasPrefix(time, "20") {
			m.touch(line, second)
			return "213 ok"
		}
	case "XCRC":
		for words := strings.Split(arg, " "); m.quirks&readsNumbers != 0 && len(words) > 1 && decimals(words[len(words)-1]); {
			words = words[:len(words)-1]
			arg = strings.Join(words, " ")
		}
	case "LIST", "STAT":
		return m.list(line, arg)
	case "SITE":
		_, arg, _ = strings.Cut(arg, " ")
	}
	m.touch(line, arg)
	if verb == "RETR" || verb == "STOR" || verb == "STOU" {
		return "150 go\r\n226 done"
	}
	return "200 ok"
}

func (m *model) list(line, arg string) string {
	words := strings.Split(arg, " ")
	recursive := false
	var paths []string
	for i, word := range words {
		if strings.HasPrefix(word, "-") && (len(paths) == 0 || m.quirks&splitsLists != 0) {
			recursive = recursive || strings.Contains(word, "R")
			continue
		}
		if m.quirks&splitsLists == 0 {
			paths = []string{strings.Join(words[i:], " ")}
			break
		}
		paths = append(paths, word)
	}
	if arg == "" {
		paths = []string{""}
	}
	for _, p := range paths {
		m.touch(line, p)
		for _, below := range modelTree {
			if at := m.read(p)[0]; recursive && strings.HasPrefix(below, strings.TrimSuffix(at, "/")+"/") {
				m.touch(line, below)
			}
		}
	}
	return "150 go\r\n226 done"
}

var (
	modelVerbs = []string{
		"CWD", "CWD", "CWD", "CDUP", "XCWD", "RETR", "STOR", "STOU", "DELE", "SIZE", "MKD", "RMD", "LIST", "STAT", "MLST", "RNFR", "RNTO", "MDTM", "MFMT", "XCRC",
		"SITE", "XYZZY", "SMNT", "USER", "NOOP", "PRET", "PWD",
	}
	modelArgs = []string{
		"", "..", "secret", "/secret", "pub", "/pub", "sub", "/", "joe", "/home/joe", "private", "private/x", "../private", "x", "../secret", "pub/../secret", "SECRET", "/Secret/x",
		"secret.", "secret /x", "/secret::$DATA", "./secret", "//secret", ".//.//secret/", "~", "~/private", "/s*", "[s]ecret", "{secret}", "sec?et", `\secret`, `pub\..\secret`, "C:/secret",
		`"secret"`, "'secret'", " secret", "secret ", "/pub/... /secret", "/pub/.. /secret", "/pub/...", "20260101000000 secret", "20260101000000 x", "secret 0 100", "/secret 5", "x 5",
		"-R", "-la secret", "-la", "x secret", "x -R", "-R /", "CHMOD 600 secret", "a b", "/a b", "../a b/x", "RETR secret", "secret/deep", "nothing", "../..", "../../secret", "home/joe",
	}
)

// playModel has a client say what the script chooses, and returns the server at the end.
func playModel(quirks uint16, allow bool, script []byte, raw string) *model {
	m := &model{quirks: quirks, allow: allow, at: "/"}
	s := NewSession(Options{
		Peer: netip.MustParseAddr("10.0.0.5"), Hop: netip.MustParseAddr("127.0.0.1"), Client: netip.MustParseAddr("127.0.0.1"),
		Paths: func(r PathRequest) PathDecision {
			if allow {
				return PathDecision{Allowed: strings.HasPrefix(r.Path+"/", "/pub/") || r.Path == "/" && r.Enter}
			}
			r.Path, r.From = foldForModel(r.Path), foldForModel(r.From)
			return denying(modelDenied)(r)
		},
	})
	var pump func(effects []Effect)
	pump = func(effects []Effect) {
		for _, e := range effects {
			switch e := e.(type) {
			case ToServer:
				pump(s.FromServer([]byte(m.obey(strings.TrimSuffix(string(e.Data), "\r\n")) + "\r\n")))
			case Announce:
				pump(s.Announced(netip.MustParseAddrPort("127.0.0.1:40001")))
			}
		}
	}
	pump(s.FromServer([]byte("220 ready\r\n")))
	pump(s.FromClient([]byte("USER a\r\nPASS b\r\nMODE B\r\nPASV\r\n")))
	var said []byte
	for len(script) >= 2 {
		verb, arg := modelVerbs[int(script[0]&0x7f)%len(modelVerbs)], modelArgs[int(script[1])%len(modelArgs)]
		if raw != "" && script[1] >= 0xf0 {
			arg = raw
		}
		said = append(said, strings.TrimSuffix(verb+" "+arg, " ")+"\r\n"...)
		if verb == "USER" {
			said = append(said, "PASS b\r\n"...)
		}
		if script[0]&0x80 == 0 { // else it is pipelined
			pump(s.FromClient(said))
			said = nil
		}
		script = script[2:]
	}
	pump(s.FromClient(said))
	return m
}

// foldForModel takes two names for one as package policy does in what is denied.
func foldForModel(p string) string {
	names := strings.Split(strings.ToLower(p), "/")
	for i, name := range names {
		name, _, _ = strings.Cut(name, ":")
		names[i] = strings.TrimRight(name, ". ")
	}
	return strings.Join(names, "/")
}

// FuzzPaths holds that nothing goes to a server which it takes for a path that is denied, whatever it makes of paths.
func FuzzPaths(f *testing.F) {
	f.Add(uint16(0), []byte{0, 4, 5, 14, 0x85, 14, 3, 0, 12, 45}, "")
	f.Add(uint16(ignoresCase), []byte{0, 0xff, 5, 13}, "/SECRET")
	f.Add(uint16(keepsNoDots|trimsSpaces), []byte{5, 0xff}, "/pub/. ./secret")
	f.Fuzz(func(t *testing.T, quirks uint16, script []byte, raw string) {
		if strings.ContainsFunc(raw, func(r rune) bool { return r < ' ' || r > '~' }) { // what the model makes of them is nobody's business
			return
		}
		for _, allow := range []bool{false, true} {
			if m := playModel(quirks, allow, script, raw); len(m.did) > 0 {
				t.Fatalf("a server with the quirks %b did what isn't permitted: %q", quirks, m.did)
			}
		}
	})
}

func TestRandomPaths(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	passed := 0
	for i := range 8000 {
		script := make([]byte, 2*(1+random.IntN(12)))
		for i := range script {
			script[i] = byte(random.UintN(0xf0)) // 0xf0 and above is for the fuzzer
		}
		quirks := uint16(random.Uint32())
		m := playModel(quirks, i%2 == 0, script, "")
		if len(m.did) > 0 {
			t.Fatalf("a server with the quirks %b did what isn't permitted: %q", quirks, m.did)
		}
		passed += m.passed
	}
	if passed < 5000 {
		t.Errorf("%d commands reached the server, want more to look at", passed)
	}
}

// What may be an option to one server, or nothing, is the name of a file to another.
func TestPathsOfListings(t *testing.T) {
	for line, want := range map[string]string{
		"STAT":         "",
		"STAT  ":       "",
		"STAT \u00a0":  "/pub/\u00a0",
		"STAT \u3000x": "/pub/\u3000x",
		"LIST -l x":    "/pub/x",
		"MLSD":         "/pub /pub",
		"MLSD x":       "/pub/x /pub/x",
		"MLSD -l":      "/pub /pub/-l",
		"MLST -l x":    "/pub/x /pub/-l x",
	} {
		paths, err := parseCommand([]byte(line)).named("/pub")
		if got := strings.Join(paths, " "); got != want || err != nil {
			t.Errorf("%q names %q, %v; want %q", line, got, err, want)
		}
	}
}
