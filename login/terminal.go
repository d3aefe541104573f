package login

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"golang.org/x/term"
)

// Asker asks the person at this machine, for [Config.Ask]: on the terminal, or through the program that
// SSH_ASKPASS names, by the rules of ssh(1).
type Asker struct {
	Askpass string // the program; empty if there is none (SSH_ASKPASS)
	Require string // "never", "prefer", "force", or "" for only without a terminal (SSH_ASKPASS_REQUIRE)
	Display bool   // there is a screen for the program to appear on (DISPLAY, WAYLAND_DISPLAY)
}

// maxAnswer bounds an answer, in bytes.
const maxAnswer = 4 << 10

// Ask puts the question and returns the answer without its line end.
func (a Asker) Ask(ctx context.Context, question string, echo bool) (string, error) {
	allowed := a.Askpass != "" && (a.Display || a.Require == "force") && a.Require != "never"
	if allowed && (a.Require == "force" || a.Require == "prefer") {
		return a.askpass(ctx, question)
	}
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err == nil {
		answer, err := askTerminal(ctx, tty, question, echo)
		return answer, errors.Join(err, tty.Close())
	}
	if allowed {
		return a.askpass(ctx, question)
	}
	return "", errNobodyToAsk
}

// askpass runs the program with the question as its argument and takes the first line that it prints.
func (a Asker) askpass(ctx context.Context, question string) (string, error) {
	cmd := exec.CommandContext(ctx, a.Askpass, question)
	cmd.Stderr = os.Stderr
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("ask with %q: %w", a.Askpass, err)
	}
	line, _, _ := bytes.Cut(out, []byte("\n"))
	if len(line) > maxAnswer {
		return "", fmt.Errorf("ask with %q: the answer is too long", a.Askpass)
	}
	return string(bytes.TrimSuffix(line, []byte("\r"))), nil
}

// askTerminal asks on tty and puts it back as it was. Interrupting is an error.
func askTerminal(ctx context.Context, tty *os.File, question string, echo bool) (answer string, err error) {
	raw, err := tty.SyscallConn() // Fd would make reads that nothing can interrupt
	if err != nil {
		return "", err
	}
	var before *term.State
	var modeErr error
	err = raw.Control(func(fd uintptr) { before, modeErr = term.MakeRaw(int(fd)) })
	if err = errors.Join(err, modeErr); err != nil {
		return "", fmt.Errorf("prepare the terminal: %w", err)
	}
	defer func() {
		var restoreErr error
		ctlErr := raw.Control(func(fd uintptr) { restoreErr = term.Restore(int(fd), before) })
		err = errors.Join(err, ctlErr, restoreErr)
	}()
	stop := context.AfterFunc(ctx, func() { _ = tty.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()

	// The lines before the last are text; the last is what the answer is typed after.
	screen := term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{io.LimitReader(tty, maxAnswer), tty}, "")
	prompt := question
	if i := bytes.LastIndexByte([]byte(question), '\n'); i >= 0 {
		if _, err := io.WriteString(screen, question[:i+1]); err != nil {
			return "", err
		}
		prompt = question[i+1:]
	}
	if echo {
		screen.SetPrompt(prompt)
		answer, err = screen.ReadLine()
	} else {
		answer, err = screen.ReadPassword(prompt)
	}
	switch {
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	case errors.Is(err, io.EOF): // ^C or ^D
		// Not through screen, which would draw the line anew and show what was typed of a password.
		_, _ = io.WriteString(tty, "\r\n")
		return "", errors.New("interrupted")
	}
	return answer, err
}
