//go:build unix

package standing

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// background marks the process that Start has started, in its environment.
const background = "CULVERT_BACKGROUND"

// readyFile is what Start hands over for the one word that it waits for.
const readyFile = 3

// Start starts program as a process that outlives this one, in a session of its own, and returns when that is ready for calls, or has seen that
// another one is. What it writes goes into the log.
func (p Place) Start(ctx context.Context, program string, args ...string) error {
	log, err := p.OpenLog()
	if err != nil {
		return err
	}
	defer log.Close()
	heard, says, err := os.Pipe()
	if err != nil {
		return err
	}
	defer heard.Close()
	cmd := exec.Command(program, args...)
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), background+"=1")
	cmd.Stdout, cmd.Stderr = log.file, log.file
	cmd.ExtraFiles = []*os.File{says}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	_ = says.Close() // it was handed over, if it was
	if err != nil {
		return fmt.Errorf("start the background process: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = heard.Close() })
	defer stop()
	text, err := io.ReadAll(io.LimitReader(heard, 4<<10))
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if word := strings.TrimSpace(string(text)); err != nil || word != "ready" {
		_ = cmd.Wait() // it has ended, or is about to
		if word == "" {
			word = "it ended at once, " + filepath.Join(p.Dir, logName) + " may say why"
		}
		return errors.Join(err, fmt.Errorf("start the background process: %s", word))
	}
	return cmd.Process.Release()
}

// Background returns what a process that Start has started must call once: with nil when it is ready, or with what is wrong. It returns nil
// in any other process. It is to be called first of all, so that what this process starts is not taken for it.
func Background() (ready func(error)) {
	if os.Getenv(background) == "" {
		return nil
	}
	_ = os.Unsetenv(background) // fails on no name that is one
	syscall.CloseOnExec(readyFile)
	f := os.NewFile(readyFile, "ready")
	said := false
	return func(err error) {
		if said {
			return
		}
		said = true
		word := "ready"
		if err != nil && !errors.Is(err, ErrTaken) {
			word = err.Error()
		}
		_, _ = io.WriteString(f, word+"\n") // or who waits has gone
		_ = f.Close()
	}
}
