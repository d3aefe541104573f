package e2e

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long anything here may take that is expected to come.
const patience = 30 * time.Second

// program is a running culvert or culvertd.
type program struct {
	t    *testing.T
	name string
	cmd  *exec.Cmd
	log  *transcript
	done chan struct{}
	err  error // valid once done is closed
}

// start runs one of our programs until the test's end, and shows what it wrote if the test fails. A data race or
// a panic in it fails the test.
func start(t *testing.T, name string, args ...string) *program {
	t.Helper()
	cmd := exec.Command(filepath.Join(binaries, name), args...)
	cmd.Env = []string{
		"HOME=" + t.TempDir(), "PATH=/usr/bin:/bin", "LC_ALL=C",
		"GORACE=atexit_sleep_ms=10", // the default second adds up
	}
	p := &program{t: t, name: name, cmd: cmd, log: newTranscript(), done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p.log, p.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.stop()
		for _, bad := range []string{"DATA RACE", "panic:", "fatal error:", "level=ERROR"} {
			if strings.Contains(p.log.text(), bad) {
				t.Errorf("%s wrote %q", name, bad)
			}
		}
		if t.Failed() {
			t.Logf("%s:\n%s", cmd, p.log.text())
		}
	})
	return p
}

// stop asks the program to end, and waits for it; one that doesn't end is killed, and an error.
func (p *program) stop() {
	p.signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(patience):
		p.t.Errorf("%s did not end %v after SIGTERM", p.name, patience)
		p.signal(syscall.SIGQUIT) // its stacks tell why
		<-p.done
	}
}

// signal sends a signal to the program; if it has ended already, nothing happens.
func (p *program) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// ended waits for the program's end and returns its exit status.
func (p *program) ended() int {
	p.t.Helper()
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		p.t.Fatalf("%s did not end within %v", p.name, patience)
		return 0
	}
}

// await waits until the program has written something that pattern matches, and returns the submatches.
func (p *program) await(pattern string) []string {
	p.t.Helper()
	re := regexp.MustCompile(pattern)
	timeout := time.After(patience)
	done := p.done
	for {
		text, changed := p.log.state()
		if match := re.FindStringSubmatch(text); match != nil {
			return match
		}
		select {
		case <-changed:
		case <-done:
			done = nil // all is written now: look once more, then wait no longer
			if text, _ := p.log.state(); !re.MatchString(text) {
				p.t.Fatalf("%s ended (%v) before it wrote %q", p.name, p.err, pattern)
			}
		case <-timeout:
			p.t.Fatalf("%s did not write %q within %v", p.name, pattern, patience)
		}
	}
}

// transcript is what a program wrote; it can be waited for.
type transcript struct {
	mu      sync.Mutex
	buf     bytes.Buffer
	changed chan struct{} // closed, and replaced, at each Write
}

func newTranscript() *transcript { return &transcript{changed: make(chan struct{})} }

func (l *transcript) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.changed)
	l.changed = make(chan struct{})
	return l.buf.Write(p)
}

func (l *transcript) state() (text string, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String(), l.changed
}

func (l *transcript) text() string {
	text, _ := l.state()
	return text
}
