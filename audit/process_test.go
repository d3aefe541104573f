package audit_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/culvert-ssh/culvert/audit"
)

// writerPath in the environment makes the test a process that writes to this log: so many events, or until it is killed. It
// reopens the log at SIGHUP's place, every hundred events, and says each event that is on record on its standard output.
const (
	writerPath  = "AUDIT_TEST_WRITER"
	writerCount = "AUDIT_TEST_EVENTS"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(writerPath); path != "" {
		n, err := strconv.Atoi(os.Getenv(writerCount))
		if err == nil {
			err = writer(path, n)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func writer(path string, n int) error {
	l, err := audit.Open(path, audit.Options{})
	if err != nil {
		return err
	}
	for i := range n {
		name := fmt.Sprintf("%d-%d", os.Getpid(), i)
		if err := l.Write(audit.FTPLogin{Login: name}); err != nil {
			return err
		}
		fmt.Println(name)
		if i%100 == 99 {
			if err := l.Reopen(); err != nil {
				return err
			}
		}
	}
	return l.Close()
}

// startWriter starts a process, whose lines come through the scanner, with what a shell does before.
func startWriter(t *testing.T, path string, n int, before string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", before+`exec "$0"`, self)
	cmd.Env = append(os.Environ(), writerPath+"="+path, writerCount+"="+strconv.Itoa(n))
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, bufio.NewScanner(out)
}

// drain reads what a process says to its end.
func drain(lines *bufio.Scanner) (all []string) {
	for lines.Scan() {
		all = append(all, lines.Text())
	}
	return all
}

func TestTwoProcessesWriteOneChainWhileItIsRotated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit")
	const events = 1500
	said, done := make(chan []string, 2), make(chan error, 2)
	for range 2 {
		cmd, lines := startWriter(t, path, events, "")
		lines.Scan() // both know the first file
		first := lines.Text()
		go func() {
			said <- append(drain(lines), first)
			done <- cmd.Wait()
		}()
	}
	var files []string
	for ended := 0; ended < 2; {
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			ended++
		case <-time.After(5 * time.Millisecond): // a rotation now and then
			if info, err := os.Stat(path); err != nil || info.Size() == 0 {
				continue
			}
			to := fmt.Sprintf("%s.%d", path, len(files))
			rename(t, path, to)
			files = append(files, to)
		}
	}
	if _, err := os.Stat(path); err == nil {
		files = append(files, path)
	}
	intact(t, uint64(2*events+len(files)), files...)
	var text strings.Builder
	for _, f := range files {
		text.WriteString(read(t, f))
	}
	for range 2 {
		for _, name := range <-said {
			if strings.Count(text.String(), `"login":"`+name+`"`) != 1 {
				t.Errorf("%s is not on record once", name)
			}
		}
	}
	t.Logf("%d files", len(files))
}

func TestKilledProcessLeavesNothingUnsaid(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit")
	for range 10 {
		cmd, lines := startWriter(t, path, 1<<30, "")
		var said []string
		for range 50 {
			lines.Scan()
			said = append(said, lines.Text())
		}
		if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		said = append(said, drain(lines)...)
		_ = cmd.Wait() // it was killed
		text := read(t, path)
		for _, name := range said {
			if !strings.Contains(text, `"login":"`+name+`"`) {
				t.Errorf("%s is not on record", name)
			}
		}
	}
	write(t, opened(t, path), action("after all"))
	if r := verified(t, path); len(r.Problems) > 0 {
		t.Errorf("problems: %v", r.Problems)
	}
}
