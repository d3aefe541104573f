package auth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestSplitWordsAsSSHD(t *testing.T) {
	for line, want := range map[string][]string{
		"":                         nil,
		" \t":                      nil,
		"/bin/a":                   {"/bin/a"},
		" /bin/a\tb  c ":           {"/bin/a", "b", "c"},
		`/bin/a "b c" 'd "e'`:      {"/bin/a", "b c", `d "e`},
		`/bin/a b"c d"e`:           {"/bin/a", "bc de"},
		`/bin/a "" ''`:             {"/bin/a", "", ""},
		`/bin/a b\ c \" \' \\ \n`:  {"/bin/a", "b c", `"`, "'", `\`, `\n`},
		`/bin/a "b\ c\"" 'd\'e' f`: {"/bin/a", `b\ c"`, "d'e", "f"},
		`/bin/a \`:                 {"/bin/a", `\`},
		`/bin/a $HOME;b|c #d`:      {"/bin/a", "$HOME;b|c", "#d"},
	} {
		if got, err := splitWords(line); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: got %q, %v, want %q", line, got, err, want)
		}
	}
	for _, line := range []string{`/bin/a "b`, `/bin/a '`, `'a\'`} {
		if got, err := splitWords(line); err == nil {
			t.Errorf("%s: got %q, want an error", line, got)
		}
	}
}

func TestTokensAreExpandedWithinOneArgument(t *testing.T) {
	hostile := `x y"; $(touch /) 'z' %u`
	cmd := Command{Line: `/bin/a -k=%k "%u %%" %%u`, Tokens: map[byte]string{'u': "alice", 'k': hostile}}
	got, err := cmd.argv()
	if want := []string{"/bin/a", "-k=" + hostile, "alice %", "%u"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	got, err = Command{Line: "/bin/%u", Tokens: cmd.Tokens, Argument: "alice"}.argv()
	if want := []string{"/bin/%u", "alice"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("alone: got %q, %v, want %q", got, err, want)
	}
	for line, want := range map[string]string{
		"": "empty", "/bin/a %x": "nothing is known here for %x", "/bin/a 10%": "ends with %", `/bin/a "`: "quote",
	} {
		if got, err := (Command{Line: line, Tokens: cmd.Tokens}).argv(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %q, %v, want %q", line, got, err, want)
		}
	}
	cmd = Command{Line: "/bin/a %i", Tokens: map[byte]string{'i': "a\x00b"}}
	if got, err := cmd.argv(); err == nil {
		t.Errorf("NUL: got %q, want an error", got)
	}
}

// commands are Commands on a folder of scripts.
type commands struct {
	*Commands
	t    *testing.T
	dir  string
	user string // nobody if we are root

	mu         sync.Mutex
	complaints []string
	clock      time.Time
}

func newTestCommands(t *testing.T) *commands {
	t.Helper()
	self, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	c := &commands{t: t, dir: t.TempDir(), user: self.Username, clock: time.Unix(1e9, 0)}
	if os.Geteuid() == 0 {
		c.user = "nobody"
		chmod(t, filepath.Dir(c.dir), 0o755)
	}
	c.Commands = NewCommands(func() time.Time {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.clock
	}, func(command, text string) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.complaints = append(c.complaints, text)
	})
	return c
}

// script writes a program and returns its path.
func (c *commands) script(name, text string) string {
	c.t.Helper()
	path := filepath.Join(c.dir, name)
	// Another test may be forking just now, and would keep the file open for writing: rename it into place.
	if err := os.WriteFile(path+".new", []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		c.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		c.t.Fatal(err)
	}
	return path
}

// file makes one that the script may write to, and read makes it read what is there.
func (c *commands) file(name string) string {
	c.t.Helper()
	path := filepath.Join(c.dir, name)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		c.t.Fatal(err)
	}
	chmod(c.t, path, 0o666)
	return path
}

