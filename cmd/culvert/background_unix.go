//go:build unix

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

// backgroundVariable tells a process that it is the one which goes to the background, and by which descriptor its parent waits for that.
const backgroundVariable = "CULVERT_BACKGROUND"

// wordReady is what the parent is told.
const wordReady = "ready"

// startBackground starts the program again, as the one that will go to the background, and returns when it has, or has ended. Until then it is
// of the same session, so that it can ask on the terminal and is interrupted there.
func startBackground() error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("go to the background: %w", err)
	}
	read, write, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("go to the background: %w", err)
	}
	defer read.Close()
	child := exec.Command(self, os.Args[1:]...)
	child.Env = append(os.Environ(), backgroundVariable+"=3")
	child.Stderr = os.Stderr
	child.ExtraFiles = []*os.File{write} // its descriptor 3
	signals := make(chan os.Signal, 1)   // what a terminal sends comes to the child as well
	signal.Notify(signals, syscall.SIGTERM)
	defer signal.Stop(signals)
	err = child.Start()
	_ = write.Close() // the child has its own
	if err != nil {
		return fmt.Errorf("go to the background: %w", err)
	}
	done := make(chan struct{})
	defer close(done)
	go func() {
		for {
			select {
			case s := <-signals:
				_ = child.Process.Signal(s) // fails only after its end
			case <-done:
				return
			}
		}
	}()
	word, _ := io.ReadAll(read) // until the child has closed it, or has ended
	if string(word) == wordReady {
		return nil
	}
	var exit *exec.ExitError
	if err = child.Wait(); errors.As(err, &exit) && exit.Exited() {
		return exitError(exit.ExitCode())
	}
	if err == nil { // it was told to end
		return nil
	}
	return fmt.Errorf("what was to go to the background: %w", err)
}

// goesToBackground reports whether this is the process that startBackground has started. It is then to call ready once. It must be called before
// any program is run: one that has the descriptor, and stays, would keep the parent waiting.
func goesToBackground() (ready func(quiet bool) error, ok bool) {
	fd, err := strconv.Atoi(os.Getenv(backgroundVariable))
	if err != nil {
		return nil, false
	}
	_ = os.Unsetenv(backgroundVariable) // it is not for programs that this one runs
	syscall.CloseOnExec(fd)
	parent := os.NewFile(uintptr(fd), "parent")
	return func(quiet bool) error {
		defer parent.Close()
		if _, err := syscall.Setsid(); err != nil {
			return fmt.Errorf("begin a session: %w", err)
		}
		if quiet {
			if err := nowhere(os.Stderr); err != nil {
				return err
			}
		}
		_ = parent.SetWriteDeadline(time.Now().Add(time.Second)) // a pipe takes that much at once
		_, err := io.WriteString(parent, wordReady)
		return err
	}, true
}

// nowhere has what is written to f go nowhere.
func nowhere(f *os.File) error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	if err := dup(int(null.Fd()), int(f.Fd())); err != nil {
		return fmt.Errorf("let go of standard error: %w", err)
	}
	return nil
}
