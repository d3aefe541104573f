package audit_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/culvert-ssh/culvert/audit"
)

// opened returns a Log that appends to path until the test ends.
func opened(t testing.TB, path string) *audit.Log {
	t.Helper()
	l, err := audit.Open(path, audit.Options{Now: noon, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func write(t testing.TB, l *audit.Log, events ...audit.Event) {
	t.Helper()
	for _, e := range events {
		if err := l.Write(e); err != nil {
			t.Fatal(err)
		}
	}
}

func read(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// names returns the names of the events in a file; "?" for a line that is none.
func names(t testing.TB, path string) string {
	t.Helper()
	var all []string
	for line := range strings.Lines(read(t, path)) {
		var e struct{ Event, Action string }
		if json.Unmarshal([]byte(line), &e) != nil {
			e.Event = "?"
		}
		all = append(all, strings.Trim(e.Event+" "+e.Action, " "))
	}
	return strings.Join(all, ",")
}

func action(a string) audit.Event { return audit.Server{Action: a} }

func TestEveryLineCarriesTheHashOfTheOneBefore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit")
	for range 3 { // restarts
		l := opened(t, path)
		write(t, l, action("start"), action("stop"))
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	prev, seq := strings.Repeat("0", 64), 0
	for line := range strings.Lines(read(t, path)) {
		seq++
		var got struct {
			Seq  int
			Prev string
		}
		if err := json.Unmarshal([]byte(line), &got); err != nil || got.Seq != seq || got.Prev != prev {
			t.Fatalf("line %d: got seq %d, prev %q, %v; want prev %q", seq, got.Seq, got.Prev, err, prev)
		}
		sum := sha256.Sum256([]byte(strings.TrimSuffix(line, "\n")))
		prev = hex.EncodeToString(sum[:])
	}
	if got, want := names(t, path), "audit.opened"+strings.Repeat(",server start,server stop", 3); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	intact(t, 7, path)
}

func TestTwoLogsTakeTurnsInOneFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit")
	a, b := opened(t, path), opened(t, path)
	for range 100 {
		write(t, a, action("a"))
		write(t, b, action("b"), action("b"))
	}
	intact(t, 301, path)
}

func TestNewFileContinuesTheOldOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit")
	a, b := opened(t, path), opened(t, path)
	write(t, a, action("a"))
	rename(t, path, path+".1")
	write(t, a, action("still in the old one"))
	write(t, b, action("this one too"))
	if err := a.Reopen(); err != nil {
		t.Fatal(err)
	}
	write(t, b, action("follows without being told"))
	write(t, a, action("last"))
	intact(t, 7, path+".1", path)
	if got, want := names(t, path), "audit.opened,server follows without being told,server last"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}

	// logrotate's "create" makes the file itself.
	rename(t, path, path+".0")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	write(t, b, action("b"))
	intact(t, 9, path+".1", path+".0", path)
}

func TestReopenOfAFileThatIsStillThereDoesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit")
	l := opened(t, path)
	write(t, l, action("a"))
	before := read(t, path)
	if err := l.Reopen(); err != nil {
		t.Fatal(err)
	}
	if got := read(t, path); got != before {
		t.Errorf("got %s, want %s", got, before)
	}
}

func TestDeletedFileIsMadeAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit")
	l := opened(t, path)
	write(t, l, action("a"))
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	write(t, l, action("b"))
	if got, want := names(t, path), "audit.opened,server b"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	intact(t, 2, path)
}

func TestFileThatCannotBeReopenedIsStillWritten(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "audit")
	l := opened(t, path)
	write(t, l, action("a"))
	rename(t, path, path+".1")
	if err := os.Mkdir(path, 0o700); err != nil { // which no file can be opened at
		t.Fatal(err)
	}
	if err := l.Reopen(); err == nil {
		t.Error("Reopen: got no error")
	}
	write(t, l, action("b"))
	intact(t, 3, path+".1")
}

func TestTornLineIsRecorded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit")
	l := opened(t, path)
	write(t, l, action("a"))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	appendText(t, path, `{"time":"2026-11-22T11:00:00.000Z","event":"serv`)
	l = opened(t, path)
	write(t, l, action("b"), action("c"))
	if got, want := names(t, path), "audit.opened,server a,?,audit.torn,server b,server c"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	r := verified(t, path)
	if len(r.Problems) > 0 || len(r.Torn) != 1 || r.Torn[0] != path+":3" {
		t.Errorf("got problems %v, torn %v; want a torn line at %s:3", r.Problems, r.Torn, path)
	}
}

func TestFileThatHoldsNothingButATornLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit")
	appendText(t, path, `{"time"`)
	write(t, opened(t, path), action("a"))
	if got, want := names(t, path), "?,audit.torn,audit.opened,server a"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if r := verified(t, path); len(r.Problems) > 0 {
		t.Errorf("problems: %v", r.Problems)
	}
}

func TestTailThatIsCutWhileTheLogIsOpenIsFound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit")
	l := opened(t, path)
	write(t, l, action("a"), action("b"), action("c"))
	lines := strings.SplitAfter(read(t, path), "\n")
	if err := os.Truncate(path, int64(len(lines[0]+lines[1]))); err != nil {
		t.Fatal(err)
	}
	write(t, l, action("d"))
	r := verified(t, path)
	if len(r.Problems) != 1 || !strings.Contains(r.Problems[0].Text, "missing before it: 2 lines") {
		t.Errorf("got %v, want that 2 lines are missing", r.Problems)
	}
}

func TestPipeHasNoChain(t *testing.T) {
	l, err := audit.Open(os.DevNull, audit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	write(t, l, action("a"))
	if s := l.State(); s != (audit.State{}) {
		t.Errorf("got %+v, want nothing", s)
	}
	if err := l.Reopen(); err != nil {
		t.Error(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

func rename(t testing.TB, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

func appendText(t testing.TB, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

func verified(t testing.TB, paths ...string) audit.Report {
	t.Helper()
	v := audit.NewVerifier()
	for _, p := range paths {
		if err := v.File(p, bytes.NewReader([]byte(read(t, p)))); err != nil {
			t.Fatal(err)
		}
	}
	return v.Report()
}

// intact holds that the files are one whole chain of so many lines.
func intact(t testing.TB, lines uint64, paths ...string) {
	t.Helper()
	r := verified(t, paths...)
	if len(r.Problems) > 0 || len(r.Torn) > 0 || r.Lines != lines {
		t.Errorf("got %d lines, problems %v, torn %v; want %d lines", r.Lines, r.Problems, r.Torn, lines)
	}
}

func TestLockThatAnotherProcessKeepsLosesEventsNotTime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit")
	l := opened(t, path)
	write(t, l, action("a"))
	other, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := syscall.Flock(int(other.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for range 20 {
		if err := l.Write(action("lost")); err == nil || !strings.Contains(err.Error(), "another process holds it") {
			t.Fatalf("got %v, want an error about the lock", err)
		}
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("20 events took %v", took)
	}
	if err := syscall.Flock(int(other.Fd()), syscall.LOCK_UN); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); l.Write(action("b")) != nil; { // the kernel hands the lock over soon
		if time.Now().After(end) {
			t.Fatal("no event can be written after the lock is free")
		}
	}
	if got := names(t, path); !strings.HasPrefix(got, "audit.opened,server a,audit.lost,") {
		t.Errorf("got %s", got)
	}
	if r := verified(t, path); len(r.Problems) > 0 {
		t.Errorf("problems: %v", r.Problems)
	}
}

func TestLogThatSleptThroughRotationsFollows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit")
	a, b := opened(t, path), opened(t, path)
	write(t, b, action("b"))
	for _, old := range []string{path + ".3", path + ".2"} {
		write(t, a, action("a"))
		rename(t, path, old)
		if err := a.Reopen(); err != nil {
			t.Fatal(err)
		}
	}
	rename(t, path, path+".1")
	write(t, b, action("b"))
	if got, want := names(t, path+".1"), "audit.opened,server b"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if err := b.Reopen(); err != nil {
		t.Fatal(err)
	}
	write(t, a, action("a"))
	intact(t, 9, path+".3", path+".2", path+".1", path)
}

func TestRestartAfterTheFileWasMovedContinuesIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit")
	for i, old := range []string{"-20261124", ".1"} {
		l := opened(t, path)
		write(t, l, action("start"))
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		rename(t, path, path+old)
		when := time.Now().Add(time.Duration(i-2) * time.Hour)
		if err := os.Chtimes(path+old, when, when); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(path+".2.gz", []byte("\x1f\x8b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-3 * time.Hour)
	if err := os.Chtimes(path+".2.gz", old, old); err != nil {
		t.Fatal(err)
	}
	write(t, opened(t, path), action("start"))
	intact(t, 6, path+"-20261124", path+".1", path)
}

func TestFileThatWasMovedBeforeItsFirstEventIsLeft(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit")
	l := opened(t, path)
	rename(t, path, path+".1")
	if err := l.Reopen(); err != nil {
		t.Fatal(err)
	}
	write(t, l, action("a"))
	intact(t, 2, path+".1", path)
}
