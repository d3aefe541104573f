package audit_test

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/culvert-ssh/culvert/audit"
)

// disk is a writer that may be full.
type disk struct {
	mu   sync.Mutex
	text bytes.Buffer
	full error
}

func (d *disk) fill(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.full = err
}

func (d *disk) String() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.text.String()
}

func (d *disk) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.full != nil {
		return 0, d.full
	}
	return d.text.Write(p)
}

func TestLostEventsAreCountedOnRecord(t *testing.T) {
	for _, goOn := range []bool{false, true} {
		var d disk
		l := audit.New(&d, noon)
		l.SetContinue(goOn)
		full := errors.New("disk full")
		d.fill(full)
		for range 3 {
			if err := l.Write(action("lost")); (err == nil) != goOn || !goOn && !errors.Is(err, full) {
				t.Errorf("continue %t: got %v", goOn, err)
			}
		}
		if s := l.State(); s.Lost != 3 || !errors.Is(s.Err, full) {
			t.Errorf("continue %t: got %+v, want 3 lost", goOn, s)
		}
		d.fill(nil)
		write(t, l, action("a"))
		const at = `{"time":"2026-11-22T11:00:00.000Z",`
		want := at + `"event":"audit.lost","lost":3,"since":"2026-11-22T11:00:00.000Z","reason":"disk full"}` + "\n" +
			at + `"event":"server","action":"a"}` + "\n"
		if d.String() != want {
			t.Errorf("continue %t: got %s want %s", goOn, d.String(), want)
		}
		if s := l.State(); s.Lost != 0 || s.Err != nil {
			t.Errorf("continue %t: got %+v, want nothing", goOn, s)
		}
	}
}

func TestLostEventsAreCountedOnRecordWhenNoOtherComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := disk{full: errors.New("disk full")}
		l := audit.New(&d, time.Now)
		_ = l.Write(action("lost"))
		time.Sleep(time.Minute)
		if l.State().Lost != 1 {
			t.Errorf("got %+v, want 1 lost", l.State())
		}
		d.fill(nil)
		time.Sleep(2 * time.Second)
		if got := d.String(); !strings.Contains(got, `"audit.lost","lost":1,`) || strings.Count(got, "\n") != 1 {
			t.Errorf("got %q, want one event that says 1 lost", got)
		}
	})
}

func TestLogSaysAtOnceThatEventsAreLost(t *testing.T) {
	var said bytes.Buffer
	path := filepath.Join(t.TempDir(), "audit")
	l, err := audit.Open(path, audit.Options{Continue: true, Log: slog.New(slog.NewTextHandler(&said, nil))})
	if err != nil {
		t.Fatal(err)
	}
	write(t, l, action("a"))
	rename(t, path, path+".1")
	if err := os.Remove(path + ".1"); err != nil { // so that a new one must be made
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil { // which can't be
		t.Fatal(err)
	}
	write(t, l, action("lost"), action("lost"))
	if got := said.String(); strings.Count(got, "audit events are lost") != 1 || !strings.Contains(got, "lost=1") {
		t.Errorf("the log says %q", got)
	}
	if err := l.Close(); err == nil || !strings.Contains(err.Error(), "2 audit events were never written") {
		t.Errorf("Close: got %v", err)
	}
}

// fullDisk returns a path on a file system that has room for n KiB, and what fills it up and frees it.
func fullDisk(t *testing.T, kib string) (path string, fill, free func()) {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size="+kib+"k", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("no file system can be mounted here: %v, %s", err, out)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	rest := filepath.Join(dir, "rest")
	fill = func() {
		f, err := os.Create(rest)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for err == nil {
			_, err = f.Write(make([]byte, 512))
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
	}
	free = func() {
		if err := os.Remove(rest); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "audit"), fill, free
}

func TestFullDiskLeavesNoTornLine(t *testing.T) {
	path, fill, free := fullDisk(t, "64")
	l := opened(t, path)
	fill()
	// What is left of the last page takes some events and then a part of one.
	written, err := 0, error(nil)
	for err == nil {
		if err = l.Write(action("fills the page")); err == nil {
			written++
		}
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("got %v, want %v", err, syscall.ENOSPC)
	}
	if text := read(t, path); text != "" && !strings.HasSuffix(text, "}\n") {
		t.Errorf("a torn line is left: %q", text[max(0, len(text)-100):])
	}
	free()
	write(t, l, action("again"))
	if r := verified(t, path); len(r.Problems) > 0 || len(r.Torn) > 0 {
		t.Errorf("after %d lines: problems %v, torn %v", written, r.Problems, r.Torn)
	}
	if got := names(t, path); !strings.Contains(got, ",audit.lost,server again") && got != "audit.opened,audit.lost,server again" {
		t.Errorf("got %s", got)
	}
}

func TestPartOfALineThatCannotBeTakenBackIsRecordedAsTorn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit")
	l := opened(t, path)
	write(t, l, action("a"))
	// Another process dies in the middle of a line, while this one goes on.
	appendText(t, path, `{"time":"20`)
	write(t, l, action("b"))
	if r := verified(t, path); len(r.Problems) > 0 || len(r.Torn) != 1 {
		t.Errorf("problems %v, torn %v; want one torn line", r.Problems, r.Torn)
	}
}

func TestDeviceThatIsFullLosesEvents(t *testing.T) {
	l, err := audit.Open("/dev/full", audit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Write(action("lost")); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v, want %v", err, syscall.ENOSPC)
	}
	l.SetContinue(true)
	write(t, l, action("lost"))
	if s := l.State(); s.Lost != 2 || !errors.Is(s.Err, syscall.ENOSPC) {
		t.Errorf("got %+v, want 2 lost", s)
	}
	if err := l.Close(); err == nil || !strings.Contains(err.Error(), "2 audit events were never written") {
		t.Errorf("Close: got %v", err)
	}
}

// TestLimitOnTheSizeOfFilesLeavesNoTornLine has write(2) do a part of what it is given.
func TestLimitOnTheSizeOfFilesLeavesNoTornLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit")
	cmd, lines := startWriter(t, path, 1<<30, "ulimit -f 8; ")
	said := drain(lines)
	if err := cmd.Wait(); err == nil {
		t.Error("the process ended as if nothing had happened")
	}
	text := read(t, path)
	if !strings.HasSuffix(text, "}\n") || len(said) == 0 {
		t.Errorf("after %d events, the file ends in %q", len(said), text[max(0, len(text)-100):])
	}
	intact(t, uint64(len(said)+1), path)
}