func chmod(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func (c *commands) output(line string) (string, error) {
	out, err := c.Output(c.t.Context(), Command{Line: line, User: c.user, Tokens: map[byte]string{'u': "alice"}})
	return string(out), err
}

// refused asks and wants an error.
func (c *commands) refused(line, want string) {
	c.t.Helper()
	if out, err := c.output(line); err == nil || out != "" || !strings.Contains(err.Error(), want) {
		c.t.Errorf("%s: got %.40q, %v, want an error with %q", line, out, err, want)
	}
}

func TestCommandRunsAsItsUserWithNothingOfOurs(t *testing.T) {
	c := newTestCommands(t)
	t.Setenv("SECRET", "x")
	t.Setenv("LANG", "C")
	held, err := os.Open(os.DevNull) // it must not be handed on
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	c.script("who", `id -un; id -G; pwd; env | sort; cat; ls /proc/self/fd; echo "$@"`)
	out, err := c.output(filepath.Join(c.dir, "who") + ` %u "a b"`)
	if err != nil {
		t.Fatal(err)
	}
	u, err := user.Lookup(c.user)
	if err != nil {
		t.Fatal(err)
	}
	ids, err := u.GroupIds()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(out, "\n")
	groups := strings.Fields(lines[1])
	slices.Sort(groups)
	slices.Sort(ids)
	if lines[0] != c.user || !slices.Equal(groups, ids) || lines[2] != "/" {
		t.Errorf("got %q, want user %s, groups %s, folder /", lines[:3], c.user, ids)
	}
	rest := strings.Join(lines[3:], "\n")
	want := fmt.Sprintf("HOME=%s\nLANG=C\nLOGNAME=%s\nPATH=/usr/bin:/bin:/usr/sbin:/sbin\nPWD=/\nUSER=%s\n0\n1\n2\n3\nalice a b\n", u.HomeDir, c.user, c.user)
	if rest != want { // 3 is the folder that ls reads
		t.Errorf("got %q, want %q", rest, want)
	}
}

func TestCommandThatFailsHasNoOutput(t *testing.T) {
	c := newTestCommands(t)
	c.refused(c.script("status", "echo ssh-ed25519 AAAA; exit 1"), "exit status 1")
	c.refused(c.script("killed", "echo ssh-ed25519 AAAA; kill -9 $$"), "signal: killed")
	c.refused(c.script("huge", "exec cat /dev/zero"), "more than 1048576 bytes")
	c.refused(filepath.Join(c.dir, "missing"), "no such file")
	c.refused("who", "not an absolute path")
	c.refused(c.dir, "not a regular file")
	if out, err := c.Output(t.Context(), Command{Line: c.script("ok", "echo ok"), User: "nobody-by-this-name"}); err == nil {
		t.Errorf("unknown user: got %q, want an error", out)
	}
}

func TestCommandThatHangsIsKilledWithItsChildren(t *testing.T) {
	for name, text := range map[string]string{
		"slow":                  `exec 9>"$1"; echo x >&9; sleep 60 & sleep 60`,
		"its child holds on":    `exec 9>"$1"; echo x >&9; echo ssh-ed25519 AAAA; sleep 60 &`,
		"closes its output":     `exec 9>"$1"; echo x >&9; exec >&- 2>&-; sleep 60 & sleep 60`,
		"asks to be left alone": `trap "" TERM HUP INT; exec 9>"$1"; echo x >&9; sleep 60 & wait`,
	} {
		t.Run(name, func(t *testing.T) {
			c := newTestCommands(t)
			c.limit = time.Second
			fifo := filepath.Join(c.dir, "fifo")
			if err := syscall.Mkfifo(fifo, 0o600); err != nil {
				t.Fatal(err)
			}
			chmod(t, fifo, 0o666)
			f, err := os.OpenFile(fifo, os.O_RDONLY|syscall.O_NONBLOCK, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			c.refused(c.script("hang", text)+" "+fifo, "it didn't end within 1s")
			// The end of the fifo is that of all who had it open.
			if err := f.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(f); err != nil || string(got) != "x\n" {
				t.Errorf("got %q, %v, want all of them to have run and ended", got, err)
			}
		})
	}
}

func TestChildThatLeftTheProcessGroupHoldsNothingUp(t *testing.T) {
	if _, err := os.Stat("/usr/bin/setsid"); err != nil {
		t.Fatal("no setsid(1): install util-linux")
	}
	c := newTestCommands(t)
	c.limit = time.Second
	pid := c.file("pid")
	c.refused(c.script("daemon", `setsid sh -c 'echo $$ >"$1"; exec sleep 60' sh "$1" & sleep 0.2`)+" "+pid, "it didn't end within 1s")
	data, err := os.ReadFile(pid)
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if _, err := fmt.Sscan(string(data), &n); err != nil {
		t.Fatalf("%q: %v", data, err)
	}
	_ = syscall.Kill(n, syscall.SIGKILL)
}

func TestCommandMustBeTrusted(t *testing.T) {
	c := newTestCommands(t)
	group := c.script("group", "echo x")
	chmod(t, group, 0o775)
	c.refused(group, "is open to others")
	link := filepath.Join(c.dir, "link")
	if err := os.Symlink(group, link); err != nil {
		t.Fatal(err)
	}
	c.refused(link, "is open to others")
	open := filepath.Join(c.dir, "open")
	if err := os.Mkdir(open, 0o700); err != nil {
		t.Fatal(err)
	}
	below := c.script("open/below", "echo x")
	chmod(t, open, 0o777)
	c.refused(below, "writable by others")
	if os.Geteuid() != 0 {
		return // only root can give a file to somebody else
	}
	foreign := c.script("foreign", "echo x")
	if err := os.Chown(foreign, 12345, 0); err != nil {
		t.Fatal(err)
	}
	c.refused(foreign, "belongs to user id 12345")
}

func TestOnlyRootRunsACommandAsSomebodyElse(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("we are root")
	}
	c := newTestCommands(t)
	c.user = "root"
	c.refused(c.script("ok", "echo ok"), "only root may run it")
}

func TestComplaintIsHandedOnAndBounded(t *testing.T) {
	c := newTestCommands(t)
	out, err := c.output(c.script("loud", "echo first >&2; head -c 1000000 /dev/zero >&2; echo out"))
	if err != nil || out != "out\n" {
		t.Errorf("got %q, %v, want out", out, err)
	}
	if len(c.complaints) != 1 || len(c.complaints[0]) != maxComplaint || !strings.HasPrefix(c.complaints[0], "first\n") {
		t.Errorf("got %d complaints, %.20q, want one of %d bytes", len(c.complaints), c.complaints, maxComplaint)
	}
}

func TestAnswersAreKeptForAMoment(t *testing.T) {
	c := newTestCommands(t)
	runs := c.file("runs")
	line := c.script("count", `echo x >>"$1"; [ "$2" != fail ]`) + " " + runs
	count := func(what, line string, want int) {
		t.Helper()
		_, _ = c.output(line)
		data, err := os.ReadFile(runs)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(string(data), "x"); got != want {
			t.Errorf("%s: %d runs, want %d", what, got, want)
		}
	}
	count("first", line, 1)
	count("again", line, 1)
	count("another question", line+" other", 2)
	count("one that fails", line+" fail", 3)
	count("again", line+" fail", 3)
	c.mu.Lock()
	c.clock = c.clock.Add(answerTime)
	c.mu.Unlock()
	count("later", line, 4)
	c.Forget()
	count("after a reload", line, 5)
	if c.bytes <= 0 || len(c.answers) != 1 {
		t.Errorf("%d bytes, %d answers, want one", c.bytes, len(c.answers))
	}
}

// gate holds programs up.
type gate struct {
	t            *testing.T
	line         string   // of a program that waits at the gate
	began, leave *os.File // each that begins writes a line, and ends when it reads one
}

func (c *commands) gate() gate {
	c.t.Helper()
	open := func(name string) *os.File {
		path := filepath.Join(c.dir, name)
		if err := syscall.Mkfifo(path, 0o600); err != nil {
			c.t.Fatal(err)
		}
		chmod(c.t, path, 0o666)
		f, err := os.OpenFile(path, os.O_RDWR|syscall.O_NONBLOCK, 0)
		if err != nil {
			c.t.Fatal(err)
		}
		c.t.Cleanup(func() { _ = f.Close() })
		return f
	}
	g := gate{t: c.t, began: open("began"), leave: open("leave")}
	g.line = c.script("wait", `echo x >"$1"; head -n 1 "$2"`) + " " + g.began.Name() + " " + g.leave.Name()
	return g
}

// await waits until another program has begun.
func (g gate) await() {
	g.t.Helper()
	if err := g.began.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		g.t.Fatal(err)
	}
	if _, err := g.began.Read(make([]byte, 2)); err != nil {
		g.t.Fatal(err)
	}
}

