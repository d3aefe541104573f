package standing

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
)

const (
	logName = "log"
	// maxLog bounds the log, in bytes. There is another one behind it, which is older.
	maxLog = 1 << 20
)

// Log is the log of the process, for people who want to know what went wrong. It may be used from any goroutine.
type Log struct {
	path string

	mu   sync.Mutex
	file *os.File
	size int64
}

// OpenLog opens the log of the place. The caller must call Close.
func (p Place) OpenLog() (*Log, error) {
	if err := private(p.Dir, true); err != nil {
		return nil, err
	}
	l := &Log{path: filepath.Join(p.Dir, logName)}
	if err := l.open(); err != nil {
		return nil, err
	}
	return l, nil
}

func (l *Log) open() error {
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	l.file, l.size = f, info.Size()
	return nil
}

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.size+int64(len(p)) > maxLog && l.size > 0 {
		if err := l.turn(); err != nil {
			return 0, err
		}
	}
	n, err := l.file.Write(p)
	l.size += int64(n)
	return n, err
}

// turn begins a new file.
func (l *Log) turn() error {
	old := l.file
	if err := os.Rename(l.path, l.path+".old"); err != nil && !errors.Is(err, os.ErrNotExist) { // the last turn went no further
		return err
	}
	if err := l.open(); err != nil {
		return err
	}
	return old.Close()
}

// Close implements io.Closer.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.file.Close()
}
