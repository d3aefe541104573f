package sftp

import (
	"errors"
	"io"
	"io/fs"

	protocol "github.com/pkg/sftp"
)

var (
	errTooMany   = errors.New("too many open files")
	errNotFile   = errors.New("not a regular file")
	errNotDir    = errors.New("not a directory")
	errExists    = errors.New("the new name exists")
	errOutside   = errors.New("a link must not lead out of the directory")
	errTooLong   = errors.New("the path is too long")
	errOwnership = errors.New("ownership can't be changed")
)

// chosen are the errors whose text the client sees. Any other may name what it shouldn't know.
var chosen = []error{errTooMany, errNotFile, errNotDir, errExists, errOutside, errTooLong, errOwnership}

// status is what the client is told of err.
func status(err error) error {
	switch {
	case err == nil, err == io.EOF:
		return err
	case errors.Is(err, fs.ErrNotExist):
		return protocol.ErrSSHFxNoSuchFile
	case errors.Is(err, fs.ErrPermission):
		return protocol.ErrSSHFxPermissionDenied
	}
	if errors.Is(err, protocol.ErrSSHFxBadMessage) || errors.Is(err, protocol.ErrSSHFxOpUnsupported) {
		return err
	}
	for _, c := range chosen {
		if errors.Is(err, c) {
			return c
		}
	}
	return protocol.ErrSSHFxFailure
}
