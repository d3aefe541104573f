package sftp

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// OpenRoot opens a directory to serve. As sshd does for ChrootDirectory, it wants all directories down to it to belong to
// root, or to the user that runs the program, and to be writable by nobody else; those above may be sticky
// ones, in which others can't replace what isn't theirs. The caller must close the root.
func OpenRoot(path string) (*os.Root, error) {
	if !filepath.IsAbs(path) {
		return nil, fmt.Errorf("%q is not an absolute path", path)
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, err
	}
	// Where the links are matters as much as where they lead.
	for _, dir := range []string{filepath.Clean(path), real} {
		if err := trustedDown(dir); err != nil {
			return nil, err
		}
	}
	return os.OpenRoot(real)
}

// trustedDown looks at a directory and at all above it.
func trustedDown(path string) error {
	for dir := path; ; dir = filepath.Dir(dir) {
		if err := trusted(dir, dir != path); err != nil {
			return err
		}
		if dir == filepath.Dir(dir) {
			return nil
		}
	}
}

func trusted(dir string, mayBeSticky bool) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.IsDir():
		return fmt.Errorf("%q is not a directory", dir)
	case !ok:
		return errors.New("directories have no owner here")
	case st.Uid != 0 && int(st.Uid) != os.Geteuid():
		return fmt.Errorf("%q belongs to user id %d: it must belong to root or to the user that runs culvertd", dir, st.Uid)
	case info.Mode().Perm()&0o022 != 0 && !(mayBeSticky && info.Mode()&fs.ModeSticky != 0):
		return fmt.Errorf("%q is writable by others (mode %#o): run \"chmod go-w\" on it", dir, info.Mode().Perm())
	}
	return nil
}
