package auth

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// maxFileSize bounds a keys, principals or account file, in bytes: about 10,000 keys.
const maxFileSize = 1 << 20

// readTrusted reads a file that nobody could have written but root, the user that runs us, and the owners that are named by their
// user ids. None of the permission bits in forbidden may be set on it.
func readTrusted(path string, forbidden fs.FileMode, owners ...int) ([]byte, error) {
	f, err := openTrusted(path, forbidden, owners...)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAtMost(f, maxFileSize)
}

func readAtMost(f *os.File, most int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > most {
		return nil, fmt.Errorf("%q is longer than %d bytes", f.Name(), most)
	}
	return data, nil
}

// openTrusted opens a file for readTrusted. As sshd does under StrictModes, it
// looks at the directories above as well; unlike sshd it allows the sticky ones (/tmp), where others
// can't replace what isn't theirs.
func openTrusted(path string, forbidden fs.FileMode, owners ...int) (*os.File, error) {
	real, err := trustedPath(path, owners)
	if err != nil {
		return nil, err
	}
	// O_NONBLOCK: opening a FIFO must not hang.
	f, err := os.OpenFile(real, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil {
		err = trustedFile(path, info, forbidden, owners)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// trustedPath returns the real path of a file whose directories, all the way up, nobody else can change. The file
// itself is the caller's to look at.
func trustedPath(path string, owners []int) (string, error) {
	if !filepath.IsAbs(path) {
		return "", fmt.Errorf("%q is not an absolute path", path)
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", err
	}
	for dir := filepath.Dir(real); ; dir = filepath.Dir(dir) {
		if err := trustedDirectory(dir, owners); err != nil {
			return "", err
		}
		if dir == filepath.Dir(dir) {
			return real, nil
		}
	}
}

func trustedDirectory(dir string, owners []int) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if err := trustedOwner(dir, info, owners); err != nil {
		return err
	}
	if info.Mode().Perm()&0o022 != 0 && info.Mode()&fs.ModeSticky == 0 {
		return fmt.Errorf("%q is writable by others (mode %#o): run \"chmod go-w\" on it", dir, info.Mode().Perm())
	}
	return nil
}

func trustedFile(path string, info fs.FileInfo, forbidden fs.FileMode, owners []int) error {
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%q is not a regular file", path)
	}
	if err := trustedOwner(path, info, owners); err != nil {
		return err
	}
	if mode := info.Mode().Perm(); mode&forbidden != 0 {
		return fmt.Errorf("%q is open to others (mode %#o): run \"chmod %#o\" on it", path, mode, mode&^forbidden)
	}
	return nil
}

func trustedOwner(path string, info fs.FileInfo, owners []int) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return errors.New("files have no owner here")
	}
	if st.Uid != 0 && int(st.Uid) != os.Geteuid() && !slices.Contains(owners, int(st.Uid)) {
		return fmt.Errorf("%q belongs to user id %d: it must belong to root or to the user that runs culvertd", path, st.Uid)
	}
	return nil
}
