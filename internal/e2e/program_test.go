package e2e

import (
	"errors"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/culvert-ssh/culvert/internal/stage"
)

// patience is how long anything here may take that is expected to come.
const patience = stage.Patience

// program is a running culvert or culvertd, for the duration of a test.
type program struct {
	*stage.Program
	t    *testing.T
	name string
}

// start runs one of our programs until the test's end, and shows what it wrote if the test fails. A data race or
// a panic in it fails the test.
func start(t *testing.T, name string, args ...string) *program {
	t.Helper()
	running, err := stage.Start(binaries, t.TempDir(), name, args...)
	if err != nil {
		t.Fatal(err)
	}
	p := &program{running, t, name}
	t.Cleanup(func() {
		p.stop()
		for _, bad := range []string{"DATA RACE", "panic:", "fatal error:", "level=ERROR"} {
			if strings.Contains(p.Output(), bad) {
				t.Errorf("%s wrote %q", name, bad)
			}
		}
		if t.Failed() {
			t.Logf("%s:\n%s", p, p.Output())
		}
	})
	return p
}

// stop asks the program to end, and waits for it; one that doesn't end is killed, and an error.
func (p *program) stop() {
	if err := p.Close(); errors.Is(err, stage.ErrStuck) { // any other end is the tests' own matter
		p.t.Error(err)
	}
}

// signal sends a signal to the program; if it has ended already, nothing happens.
func (p *program) signal(s syscall.Signal) { p.Signal(s) }

// ended waits for the program's end and returns its exit status.
func (p *program) ended() int {
	p.t.Helper()
	select {
	case <-p.Done():
		return p.ExitCode()
	case <-time.After(patience):
		p.t.Fatalf("%s did not end within %v", p.name, patience)
		return 0
	}
}

// await waits until the program has written something that pattern matches, and returns the submatches.
func (p *program) await(pattern string) []string {
	p.t.Helper()
	found, err := p.Await(regexp.MustCompile(pattern), 1)
	if err != nil {
		p.t.Fatal(err)
	}
	return found[0]
}
