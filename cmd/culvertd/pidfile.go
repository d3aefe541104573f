package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// pidFile is where the main process says which one it is. The zero pidFile is none.
type pidFile struct{ path string }

// write writes the file: whole, in the place of another, and never through a link that somebody has put there.
func (p pidFile) write() error {
	if p.path == "" {
		return nil
	}
	f, err := os.CreateTemp(filepath.Dir(p.path), ".culvertd-pid-*")
	if err != nil {
		return fmt.Errorf("write PidFile: %w", err)
	}
	_, err = fmt.Fprintf(f, "%d\n", os.Getpid())
	err = errors.Join(err, f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), p.path)
	}
	if err != nil {
		return fmt.Errorf("write PidFile: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}

// remove removes the file, if it is still this process's.
func (p pidFile) remove() {
	if p.path == "" {
		return
	}
	text, err := os.ReadFile(p.path)
	if err == nil && string(text) == strconv.Itoa(os.Getpid())+"\n" {
		_ = os.Remove(p.path) // nobody is there to be told
	}
}

// writePID writes the PidFile. As for sshd, it is no reason to end if that can't be done.
func (d *daemon) writePID() {
	if err := d.pid.write(); err != nil {
		d.log.Error("nobody can read who serves", "err", err)
	}
}
