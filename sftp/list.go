package sftp

import (
	"io"
	"os"
	"path"
	"sync"

	protocol "github.com/pkg/sftp"
)

// Filelist lists a directory, or says what a file is.
func (t *tree) Filelist(r *protocol.Request) (_ protocol.ListerAt, err error) {
	defer t.recovered(&err)
	at := name(r.Filepath)
	if r.Method == "List" {
		d, err := t.openDirectory(at)
		if err != nil {
			return nil, status(err)
		}
		return d, nil
	}
	info, err := t.Root.Stat(at)
	if err != nil {
		return nil, status(err)
	}
	return one{info}, nil
}

// Lstat says what a file is, or a link itself.
func (t *tree) Lstat(r *protocol.Request) (_ protocol.ListerAt, err error) {
	defer t.recovered(&err)
	info, err := t.Root.Lstat(name(r.Filepath))
	if err != nil {
		return nil, status(err)
	}
	return one{info}, nil
}

// Readlink returns what a link says.
func (t *tree) Readlink(p string) (to string, err error) {
	defer t.recovered(&err)
	to, err = t.Root.Readlink(name(p))
	return to, status(err)
}

// one is a list of one.
type one struct{ os.FileInfo }

func (o one) ListAt(to []os.FileInfo, from int64) (int, error) {
	if from > 0 || len(to) == 0 {
		return 0, io.EOF
	}
	to[0] = o.FileInfo
	return 1, io.EOF
}

// directory is one that is being listed, from its begin to its end.
type directory struct {
	tree *tree
	path string // in the root
	mu   sync.Mutex
	file *os.File // nil once it is closed
}

func (t *tree) openDirectory(at string) (*directory, error) {
	info, err := t.Root.Stat(at)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, errNotDir
	}
	if err := t.take(); err != nil {
		return nil, err
	}
	f, err := t.Root.Open(at)
	if err != nil {
		t.give()
		return nil, err
	}
	return &directory{tree: t, path: at, file: f}, nil
}

// ListAt looks each name up in the root, and leaves out those that went away meanwhile.
func (d *directory) ListAt(to []os.FileInfo, _ int64) (n int, err error) {
	defer d.tree.recovered(&err)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.file == nil {
		return 0, os.ErrClosed
	}
	for n == 0 {
		names, err := d.file.Readdirnames(len(to))
		for _, name := range names {
			if info, err := d.tree.Root.Lstat(path.Join(d.path, name)); err == nil {
				to[n] = info
				n++
			}
		}
		if err != nil {
			return n, status(err)
		}
	}
	return n, nil
}

func (d *directory) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.file == nil {
		return nil
	}
	err := d.file.Close()
	d.file = nil
	d.tree.give()
	return status(err)
}
