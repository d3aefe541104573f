package auth

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// maxFileSize bounds a keys or password file, in bytes: about 10,000 keys.
const maxFileSize = 1 << 20

// readTrusted reads a file that nobody but root and the user that runs us could have written. None of
// the permission bits in forbidden may be set on it. As sshd does under StrictModes, it
// looks at the directories above as well; unlike sshd it allows the sticky ones (/tmp), where others
// can't replace what isn't theirs.
func readTrusted(path string, forbidden fs.FileMode) ([]byte, error) {
	if !filepath.IsAbs(path) {
		return nil, fmt.Errorf("%q is not an absolute path", path)
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, err
	}
	for dir := filepath.Dir(real); ; dir = filepath.Dir(dir) {
		info, err := os.Lstat(dir)
		if err != nil {
			return nil, err
		}
		if err := trustedOwner(dir, info); err != nil {
			return nil, err
		}
		if info.Mode().Perm()&0o022 != 0 && info.Mode()&fs.ModeSticky == 0 {
			return nil, fmt.Errorf("%q is writable by others (mode %#o): run \"chmod go-w\" on it", dir, info.Mode().Perm())
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	// O_NONBLOCK: opening a FIFO must not hang.
	f, err := os.OpenFile(real, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%q is not a regular file", path)
	}
	if err := trustedOwner(path, info); err != nil {
		return nil, err
	}
	if mode := info.Mode().Perm(); mode&forbidden != 0 {
		return nil, fmt.Errorf("%q is open to others (mode %#o): run \"chmod %#o\" on it", path, mode, mode&^forbidden)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFileSize {
		return nil, fmt.Errorf("%q is longer than %d bytes", path, maxFileSize)
	}
	return data, nil
}

func trustedOwner(path string, info fs.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return errors.New("files have no owner here")
	}
	if st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("%q belongs to user id %d: it must belong to root or to the user that runs culvertd", path, st.Uid)
	}
	return nil
}
