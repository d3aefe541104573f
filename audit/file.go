package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"syscall"
	"time"
)

// file is a sink that appends to a file, and continues the chain of its lines. Each append holds a lock on the file, so that
// processes take turns; whoever sees that somebody else has appended reads the last line again.
type file struct {
	encoder
	log  *slog.Logger
	path string
	f    *lockable
	old  *lockable // which f has replaced in this append; its lock is held until the chain goes on in f

	stuck bool      // what is at the path now can't be opened
	alone time.Time // when the folder was last changed and had no successor of f in it; see followSuccessor

	pipe    pipe // f, if it is not chained
	chained bool
	size    int64 // of f after the last append; -1 if it isn't known
	head    link  // of the last line that is known
	tail    tail  // of f
}

// openFile opens a file to append to. It is read as well, as its last line may be somebody else's.
func openFile(path string) (*file, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		how := os.O_APPEND | os.O_WRONLY // to read a pipe would be to keep it open
		if info.Mode()&os.ModeNamedPipe != 0 {
			how |= syscall.O_NONBLOCK // or this would wait until somebody reads from it, with everybody behind it
		}
		f, err := os.OpenFile(path, how, 0)
		if errors.Is(err, syscall.ENXIO) {
			err = fmt.Errorf("nobody reads from the pipe: %w", err)
		}
		return &file{path: path, f: &lockable{File: f}, pipe: pipe{w: f}}, err
	}
	f, err := appendTo(path)
	if err != nil {
		return nil, err
	}
	if err = f.lock(); err == nil {
		err = f.unlock()
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &file{path: path, f: f, chained: true, size: -1}, nil
}

func appendTo(path string) (*lockable, error) {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_RDWR, 0o600)
	return &lockable{File: f}, err
}

func (f *file) append(now time.Time, events ...Event) error {
	if !f.chained {
		s := stream{w: &f.pipe}
		return s.append(now, events...)
	}
	return f.appendChained(now, false, events)
}

// reopen continues in a new file, if the one at the path is another or is not there.
func (f *file) reopen(now time.Time) error {
	if f.chained {
		return f.appendChained(now, true, nil)
	}
	next, err := openFile(f.path)
	if err != nil {
		return err
	}
	next.log = f.log
	err = f.f.Close()
	*f = *next
	return err
}

// appendChained appends events and what must come before them. With create, a file that was moved away
// is replaced by a new one; otherwise it is followed only to one that somebody else has made.
func (f *file) appendChained(now time.Time, create bool, events []Event) (err error) {
	if err := f.f.lock(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.unlock()) }()
	if err := f.follow(now, create); err != nil {
		return err
	}
	return f.write(now, events)
}

// write appends events in one write, all or none.
func (f *file) write(now time.Time, events []Event) error {
	head, err := f.compose(now, events)
	if err != nil || len(f.bytes()) == 0 {
		return err
	}
	n, err := f.f.Write(f.bytes())
	if err != nil {
		return f.takeBack(n, err)
	}
	f.size += int64(n)
	f.head, f.tail = head, tail{found: true}
	return nil
}

// unlock ends an append.
func (f *file) unlock() error {
	err := f.f.unlock()
	if f.old != nil {
		err = errors.Join(err, f.old.Close())
		f.old = nil
	}
	return err
}

// takeBack undoes a write of which only n bytes were done. If that fails, the next append finds a torn line.
func (f *file) takeBack(n int, cause error) error {
	if n == 0 {
		return cause
	}
	if err := f.f.Truncate(f.size); err != nil {
		f.size = -1
		return errors.Join(cause, fmt.Errorf("take back a part of a line: %w", err))
	}
	return cause
}

// compose makes the lines of events, after those that say what became of the file. It returns the place of the last one.
func (f *file) compose(now time.Time, events []Event) (link, error) {
	f.reset()
	var before []Event
	if t := f.tail; t.torn > 0 {
		f.lines.WriteByte('\n')
		before = append(before, Torn{Bytes: t.torn, SHA256: hex.EncodeToString(t.tornHash[:])})
	}
	if !f.tail.found {
		before = append(before, Opened{File: f.path})
	}
	head := f.head
	for _, e := range append(before, events...) {
		next, err := f.chain(now, e, head)
		if err != nil {
			return link{}, err
		}
		head = next
	}
	return head, nil
}

