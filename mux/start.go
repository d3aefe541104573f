//go:build unix

package mux

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// SSH says how an ssh is started as a master.
type SSH struct {
	Program string
	Args    []string          // options of ssh(1), and the destination
	Say     func(line string) // told what ssh says, which is not fit for a terminal; prompts go to the terminal itself
}

const (
	// persistence is how long an ssh that was started lives when nobody is attached to it: when this process was killed.
	persistence = "5"

	// aliveInterval is what the SSH server is asked for a sign of life after, in seconds, where the user's configuration says never: a
	// connection that can move no byte should not hang.
	aliveInterval = "30"
)

// Start starts an ssh that logs in, asks what there is to ask on its terminal, and then serves this process alone, in the background. It ends
// with Close; if this process is killed, a few seconds later. The caller must call Close.
func Start(ctx context.Context, s SSH) (*Master, error) {
	folder, err := os.MkdirTemp("", "culvert-ssh-") // mode 0700
	if err != nil {
		return nil, fmt.Errorf("make a folder for ssh: %w", err)
	}
	words, err := hear(filepath.Join(folder, "log"), s.Say)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	end := func() { words.end(); _ = os.RemoveAll(folder) } // what is left of it holds nothing
	socket := filepath.Join(folder, "s")
	if err := s.logIn(ctx, socket, words); err != nil {
		end()
		return nil, err
	}
	m, err := Dial(ctx, socket)
	if err != nil {
		end() // the ssh doesn't outlive persistence
		return nil, err
	}
	m.ended = end
	return m, nil
}

// logIn returns when ssh has logged in and gone to the background.
func (s SSH) logIn(ctx context.Context, socket string, words *words) error {
	// For what goes wrong before ssh looks at -E. It is opened anew, as one that a process is started with can't be waited for any more.
	stderr, err := os.OpenFile(words.file.Name(), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer stderr.Close()
	asks, err := s.asksForLife(ctx, stderr)
	if err != nil {
		return words.failure(err)
	}
	args := []string{
		"-M", "-N", "-T", "-S", socket, "-E", words.file.Name(),
		"-o", "ControlPersist=" + persistence,
	}
	if !asks {
		args = append(args, "-o", "ServerAliveInterval="+aliveInterval)
	}
	cmd := s.command(ctx, append(args, s.Args...)...)
	cmd.Stderr = stderr
	endsWithUs(cmd) // it may wait for an answer for ever, or for a password
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Run(); err != nil {
		return words.failure(err)
	}
	return nil
}

// asksForLife reports whether ssh's configuration has it ask the SSH server for signs of life.
func (s SSH) asksForLife(ctx context.Context, stderr *os.File) (bool, error) {
	cmd := s.command(ctx, append([]string{"-G", "-T"}, s.Args...)...)
	cmd.Stderr = stderr
	out, err := cmd.Output()
	return !strings.Contains("\n"+string(out), "\nserveraliveinterval 0\n"), err
}

func (s SSH) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, s.Program, args...)
	cmd.WaitDelay = time.Second
	return cmd
}

// words is what an ssh says.
type words struct {
	file *os.File // a FIFO, which has a writer as long as this is open
	say  func(string)
	done chan struct{} // closed when nobody listens any more

	mu   sync.Mutex
	last string
	mark chan struct{} // closed when theEnd was heard
}

const (
	// maxWords bounds a line.
	maxWords = 4096

	// theEnd is a line that no ssh says.
	theEnd = "\x00"
)

func hear(path string, say func(string)) (*words, error) {
	if err := unix.Mkfifo(path, 0o600); err != nil {
		return nil, &os.PathError{Op: "mkfifo", Path: path, Err: err}
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	w := &words{file: f, say: say, done: make(chan struct{}), mark: make(chan struct{})}
	go w.listen()
	return w, nil
}

func (w *words) listen() {
	defer close(w.done)
	for in := bufio.NewReaderSize(w.file, maxWords); ; {
		line, _, err := in.ReadLine() // what is longer comes in parts
		if err != nil {
			return
		}
		text := strings.TrimRight(string(line), "\r")
		if text == theEnd {
			close(w.mark)
			return
		}
		if text != "" {
			w.mu.Lock()
			w.last = text
			w.mu.Unlock()
			w.say(text)
		}
	}
}

// failure says why ssh has failed, by its last words.
func (w *words) failure(err error) error {
	if _, errWrite := io.WriteString(w.file, theEnd+"\n"); errWrite == nil {
		<-w.mark
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var exit *exec.ExitError
	if errors.As(err, &exit) && w.last != "" {
		return fmt.Errorf("ssh did not log in: %q", w.last)
	}
	return fmt.Errorf("ssh did not log in: %w", err)
}

// end waits until nobody listens any more.
func (w *words) end() {
	_ = w.file.Close()
	<-w.done
}
