package sftp

import (
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	protocol "github.com/pkg/sftp"
)

// Fileread opens a file to read.
func (t *tree) Fileread(r *protocol.Request) (_ io.ReaderAt, err error) {
	defer t.recovered(&err)
	f, err := t.open(r, os.O_RDONLY, "read")
	if err != nil {
		return nil, status(err)
	}
	return f, nil
}

// Filewrite opens a file to write.
func (t *tree) Filewrite(r *protocol.Request) (_ io.WriterAt, err error) {
	defer t.recovered(&err)
	f, err := t.open(r, os.O_WRONLY, "write")
	if err != nil {
		return nil, status(err)
	}
	return f, nil
}

// OpenFile opens a file to read and write.
func (t *tree) OpenFile(r *protocol.Request) (_ protocol.WriterAtReaderAt, err error) {
	defer t.recovered(&err)
	f, err := t.open(r, os.O_RDWR, "read-write")
	if err != nil {
		return nil, status(err)
	}
	return f, nil
}

// open opens a regular file.
func (t *tree) open(r *protocol.Request, access int, mode string) (_ *file, err error) {
	if access != os.O_RDONLY && t.ReadOnly {
		return nil, os.ErrPermission
	}
	perm, err := permissions(r)
	if err != nil {
		return nil, err
	}
	if err := t.take(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			t.give()
		}
	}()
	if err := t.opened(r.Filepath, mode); err != nil {
		return nil, err
	}
	flags := access
	if access != os.O_RDONLY { // or a read-only service would be one by the grace of the library, which calls nothing else a read
		flags |= creation(r.Pflags())
	}
	f, err := t.openRegular(name(r.Filepath), flags, perm)
	if err != nil {
		t.closed(r.Filepath, 0, 0)
		return nil, err
	}
	return &file{File: f, tree: t, path: r.Filepath}, nil
}

// creation are the flags of open(2) besides the access. To append is to write at the offsets that the client says, as
// its requests may overtake each other.
func creation(p protocol.FileOpenFlags) (flags int) {
	for flag, set := range map[int]bool{os.O_CREATE: p.Creat, os.O_TRUNC: p.Trunc, os.O_EXCL: p.Excl && p.Creat} {
		if set {
			flags |= flag
		}
	}
	return flags
}

// permissions are those of a new file. Whoever runs the program owns it, so that bits beyond those of files are
// nobody's to set.
func permissions(r *protocol.Request) (os.FileMode, error) {
	if !r.AttrFlags().Permissions {
		return 0o666, nil
	}
	attrs := r.Attributes()
	if attrs == nil { // the library's word for attributes that are cut off
		return 0, protocol.ErrSSHFxBadMessage
	}
	return attrs.FileMode().Perm(), nil
}

// openRegular opens nothing that hangs, or that does something when it is opened.
func (t *tree) openRegular(name string, flags int, perm os.FileMode) (*os.File, error) {
	if info, err := t.Root.Stat(name); err == nil && !info.Mode().IsRegular() {
		return nil, errNotFile
	}
	f, err := t.Root.OpenFile(name, flags|syscall.O_NONBLOCK|syscall.O_NOCTTY, perm)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		_ = f.Close() // nothing was written
		return nil, errNotFile
	}
	return f, nil
}

// file is an open file that counts.
type file struct {
	*os.File
	tree          *tree
	path          string
	read, written atomic.Int64
	once          sync.Once
}

func (f *file) ReadAt(p []byte, at int64) (n int, err error) {
	defer f.tree.recovered(&err)
	n, err = f.File.ReadAt(p, at)
	f.read.Add(int64(n))
	return n, status(err)
}

func (f *file) WriteAt(p []byte, at int64) (n int, err error) {
	defer f.tree.recovered(&err)
	n, err = f.File.WriteAt(p, at)
	f.written.Add(int64(n))
	return n, status(err)
}

// Close closes the file once; the protocol's server does so more often where one was opened to read and write.
func (f *file) Close() (err error) {
	f.once.Do(func() {
		err = f.File.Close()
		f.tree.give()
		f.tree.closed(f.path, f.read.Load(), f.written.Load())
	})
	return status(err)
}
