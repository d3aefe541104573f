package peers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"syscall"

	"github.com/culvert-ssh/culvert/internal/stage"
)

// Console is a program that is typed into while it runs.
type Console struct {
	name string
	cmd  *exec.Cmd
	in   io.WriteCloser
	said *stage.Transcript
	home string
	done chan struct{}
}

// StartConsole starts a program. The caller must close it.
func StartConsole(ctx context.Context, name string, args ...string) (*Console, error) {
	path, err := Find(name)
	if err != nil {
		return nil, err
	}
	c := &Console{name: name, said: stage.NewTranscript(), done: make(chan struct{})}
	if c.home, err = os.MkdirTemp("", "culvert-"+name+"-"); err != nil {
		return nil, fmt.Errorf("run %s: %w", name, err)
	}
	c.cmd = command(ctx, c.home, path, args...)
	c.cmd.Stdout, c.cmd.Stderr = c.said, c.said
	if c.in, err = c.cmd.StdinPipe(); err == nil {
		err = c.cmd.Start()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("run %s: %w", name, err), os.RemoveAll(c.home))
	}
	go func() { // ends with the program, which Close waits for
		_ = c.cmd.Wait() // how it ended is in what it said
		close(c.done)
	}()
	return c, nil
}

// Type types a line. A program that has ended doesn't read it, and Await will say so.
func (c *Console) Type(line string) { _, _ = io.WriteString(c.in, line+"\n") }

// Interrupt is Control-C.
func (c *Console) Interrupt() { _ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGINT) } // fails only after the end

// Await waits until the program has said something that pattern matches.
func (c *Console) Await(ctx context.Context, pattern string) error {
	want := regexp.MustCompile(pattern)
	done := c.done
	for {
		text, changed := c.said.State()
		switch {
		case want.MatchString(text):
			return nil
		case done == nil:
			return fmt.Errorf("%s ended before it said %q:\n%s", c.name, pattern, text)
		}
		select {
		case <-changed:
		case <-done:
			done = nil // look once more
		case <-ctx.Done():
			return fmt.Errorf("%s didn't say %q: %w:\n%s", c.name, pattern, context.Cause(ctx), text)
		}
	}
}

// Said returns what the program has said so far.
func (c *Console) Said() string { return c.said.String() }

// Close kills the program, waits for its end and removes its folder.
func (c *Console) Close() error {
	_ = c.cmd.Cancel() // fails only if it has ended already
	<-c.done
	return os.RemoveAll(c.home)
}
