package main

import (
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
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

func TestSyslogGetsLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	ln, err := net.ListenPacket("unixgram", path)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	w, err := openSyslog("unixgram", path)
	if err != nil {
		t.Fatal(err)
	}
	(&printer{w: w}).line("what there is to say")
	buf := make([]byte, 1<<10)
	if err := ln.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	n, _, err := ln.ReadFrom(buf)
	if got := string(buf[:n]); err != nil || !strings.Contains(got, "culvert[") || !strings.HasSuffix(got, ": what there is to say\n") {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := openSyslog("unixgram", path+"2"); err == nil || !strings.Contains(err.Error(), "there is no syslog") {
		t.Errorf("without one: got %v", err)
	}
}