// refresh reads the end of the file again if its size isn't what this process left.
func (f *file) refresh(size int64) error {
	if size == f.size {
		return nil
	}
	t, err := readTail(f.f, size)
	if err != nil {
		return fmt.Errorf("read the end of %s: %w", f.path, err)
	}
	// A file that ends before what is known to have been written has lost lines. The chain goes on after those that are
	// known, so that whoever verifies it finds the gap.
	if t.last.seq >= f.head.seq {
		f.head = t.last
	} else if f.size >= 0 {
		f.log.Error("lines are gone from the audit log", "last", t.last.seq, "written", f.head.seq)
	}
	f.tail, f.size = t, size
	return nil
}

const (
	// lockTimeout is how long another process may hold the lock. It is held for one write.
	lockTimeout = 2 * time.Second
	// stuckTimeout is the same once it has been held for longer. Everything that is to be recorded stands in line.
	stuckTimeout = 10 * time.Millisecond
)

// lockable is an open file with a lock, for which only other openings of it wait.
type lockable struct {
	*os.File
	waiting chan error  // gets what comes of waiting for the lock; nil if nobody waits
	first   os.FileInfo // of the file, when somebody asked first which it is; it stays the same as long as it is open
}

// is reports whether there is the same file.
func (l *lockable) is(there os.FileInfo) bool {
	if l.first == nil {
		info, err := l.Stat()
		if err != nil {
			return false // who asks finds out why
		}
		l.first = info
	}
	return os.SameFile(l.first, there)
}

// lock takes the lock. After an error, it may be called again.
func (l *lockable) lock() error {
	timeout := stuckTimeout
	if l.waiting == nil {
		timeout = lockTimeout
		switch err := syscall.Flock(int(l.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err {
		case nil:
			return nil
		case syscall.EWOULDBLOCK, syscall.EINTR:
		default:
			return fmt.Errorf("lock %s: %w", l.Name(), err)
		}
		// A blocking call can't be given up. One that comes back too late has the lock for who asks next.
		fd, waiting := int(l.Fd()), make(chan error, 1)
		l.waiting = waiting
		go func() {
			err := syscall.Flock(fd, syscall.LOCK_EX)
			for err == syscall.EINTR {
				err = syscall.Flock(fd, syscall.LOCK_EX)
			}
			waiting <- err
		}()
	}
	late := time.NewTimer(timeout)
	defer late.Stop()
	select {
	case err := <-l.waiting:
		l.waiting = nil
		if err != nil {
			return fmt.Errorf("lock %s: %w", l.Name(), err)
		}
		return nil
	case <-late.C:
		return fmt.Errorf("lock %s: another process holds it, longer than %v", l.Name(), lockTimeout)
	}
}

func (l *lockable) unlock() error { return syscall.Flock(int(l.Fd()), syscall.LOCK_UN) }

func (f *file) Close() error {
	if !f.chained {
		return f.f.Close()
	}
	return errors.Join(f.f.Sync(), f.f.Close())
}

// tail is what a file ends with.
type tail struct {
	found    bool // there is a whole line
	last     link // of it
	torn     int64
	tornHash [sha256.Size]byte // of the torn bytes behind it
}

// readTail reads the last whole line of a file of this size, and what is torn behind it.
func readTail(r io.ReaderAt, size int64) (tail, error) {
	end, err := readBack(r, size)
	if err != nil {
		return tail{}, err
	}
	var t tail
	at := bytes.LastIndexByte(end, '\n')
	if torn := end[at+1:]; len(torn) > 0 {
		t.torn, t.tornHash = int64(len(torn)), sha256.Sum256(torn)
	}
	if at < 0 {
		return t, nil
	}
	line := end[bytes.LastIndexByte(end[:at], '\n')+1 : at]
	seq, _, _ := parseLink(line) // a line that is none of ours has no number, and is found by whoever verifies
	t.found, t.last = true, link{seq, sha256.Sum256(line)}
	return t, nil
}

// readBack reads from the end until it has a whole line: until the second line end from behind, or the beginning.
func readBack(r io.ReaderAt, size int64) ([]byte, error) {
	for n := int64(4 << 10); ; n *= 4 {
		n = min(n, size)
		end := make([]byte, n)
		if _, err := r.ReadAt(end, size-n); err != nil && err != io.EOF {
			return nil, err
		}
		if n == size || bytes.Count(end, []byte("\n")) >= 2 {
			return end, nil
		}
		if n > 2*maxLine {
			return nil, fmt.Errorf("its last line has more than %d bytes: move it away and begin a new one", maxLine)
		}
	}
}
