package stage

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
	"time"
)

// Patience is how long anything may take that a running program is expected to do.
const Patience = 30 * time.Second

// ErrStuck is matched by the error of Close if the program had to be killed.
var ErrStuck = errors.New("did not end")

// Program is one of ours, running.
type Program struct {
	cmd  *exec.Cmd
	log  *Transcript
	done chan struct{} // closed when it has ended
	err  error         // how; valid once done is closed
}

// Start runs a program of a folder with nothing in its environment but home. The caller must call Close.
func Start(bin, home, name string, args ...string) (*Program, error) {
	cmd := exec.Command(filepath.Join(bin, name), args...)
	cmd.Env = []string{"HOME=" + home, "PATH=/usr/bin:/bin", "LC_ALL=C"}
	p := &Program{cmd: cmd, log: NewTranscript(), done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p.log, p.log
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() { // ends with the program, which Close waits for
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

func (p *Program) String() string { return p.cmd.String() }

// PID is the process of the program.
func (p *Program) PID() int { return p.cmd.Process.Pid }

// Done is closed when the program has ended.
func (p *Program) Done() <-chan struct{} { return p.done }

// ExitCode is the program's exit status, or -1 if a signal ended it. Only after Done.
func (p *Program) ExitCode() int { return p.cmd.ProcessState.ExitCode() }

// Output returns what the program has written so far.
func (p *Program) Output() string { return p.log.String() }

// Signal sends a signal. If the program has ended already, nothing happens.
func (p *Program) Signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// Close tells the program to end and waits until it has. One that doesn't is an error, and is killed in such a way that its output
// ends with its stacks.
func (p *Program) Close() error {
	p.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
		return p.err
	case <-time.After(Patience):
	}
	p.Signal(syscall.SIGQUIT)
	<-p.done
	return fmt.Errorf("%s: %w within %v of SIGTERM", p, ErrStuck, Patience)
}

// Await waits until n parts of the output match, and returns them with their submatches.
func (p *Program) Await(pattern *regexp.Regexp, n int) ([][]string, error) {
	late := time.After(Patience)
	done := p.done
	for {
		text, changed := p.log.State()
		if found := pattern.FindAllStringSubmatch(text, n); len(found) == n {
			return found, nil
		}
		select {
		case <-changed:
		case <-done:
			done = nil // all is written now: look once more, then wait no longer
			if text := p.Output(); len(pattern.FindAllStringSubmatch(text, n)) < n {
				return nil, fmt.Errorf("%s ended (%v) before it wrote %q:\n%s", p, p.err, pattern, text)
			}
		case <-late:
			return nil, fmt.Errorf("%s did not write %q within %v:\n%s", p, pattern, Patience, text)
		}
	}
}

// Transcript is what was written to it, and can be waited for. It may be used from any goroutine.
type Transcript struct {
	mu      sync.Mutex
	buf     bytes.Buffer
	changed chan struct{} // closed, and replaced, at each Write
}

// NewTranscript returns an empty Transcript.
func NewTranscript() *Transcript { return &Transcript{changed: make(chan struct{})} }

func (l *Transcript) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.changed)
	l.changed = make(chan struct{})
	return l.buf.Write(p)
}

// State returns what was written so far, and a channel that is closed when there is more.
func (l *Transcript) State() (text string, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String(), l.changed
}

func (l *Transcript) String() string {
	text, _ := l.State()
	return text
}
