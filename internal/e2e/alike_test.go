package e2e

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/culvert-ssh/culvert/internal/peers"
)

// administration is a sshd_config of a bastion, with the files that it names and command lines of those who use it.
type administration struct {
	name  string
	text  string
	files map[string]string // authorized_keys by user; principals by "principals/" and the user
	lines []commandLine
}

// commandLine is a command line of ssh, and what becomes of it.
type commandLine struct {
	as    string
	with  []string // keys; if none, the one that is called like the user
	words string   // the last of them may be a command
	want  string   // what becomes of it with sshd, and with culvertd

	// rule is the line that makes culvertd refuse: of the configuration, or of a user's keys if there is a number and no more behind it. It must be on record.
	rule string

	differs difference // if set, culvertd does ours instead
	ours    string
}

// difference is a row of docs/divergences.md: its first column.
type difference string

const (
	noPrograms difference = "shell, exec, agent, X11"
	noGroup    difference = "whoever is in no group, where there is `DenyGroups` or `AllowGroups`"
)

// members are the accounts on both sides, with their groups.
var members = []peers.Account{
	{Name: "alice", Groups: []string{"ops"}},
	{Name: "bob", Groups: []string{"tunnel"}},
	{Name: "carol", Groups: []string{"tunnel"}},
	{Name: "carl", Groups: []string{"tunnel", "contractors"}},
	{Name: "dave", Groups: []string{"staff"}},
	{Name: "erin", Groups: []string{"staff"}},
	{Name: "mallory", Groups: []string{"staff"}},
	{Name: "frank"}, // to sshd, of the group of whoever starts it
}

// TestAnOpenSSHBastionIsAlike gives the same text to a real sshd and to culvertd, but for what must differ, and has the real ssh ask
// both for the same.
func TestAnOpenSSHBastionIsAlike(t *testing.T) {
	w := newWorld(t)
	for _, a := range administrations {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			theirs, ours := a.sshd(t, w), a.culvertd(t, w)
			for _, l := range a.lines {
				want, rule := l.want, l.rule
				if got := theirs.run(t, l); got != want {
					t.Errorf("%s: with sshd: got %q, want %q", l, got, want)
				}
				if l.differs != "" {
					want = l.ours
				}
				before := ours.refusals(rule)
				if got := ours.run(t, l); got != want {
					t.Errorf("%s: with culvertd: got %q, want %q", l, got, want)
				}
				if rule != "" && ours.refusals(rule) == before {
					t.Errorf("%s: no refusal on record names %s", l, rule)
				}
			}
		})
	}
}

// TestDifferencesOfABastionAreDocumented keeps the list here and the one for people together.
func TestDifferencesOfABastionAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/divergences.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range administrations {
		for _, l := range a.lines {
			if l.differs != "" && !strings.Contains(string(text), "\n| "+string(l.differs)+" |") {
				t.Errorf("%s: docs/divergences.md has no row %q", l, l.differs)
			}
		}
	}
}

func (l commandLine) String() string {
	return strings.Join(append([]string{"ssh " + l.words + " as " + l.as}, l.with...), " with ")
}

// host is a server of either kind.
type host struct {
	addr  netip.AddrPort
	world *world
	words *strings.Replacer // of the texts
	idle  func()            // waits until no connection is left

	// Of culvertd alone.
	daemon *program
	folder string
}

// newHost writes the files, and returns the text of the configuration.
func (a administration) newHost(t *testing.T, w *world) (h *host, text string) {
	t.Helper()
	h = &host{world: w, folder: t.TempDir()}
	h.words = w.words(h.folder, free(t), free(t))
	for name, lines := range a.files {
		path := filepath.Join(h.folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(h.words.Replace(lines)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range members {
		path := filepath.Join(h.folder, m.Name)
		if _, ok := a.files[m.Name]; ok {
			continue
		}
		if err := os.WriteFile(path, w.keys[m.Name].Authorized(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return h, h.words.Replace(strings.TrimPrefix(a.text, "\n"))
}

func (a administration) sshd(t *testing.T, w *world) *host {
	t.Helper()
	h, text := a.newHost(t, w)
	s := peers.TestSSHD(t, peers.SSHDConfig{
		KeysFile: h.folder + "/%u", HostKey: w.hostKey.Path, Accounts: members, Lines: strings.Split(text, "\n"),
	})
	h.addr = s.Addr
	h.idle = func() {
		t.Helper()
		if err := s.Idle(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

func (a administration) culvertd(t *testing.T, w *world) *host {
	t.Helper()
	h, text := a.newHost(t, w)
	accounts := filepath.Join(h.folder, "accounts")
	for _, m := range members {
		out, err := exec.CommandContext(t.Context(), filepath.Join(binaries, "culvertd"), "passwd", "-f", accounts,
			"--groups", strings.Join(m.Groups, ","), m.Name).CombinedOutput()
		if err != nil {
			t.Fatalf("culvertd passwd: %v: %s", err, out)
		}
	}
	lines := append([]string{
		"ListenAddress 127.0.0.1:0",
		"HostKey " + w.hostKey.Path,
		"AuthorizedKeysFile " + h.folder + "/%u",
		"PasswordFile " + accounts,
		"PerSourcePenalties no", // this sshd knows none yet, or can't remember them between its processes
	}, silence(text)...)
	conf := filepath.Join(h.folder, "sshd_config")
	if err := os.WriteFile(conf, []byte(strings.Join(lines, "\n")+"\n"+text), 0o644); err != nil {
		t.Fatal(err)
	}
	h.daemon = start(t, "culvertd", "-D", "-e", "-f", conf)
	h.addr = netip.MustParseAddrPort(h.daemon.await(`msg=listening .*address="?([^ "\n]+)`)[1])
	opened := regexp.MustCompile(`"event":"connection\.opened"`)
	closed := regexp.MustCompile(`"event":"connection\.closed"`)
	h.idle = func() {
		t.Helper()
		if n := len(opened.FindAllString(h.daemon.Output(), -1)); n > 0 {
			if _, err := h.daemon.Await(closed, n); err != nil {
				t.Fatal(err)
			}
		}
	}
	return h
}

// silence is what culvertd must be told where sshd's silence permits.
func silence(text string) (lines []string) {
	global, _, _ := strings.Cut(text, "\nMatch ")
	for _, keyword := range []string{"PermitOpen", "PermitListen"} {
		if !strings.Contains("\n"+global, "\n"+keyword+" ") {
			lines = append(lines, keyword+" any")
		}
	}
	return lines
}

// refusals returns how many refusals are on record that name the line.
func (h *host) refusals(line string) int {
	if line == "" {
		return 0
	}
	line = h.words.Replace(line)
	rule := line
	if ofKeys.MatchString(line) && !filepath.IsAbs(line) {
		rule = filepath.Join(h.folder, line)
	} else if !ofKeys.MatchString(line) {
		text, _ := os.ReadFile(filepath.Join(h.folder, "sshd_config"))
		at := slices.IndexFunc(strings.Split(string(text), "\n"), func(l string) bool { return strings.TrimSpace(l) == line })
		rule = filepath.Join(h.folder, "sshd_config") + ":" + strconv.Itoa(at+1)
	}
	rule = regexp.QuoteMeta(`"rule":"` + rule + `"`)
	return len(regexp.MustCompile(
		`"event":"(?:[a-z]+\.refused|connection\.closed)"[^\n]*`+rule+`|"event":"authentication"[^\n]*`+rule+`,"result":"refused"`,
	).FindAllString(h.daemon.Output(), -1))
}

// ofKeys is a line of a file of keys.
var ofKeys = regexp.MustCompile(`^\S+:\d+$`)
