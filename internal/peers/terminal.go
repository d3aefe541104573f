package peers

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Terminal is a program in a window of tmux, which draws what the program says as a terminal does.
type Terminal struct {
	tb     testing.TB
	tmux   string
	socket string
	home   string
}

// TestTerminal runs a program in a terminal of so many cells and lines for the duration of a test, and shows the screen if the test
// fails. The variables are added to the environment.
func TestTerminal(tb testing.TB, width, height int, variables []string, program string, args ...string) *Terminal {
	tb.Helper()
	tmux, err := Find("tmux")
	if err != nil {
		tb.Fatal(err)
	}
	home, err := os.MkdirTemp("", "culvert-tmux-") // the path of a socket must be short
	if err != nil {
		tb.Fatal(err)
	}
	t := &Terminal{tb: tb, tmux: tmux, home: home, socket: filepath.Join(home, "s")}
	tb.Cleanup(t.close)
	words := append([]string{"env", "TERM=tmux-256color", "LC_ALL=C.UTF-8"}, variables...)
	words = append(append(words, program), args...)
	for i, w := range words { // tmux hands them to a shell
		words[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
	}
	// What it has left on the screen stays, also if it ends by an interrupt.
	t.run("-f", "/dev/null", "new-session", "-d", "-x", strconv.Itoa(width), "-y", strconv.Itoa(height), "trap : INT; "+strings.Join(words, " ")+"; sleep 1000")
	return t
}

// run asks tmux for something.
func (t *Terminal) run(args ...string) string {
	t.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	out, err := t.command(ctx, args...).CombinedOutput()
	if err != nil {
		t.tb.Fatalf("tmux %q: %v\n%s", args, err, out)
	}
	return string(out)
}

func (t *Terminal) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := command(ctx, t.home, t.tmux, append([]string{"-u", "-S", t.socket}, args...)...)
	cmd.Env = append(cmd.Env, "LC_ALL=C.UTF-8", "TERM=xterm", "SHELL=/bin/sh")
	return cmd
}

// Screen returns the lines on the screen, without the blanks behind each and the empty ones at the end.
func (t *Terminal) Screen() []string { return t.capture() }

// Colored is Screen with the sequences that colour it.
func (t *Terminal) Colored() []string { return t.capture("-e") }

// Everything is Screen with what has been scrolled off before it.
func (t *Terminal) Everything() []string { return t.capture("-S", "-") }

func (t *Terminal) capture(from ...string) []string {
	t.tb.Helper()
	lines := strings.Split(strings.TrimRight(t.run(append([]string{"capture-pane", "-p"}, from...)...), "\n"), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight(line, " ")
	}
	return lines
}

// Resize makes the terminal another size.
func (t *Terminal) Resize(width, height int) {
	t.tb.Helper()
	t.run("resize-window", "-x", strconv.Itoa(width), "-y", strconv.Itoa(height))
}

// Type types keys by their names for tmux: "C-c", "Enter".
func (t *Terminal) Type(keys ...string) {
	t.tb.Helper()
	t.run(append([]string{"send-keys"}, keys...)...)
}

// Await waits until ok is content with what show returns, which is Screen or Everything.
func (t *Terminal) Await(what string, show func() []string, ok func(lines []string) bool) []string {
	t.tb.Helper()
	for deadline := time.Now().Add(startTimeout); ; time.Sleep(50 * time.Millisecond) {
		lines := show()
		if ok(lines) {
			return lines
		}
		if time.Now().After(deadline) {
			t.tb.Fatalf("the screen doesn't show %s:\n%s", what, strings.Join(lines, "\n"))
		}
	}
}

func (t *Terminal) close() {
	if t.tb.Failed() {
		ctx, cancel := context.WithTimeout(context.Background(), killDelay)
		defer cancel()
		screen, err := t.command(ctx, "capture-pane", "-p").Output()
		t.tb.Logf("the screen (%v):\n%s", err, screen)
	}
	ctx, cancel := context.WithTimeout(context.Background(), killDelay)
	defer cancel()
	if out, err := t.command(ctx, "kill-server").CombinedOutput(); err != nil && t.tb.Context().Err() == nil {
		t.tb.Errorf("end tmux: %v\n%s", err, out)
	}
	if err := os.RemoveAll(t.home); err != nil {
		t.tb.Error(fmt.Errorf("end tmux: %w", err))
	}
}
