package audit_test

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/culvert-ssh/culvert/audit"
)

func TestPipeThatNobodyReadsHoldsNothingUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if l, err := audit.Open(path, audit.Options{}); err == nil {
		l.Close()
		t.Fatal("there is a log that nobody reads")
	}
	reader, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	l, err := audit.Open(path, audit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	wrote := 0
	for ; ; wrote++ { // until it is full
		if err := l.Write(audit.Server{Action: "start", Detail: strings.Repeat("x", 5000)}); err != nil {
			break
		}
		if wrote > 1000 {
			t.Fatal("a pipe that nobody reads takes everything")
		}
	}
	if lost := l.State().Lost; lost != 1 {
		t.Errorf("got %d lost events, want 1", lost)
	}
	got := make(chan []byte)
	go func() {
		text, _ := io.ReadAll(reader)
		got <- text
	}()
	for l.State().Lost > 0 { // until it is said
		time.Sleep(10 * time.Millisecond)
	}
	if err := l.Reopen(); err != nil {
		t.Error(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	whole, said := 0, false
	for line := range strings.Lines(string(<-got)) {
		var e struct{ Event string }
		if json.Unmarshal([]byte(line), &e) != nil {
			continue // the one that was torn
		}
		said = said || e.Event == "audit.lost"
		if e.Event == "server" {
			whole++
		}
	}
	if whole != wrote || !said {
		t.Errorf("got %d whole events and audit.lost %v, want %d and true", whole, said, wrote)
	}
}

func TestPipeWithoutAReaderIsNotOpenedAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	reader, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	l, err := audit.Open(path, audit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Reopen(); err == nil {
		t.Error("it is opened although nobody reads")
	}
	if reader, err = os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0); err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	write(t, l, action("a")) // to the one that is open, for who reads now
	if n, err := reader.Read(make([]byte, 4096)); n == 0 || err != nil {
		t.Errorf("got %d bytes, %v", n, err)
	}
}