func (g gate) open() {
	g.t.Helper()
	if _, err := g.leave.WriteString("open\n"); err != nil {
		g.t.Fatal(err)
	}
}

func TestEqualQuestionsRunOneProcess(t *testing.T) {
	c := newTestCommands(t)
	g := c.gate()
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if out, err := c.output(g.line); err != nil || out != "open\n" {
				t.Errorf("got %q, %v", out, err)
			}
		})
	}
	g.await()
	g.open()
	wg.Wait()
	if err := g.began.SetReadDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	if n, err := g.began.Read(make([]byte, 2)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %d bytes, %v, want that no other has begun", n, err)
	}
}

func TestQuestionOutlivesWhoAskedFirst(t *testing.T) {
	c := newTestCommands(t)
	g := c.gate()
	cmd := Command{Line: g.line, User: c.user}
	first, leave := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if out, err := c.Output(first, cmd); !errors.Is(err, context.Canceled) {
			t.Errorf("first: got %q, %v, want that it has left", out, err)
		}
	})
	g.await()
	wg.Go(func() {
		if out, err := c.Output(t.Context(), cmd); err != nil || string(out) != "open\n" {
			t.Errorf("second: got %q, %v, want an answer", out, err)
		}
	})
	leave()
	g.await()
	g.open()
	wg.Wait()
}

