package main

import (
	"bytes"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/culvert-ssh/culvert/config"
)

func TestWhatAReloadCannotChangeIsNamed(t *testing.T) {
	var log bytes.Buffer
	d := &daemon{started: config.Settings{AuditLog: "/one"}, log: slog.New(slog.NewTextHandler(&log, nil))}
	d.warnFixed(config.Settings{AuditLog: "/one"})
	if log.Len() > 0 {
		t.Errorf("nothing has changed: got %q", log.String())
	}
	for range 2 { // it is as true after the next reload
		log.Reset()
		d.warnFixed(config.Settings{AuditLog: "/two"})
		if got := log.String(); !strings.Contains(got, "keyword=AuditLog") || strings.Count(got, "\n") != 1 {
			t.Errorf("got %q, want a warning of AuditLog alone", got)
		}
	}
}

func TestAReloadThatIsAskedForIsAnswered(t *testing.T) {
	b := newBastion(t)
	b.asks, b.done = make(chan func()), make(chan struct{})
	received := signals{end: make(chan os.Signal)}
	ended := make(chan error, 1)
	go func() { ended <- b.loop(received) }()
	if err := b.ask(t.Context(), b.reloadNow); err != nil {
		t.Errorf("a good configuration: %v", err)
	}
	before := b.current.Load()
	b.write(t, "sshd_config", b.config("NoSuchKeyword yes\n"))
	if err := b.ask(t.Context(), b.reloadNow); err == nil || !strings.Contains(err.Error(), "NoSuchKeyword") {
		t.Errorf("got %v, want an error that names the keyword", err)
	}
	if b.current.Load() != before {
		t.Error("the old configuration doesn't stay")
	}
	received.end <- syscall.SIGTERM
	if err := <-ended; err != nil {
		t.Error(err)
	}
	close(b.done)
	if err := b.ask(t.Context(), b.reloadNow); err == nil {
		t.Error("there is an answer after the end")
	}
}
