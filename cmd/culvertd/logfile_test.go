package main

import (
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestLogThatNobodyReadsIsNotWaitedFor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	reader, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	l, err := openLog(path, nil)
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
	const line = "to whoever reads by now\n"
	if _, err := l.Write([]byte(line)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(line))
	if _, err := io.ReadFull(reader, got); err != nil || string(got) != line {
		t.Errorf("got %q, %v", got, err)
	}
}
