// Package sftp serves the files under one directory over SFTP version 3 (draft-ietf-secsh-filexfer-02), and nothing
// outside of it. It knows no user: everything is done as the user that runs the program, and what may be
// done is the same for everybody, but for a read-only service.
package sftp

import (
	"errors"
	"io"
	"os"
	"sync/atomic"

	protocol "github.com/pkg/sftp"
)

// maxHandles is how many files and directories one session may have open at once. sftp(1) has one, and more only
// where it copies directories.
const maxHandles = 64

// maxPath bounds a path, in bytes, as Linux does: each is on record.
const maxPath = 4096

// Config is what to serve. Every field is required unless it says otherwise.
type Config struct {
	Root     *os.Root // symbolic links that lead out of it lead nowhere
	ReadOnly bool
	Start    string // where relative paths begin, "/" being Root. If empty, there

	// Opened and Closed are told of files, and Changed of what was done to names and attributes. Opened and Changed are
	// asked before anything happens, and prevent it with an error. They are called from several goroutines. If
	// nil, nobody is told.
	Opened  func(path, mode string) error
	Closed  func(path string, read, written int64)
	Changed func(command, path, target string) error

	// Panicked is told of a panic in a request, which then fails. If nil, the panic goes on.
	Panicked func(p any)
}

// Serve serves rw, which it closes, until its end. It returns nil if the client ended it.
func Serve(rw io.ReadWriteCloser, cfg Config) error {
	if cfg.Root == nil {
		return errors.Join(errors.New("sftp: Root is required"), rw.Close())
	}
	if cfg.Start == "" {
		cfg.Start = "/"
	}
	t := &tree{Config: cfg}
	server := protocol.NewRequestServer(
		newInOrder(rw), protocol.Handlers{FileGet: t, FilePut: t, FileCmd: t, FileList: t},
		protocol.WithStartDirectory(cfg.Start),
	)
	err := server.Serve()
	if closeErr := server.Close(); closeErr != nil && !errors.Is(closeErr, io.EOF) {
		err = errors.Join(err, closeErr)
	}
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

// tree answers the requests of one session.
type tree struct {
	Config
	handles atomic.Int64
}

// take reports whether there may be one more handle. The taker must give it back.
func (t *tree) take() error {
	if t.handles.Add(1) > maxHandles {
		t.handles.Add(-1)
		return errTooMany
	}
	return nil
}

func (t *tree) give() { t.handles.Add(-1) }

// recovered must be deferred around each request.
func (t *tree) recovered(err *error) {
	if t.Panicked == nil {
		return
	}
	if p := recover(); p != nil {
		t.Panicked(p)
		*err = protocol.ErrSSHFxFailure
	}
}

func (t *tree) opened(path, mode string) error {
	if len(path) > maxPath {
		return errTooLong
	}
	if t.Opened == nil {
		return nil
	}
	return t.Opened(path, mode)
}

func (t *tree) closed(path string, read, written int64) {
	if t.Closed != nil {
		t.Closed(path, read, written)
	}
}

func (t *tree) changed(command, path, target string) error {
	if max(len(path), len(target)) > maxPath {
		return errTooLong
	}
	if t.Changed == nil {
		return nil
	}
	return t.Changed(command, path, target)
}
