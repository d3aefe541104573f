package main

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
)

func TestLogLinesAreForPeople(t *testing.T) {
	var got strings.Builder
	out := &printer{w: &got}
	log := slog.New(&handler{out: out, level: slog.LevelDebug}).With("target", "ftp.corp:21", "from", "127.0.0.1:4711")
	log.Info("data connection cut short, and reset", "up", 1, "err", errors.New("stream aborted"))
	log.Debug("FTP protocol", "note", "x\x1b[2J\r\ny")
	out.failure(errors.New("two\nlines\x07"))
	slog.New(&handler{out: out, level: slog.LevelError}).Info("not said")
	want := "culvert: ftp.corp:21: data connection cut short, and reset: stream aborted (from 127.0.0.1:4711, up 1)\n" +
		"culvert: debug: ftp.corp:21: FTP protocol (from 127.0.0.1:4711, note x?[2J??y)\n" +
		"culvert: two\nlines?\n"
	if got.String() != want {
		t.Errorf("got\n%swant\n%s", got.String(), want)
	}
}
