package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"path"
	"strings"
	"sync"
	"time"
	"unicode"
)

// printer writes whole lines, one at a time.
type printer struct {
	mu sync.Mutex
	w  io.Writer
}

// redirect has what follows written to w.
func (p *printer) redirect(w io.Writer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.w = w
}

func (p *printer) line(s string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, _ = io.WriteString(p.w, s+"\n") // there is nowhere to tell of a broken stderr
}

// failure writes the error that ends the program. It may have several lines, but nothing else that
// a terminal obeys: some of it may be what a server said.
func (p *printer) failure(err error) {
	p.line("culvert: " + strings.Map(func(r rune) rune {
		if r == '\n' {
			return r
		}
		return visible(r)
	}, err.Error()))
}

// handler is a slog.Handler that writes for people: "culvert: target: message: error (key value, ...)".
type handler struct {
	out      *printer
	level    slog.Level
	detailed bool // say when, and by which line of the program
	now      func() time.Time
	attrs    []slog.Attr
}

func (h *handler) Enabled(_ context.Context, level slog.Level) bool { return level >= h.level }

func (h *handler) Handle(_ context.Context, r slog.Record) error {
	var target, cause string
	var rest []string
	add := func(a slog.Attr) bool {
		switch a.Key {
		case "target":
			target = a.Value.String() + ": "
		case "err":
			cause = ": " + a.Value.String()
		default:
			rest = append(rest, fmt.Sprintf("%s %s", a.Key, a.Value))
		}
		return true
	}
	for _, a := range h.attrs {
		add(a)
	}
	r.Attrs(add)
	line := "culvert: " + target + r.Message + cause
	switch {
	case r.Level < slog.LevelDebug:
		line = "culvert: debug2: " + target + r.Message + cause
	case r.Level < slog.LevelInfo:
		line = "culvert: debug: " + target + r.Message + cause
	}
	if len(rest) > 0 {
		line += " (" + strings.Join(rest, ", ") + ")"
	}
	if h.detailed {
		line = h.now().Format("15:04:05.000 ") + line
		if s := r.Source(); s != nil {
			line += fmt.Sprintf(" [%s:%d]", path.Base(s.File), s.Line)
		}
	}
	h.out.line(strings.Map(visible, line))
	return nil
}

// visible keeps what peers say from moving the cursor.
func visible(r rune) rune {
	if !unicode.IsPrint(r) {
		return '?'
	}
	return r
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *h
	with.attrs = append(h.attrs[:len(h.attrs):len(h.attrs)], attrs...)
	return &with
}

func (h *handler) WithGroup(string) slog.Handler { return h } // culvert's keys are flat
