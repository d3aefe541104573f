package audit

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// follow makes f the file at the path, and learns what it ends with. With create, a file that is not there is made. What f was keeps
// its lock until the append has ended, so that every process that writes to it finds its last line, and the
// new file, as they are.
func (f *file) follow(now time.Time, create bool) error {
	for {
		there, err := os.Stat(f.path)
		if err == nil && f.f.is(there) {
			if err := f.refresh(there.Size()); err != nil {
				return err
			}
			return f.continuePredecessor()
		}
		here, failed := f.f.Stat()
		if failed != nil {
			return failed
		}
		if err := f.refresh(here.Size()); err != nil {
			return err
		}
		gone := errors.Is(err, os.ErrNotExist)
		if gone || err == nil && there.Size() == 0 {
			// f may be older than the file that was moved away last.
			if went, err := f.followSuccessor(here); went || err != nil {
				if err != nil {
					return err
				}
				continue
			}
		}
		deleted := here.Sys().(*syscall.Stat_t).Nlink == 0
		if gone && !create && !deleted {
			return nil // moved away, and Reopen is still to come
		}
		if f.tail.torn > 0 { // nothing in the next file would say so
			if err := f.write(now, nil); err != nil {
				return err
			}
		}
		var next *lockable
		if err == nil || gone {
			next, err = openThere(f.path, there, gone)
		}
		if errors.Is(err, errMoved) {
			continue
		}
		if err == nil {
			err = f.replace(next)
		}
		if err != nil {
			if create || deleted {
				return err
			}
			if !f.stuck { // it is tried again with every event
				f.log.Error("audit log goes on in the file that was moved away", "err", err)
			}
			f.stuck = true
			return nil
		}
	}
}

// errMoved says that a file was moved away while it was looked at.
var errMoved = errors.New("moved away meanwhile")

// openThere opens the file that was seen at the path, or makes it if it was gone. A file that has come there
// meanwhile may be one too many: it is looked at again.
func openThere(path string, there os.FileInfo, gone bool) (*lockable, error) {
	if gone {
		return appendTo(path)
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, errMoved
	}
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !os.SameFile(info, there) {
		return nil, errors.Join(errMoved, err, f.Close())
	}
	return &lockable{File: f}, nil
}

// replace puts next in the place of f, with its lock.
func (f *file) replace(next *lockable) error {
	if err := next.lock(); err != nil {
		return errors.Join(err, next.Close())
	}
	if f.old == nil {
		f.old = f.f
	} else {
		_ = f.f.Close() // nothing was written to it
	}
	f.f, f.size, f.tail, f.stuck, f.alone = next, -1, tail{}, false, time.Time{}
	return nil
}

// followSuccessor makes f the file in which another process has continued it, if that was moved away as well. It
// is the one whose first line carries the hash of f's last one.
func (f *file) followSuccessor(here os.FileInfo) (went bool, err error) {
	folder, err := os.Stat(filepath.Dir(f.path))
	if err != nil || f.head.seq == 0 || folder.ModTime().Equal(f.alone) {
		return false, err
	}
	names, err := f.rotated()
	if err != nil {
		return false, err
	}
	for _, name := range names {
		next := f.successor(name, here)
		if next != nil {
			return true, f.replace(next)
		}
	}
	if time.Since(folder.ModTime()) > time.Second { // a change in the same tick of the clock would not show
		f.alone = folder.ModTime()
	}
	return false, nil
}

// successor opens a file if it continues f, or returns nil.
func (f *file) successor(name string, here os.FileInfo) *lockable {
	info, err := os.Lstat(name)
	if err != nil || !info.Mode().IsRegular() || os.SameFile(info, here) {
		return nil
	}
	fd, err := openRotated(name)
	if err != nil {
		return nil
	}
	start := make([]byte, 8<<10) // longer than audit.opened with any path
	n, err := fd.ReadAt(start, 0)
	line, _, _ := bytes.Cut(start[:n], []byte("\n"))
	_, prev, ok := parseLink(line)
	if err != nil && err != io.EOF || !ok || prev != f.head.hash {
		_ = fd.Close() // it was only looked at
		return nil
	}
	return &lockable{File: fd}
}

// continuePredecessor lets a new file, of a process that knows no other, go on where the file ends that was moved away
// last: somebody has restarted culvertd in place of sending SIGHUP.
func (f *file) continuePredecessor() error {
	if f.tail.found || f.head.seq > 0 {
		return nil
	}
	names, err := f.rotated()
	if err != nil {
		return err
	}
	var last string
	var written time.Time
	for _, name := range names {
		if info, err := os.Lstat(name); err == nil && info.Mode().IsRegular() && info.ModTime().After(written) {
			last, written = name, info.ModTime()
		}
	}
	if last == "" {
		return nil
	}
	if f.old != nil { // it was empty, and may be that last one
		_ = f.old.Close()
		f.old = nil
	}
	fd, err := openRotated(last)
	if err != nil {
		f.log.Warn("audit log begins a new chain", "err", err)
		return nil
	}
	old := &lockable{File: fd}
	if err := old.lock(); err != nil {
		return errors.Join(err, old.Close())
	}
	f.old = old
	info, err := old.Stat()
	if err != nil {
		return err
	}
	if t, err := readTail(old, info.Size()); err == nil && t.last.seq > 0 { // else it is no audit log
		f.head = t.last
	}
	return nil
}

// rotated returns the files that may be what the file at the path was before, by their names.
func (f *file) rotated() ([]string, error) {
	quoted := strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(f.path)
	return filepath.Glob(quoted + `[.\-]*`)
}

func openRotated(name string) (*os.File, error) {
	return os.OpenFile(name, os.O_APPEND|os.O_RDWR|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
}
