package main

import (
	"bytes"
	"log/slog"
	"strings"
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
