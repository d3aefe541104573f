package screen_test

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/culvert-ssh/culvert/internal/peers"
	"github.com/culvert-ssh/culvert/screen"
)

// draws is set for the program that runs in the terminal: this test, which reads what to do from the pipe of that name.
const draws = "CULVERT_TEST_DRAWS"

func TestMain(m *testing.M) {
	if pipe := os.Getenv(draws); pipe != "" {
		draw(pipe)
		return
	}
	os.Exit(m.Run())
}

// draw does what the lines of a pipe say.
func draw(pipe string) {
	s, err := screen.Open(os.Stderr)
	if err != nil {
		fmt.Println(err)
		return
	}
	f, err := os.OpenFile(pipe, os.O_RDWR, 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	resume := func() {}
	var block []string
	for in := bufio.NewScanner(f); in.Scan(); {
		verb, rest, _ := strings.Cut(in.Text(), " ")
		switch verb {
		case "block":
			block = strings.Split(rest, "|")
			s.Draw(block)
		case "again":
			s.Draw(block)
		case "none":
			s.Draw(nil)
		case "line":
			fmt.Fprintln(s, rest)
		case "pause":
			resume = s.Pause()
			fmt.Fprint(os.Stderr, rest)
		case "resume":
			resume()
			s.Draw(block)
		case "close":
			s.Close()
		case "leave":
			s.Leave()
			fmt.Fprint(os.Stderr, rest)
		}
	}
}

// terminal is a terminal with a program that draws.
type terminal struct {
	*peers.Terminal
	t     *testing.T
	pipe  *os.File
	again bool // draw before each look
}

func start(t *testing.T, width, height int) *terminal {
	t.Helper()
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(pipe, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return &terminal{Terminal: peers.TestTerminal(t, width, height, []string{draws + "=" + pipe}, self), t: t, pipe: f}
}

func (x *terminal) do(line string) { fmt.Fprintln(x.pipe, line) }

// want waits until the screen, with what was scrolled off it, has these lines alone.
func (x *terminal) want(lines ...string) {
	x.t.Helper()
	shown := x.Await(strings.Join(lines, " / "), x.Everything, func(got []string) bool { return slices.Equal(got, lines) })
	if diff := cmp.Diff(lines, shown); diff != "" {
		x.t.Errorf("screen (-want +got):\n%s", diff)
	}
}

func TestLinesGoAboveTheBlock(t *testing.T) {
	t.Parallel()
	x := start(t, 20, 5)
	x.do("line one")
	x.do("block a|b")
	x.want("one", "a", "b")
	x.do("line two")
	x.want("one", "two", "a", "b")
	x.do("block aa|bb|cc")
	x.want("one", "two", "aa", "bb", "cc")
	x.do("line three")
	x.want("one", "two", "three", "aa", "bb", "cc")
	x.do("block d")
	x.want("one", "two", "three", "d")
	x.do("line a long line that needs two")
	x.want("one", "two", "three", "a long line that nee", "ds two", "d")
	x.do("none")
	x.want("one", "two", "three", "a long line that nee", "ds two")
	x.do("block e")
	x.do("close")
	x.do("line end")
	x.want("one", "two", "three", "a long line that nee", "ds two", "end")
}

// wantBlock waits until these are the last lines on the screen, and nothing that looks like one is left above.
func (x *terminal) wantBlock(lines ...string) {
	x.t.Helper()
	x.Await(strings.Join(lines, " / "), x.Screen, func(got []string) bool {
		if x.again {
			x.do("again")
		}
		above := len(got) - len(lines)
		left := func(line string) bool { return strings.HasPrefix(line, "block") }
		return above >= 0 && slices.Equal(got[above:], lines) && !slices.ContainsFunc(got[:above], left)
	})
}

func TestBlockFollowsTheSizeOfTheTerminal(t *testing.T) {
	t.Parallel()
	x := start(t, 30, 6)
	x.do("line one")
	wide := []string{"block a 9 123456789 12345", "block b 9 123456789 12345", "block c"}
	x.do("block " + strings.Join(wide, "|"))
	x.wantBlock(wide...)
	for range 3 {
		x.Resize(16, 6)
		x.do("block block a|block b|block c") // what its owner has made for the new width
		x.wantBlock("block a", "block b", "block c")
		x.Resize(30, 6)
		x.do("block " + strings.Join(wide, "|"))
		x.wantBlock(wide...)
	}
	x.do("line two")
	x.do("block block 1|block 2|block 3|block 4|block 5|block 6|block 7") // a line is left for what goes above
	x.wantBlock("block 1", "block 2", "block 3", "block 4", "block 5")
	x.Resize(30, 4)
	x.again = true // as its owner draws it again and again
	x.wantBlock("block 1", "block 2", "block 3")
}

func TestBlockIsAwayWhileAPersonIsAsked(t *testing.T) {
	t.Parallel()
	x := start(t, 30, 6)
	x.do("block a|b")
	x.want("a", "b")
	x.do("pause password: ")
	x.want("password:")
	x.do("block c")
	x.do("line one") // as who asks ends the line
	x.want("password: one")
	x.do("resume")
	x.want("password: one", "c")
	x.do("leave $")
	x.want("password: one", "c", "$")
}

func TestOnlyATerminalIsDrawnOn(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := screen.Open(f); err == nil {
		t.Error("a file is a screen")
	}
}
