package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
)

// logFile is appended to, and can be opened anew.
type logFile struct {
	path    string // if empty, w is written to, and nothing is ever opened or closed
	mu      sync.Mutex
	w       io.Writer
	current *os.File
}

// openLog opens a file to append to, or, if path is empty, takes what is given instead.
func openLog(path string, instead io.Writer) (*logFile, error) {
	l := &logFile{path: path, w: instead}
	if path == "" {
		return l, nil
	}
	return l, l.Reopen()
}

func (l *logFile) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// Reopen opens the file of that name, which somebody may have moved away, or made anew. With an error, the one that was open stays.
func (l *logFile) Reopen() error {
	if l.path == "" {
		return nil
	}
	how := os.O_APPEND | os.O_CREATE | os.O_WRONLY
	if info, err := os.Stat(l.path); err == nil && info.Mode()&os.ModeNamedPipe != 0 {
		how |= syscall.O_NONBLOCK // not to wait, with the whole program, until somebody reads from it
	}
	f, err := os.OpenFile(l.path, how, 0o600)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.current
	l.w, l.current = f, f
	if old != nil {
		if err := old.Close(); err != nil {
			return fmt.Errorf("close the log that was open until now: %w", err)
		}
	}
	return nil
}

func (l *logFile) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.current == nil {
		return nil
	}
	return l.current.Close()
}