func TestFewCommandsRunAtOnce(t *testing.T) {
	c := newTestCommands(t)
	c.limit = 100 * time.Millisecond
	for range maxCommands {
		c.running <- struct{}{} // others are at it
	}
	c.refused(c.script("ok", "echo ok"), "8 others were running all the time")
	<-c.running
	c.limit = commandTime
	c.Forget()
	if out, err := c.output(filepath.Join(c.dir, "ok")); err != nil || out != "ok\n" {
		t.Errorf("with a free place: got %q, %v", out, err)
	}
}

func TestKeptAnswersAreBounded(t *testing.T) {
	c := NewCommands(func() time.Time { return time.Unix(1, 0) }, nil)
	large := make([]byte, 1<<20)
	for i := range 2 * maxAnswers {
		key := fmt.Sprint(i)
		a, mine := c.ask(key)
		if !mine {
			t.Fatal("an answer that nobody gave")
		}
		if i%100 == 0 {
			a.out = large
		}
		a.until = c.now().Add(answerTime)
		c.keep(key, a)
		close(a.done)
		if c.bytes > maxAnswerBytes || len(c.answers) > maxAnswers {
			t.Fatalf("after %d: %d answers, %d bytes", i, len(c.answers), c.bytes)
		}
	}
	if len(c.answers) < maxAnswers/2 {
		t.Errorf("%d answers are kept", len(c.answers))
	}
}
