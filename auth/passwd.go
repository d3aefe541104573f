package auth

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// ErrNoSuchUser is returned by DeletePassword, and by those that change an account that must be there.
var ErrNoSuchUser = errors.New("no such user")

// SetPassword writes a user's password into a file of accounts, which is made (mode 0600) if it isn't
// there. The file is replaced as a whole, so that a reader sees the old or the new one.
func SetPassword(path, user, password string) error {
	if password == "" || len(password) > maxPassword {
		return fmt.Errorf("a password has from 1 to %d bytes", maxPassword)
	}
	hash, err := hashPassword(password)
	if err != nil {
		return fmt.Errorf("hash password: %w", err)
	}
	return editAccount(path, user, true, func(a *Account) { a.hash = hash })
}

// SetSecret writes the secret of a user's one-time codes; if it is empty, the user has none any more.
func SetSecret(path, user, secret string) error {
	if secret == "" {
		return editAccount(path, user, false, func(a *Account) { a.secret = "" })
	}
	if err := validSecret(secret); err != nil {
		return err
	}
	return editAccount(path, user, true, func(a *Account) { a.secret = secret })
}

// SetGroups writes the groups of a user, who is then in these and no others, whatever the operating system says.
func SetGroups(path, user string, groups []string) error {
	if _, err := ParseGroups(strings.Join(groups, ",")); err != nil {
		return err
	}
	return editAccount(path, user, true, func(a *Account) { a.Groups, a.ownGroups = slices.Clone(groups), true })
}

// SetLocked locks an account or opens it again. It returns ErrNoSuchUser if there is none.
func SetLocked(path, user string, locked bool) error {
	return editAccount(path, user, false, func(a *Account) { a.Locked = locked })
}

// ListAccounts returns the accounts of a file in its order.
func ListAccounts(path string) ([]Account, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read password file: %w", err)
	}
	return parseAccounts(path, data)
}

// DeletePassword removes a user from the file. It returns ErrNoSuchUser if there is none.
func DeletePassword(path, user string) error {
	return editPasswords(path, func(lines [][]byte) ([][]byte, error) {
		i := lineOf(lines, user)
		if i < 0 {
			return nil, fmt.Errorf("user %q in %q: %w", user, path, ErrNoSuchUser)
		}
		return append(lines[:i], lines[i+1:]...), nil
	})
}

// editAccount replaces the line of one user by what edit makes of it. If there is none, it is added if add is set, else
// the error is ErrNoSuchUser.
func editAccount(path, user string, add bool, edit func(*Account)) error {
	if err := ValidUser(user); err != nil {
		return err
	}
	return editPasswords(path, func(lines [][]byte) ([][]byte, error) {
		a := Account{Name: user}
		i := lineOf(lines, user)
		if i >= 0 {
			var err error
			if a, err = parseAccount(strings.TrimSpace(string(lines[i]))); err != nil {
				return nil, err
			}
		} else if !add {
			return nil, fmt.Errorf("user %q in %q: %w", user, path, ErrNoSuchUser)
		}
		edit(&a)
		line := []byte(a.line())
		if i >= 0 {
			lines[i] = line
			return lines, nil
		}
		if n := len(lines); n > 0 && !bytes.HasSuffix(lines[n-1], []byte("\n")) {
			lines[n-1] = append(bytes.Clone(lines[n-1]), '\n')
		}
		return append(lines, line), nil
	})
}

func lineOf(lines [][]byte, user string) int {
	for i, line := range lines {
		if name, _, _ := strings.Cut(strings.TrimSpace(string(line)), ":"); name == user {
			return i
		}
	}
	return -1
}

// editPasswords replaces the lines of the file by what edit makes of them. Two that edit at once
// wait for each other; comments and order are kept.
func editPasswords(path string, edit func([][]byte) ([][]byte, error)) (err error) {
	path, err = filepath.Abs(path)
	if err != nil {
		return err
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real // replace the file, not the link to it
	}
	unlock, err := lockDirectory(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("lock directory of password file: %w", err)
	}
	defer unlock()

	// Whoever runs this may write the file; whether it is to be trusted is the reader's question.
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read password file: %w", err)
	}
	if _, err := parseAccounts(path, data); err != nil {
		return err // an edit would hide that it serves nobody
	}
	lines, err := edit(splitLines(data))
	if err != nil {
		return err
	}
	if err := replaceFile(path, bytes.Join(lines, nil)); err != nil {
		return fmt.Errorf("write password file: %w", err)
	}
	return nil
}

func splitLines(data []byte) (lines [][]byte) {
	for line := range bytes.Lines(data) {
		lines = append(lines, line)
	}
	return lines
}

// lockDirectory waits for the lock on a directory. A lock on the file would be lost when it is replaced.
func lockDirectory(dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { _ = f.Close() }, nil // closing unlocks
}

// replaceFile writes data beside path and renames it. The owner stays who it was: the server may run as another
// user than the one who sets passwords.
func replaceFile(path string, data []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".culvertd-passwd-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(data)
	if err == nil {
		err = keepOwner(f, path)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func keepOwner(f *os.File, path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(st.Uid) == os.Geteuid() {
		return nil
	}
	return f.Chown(int(st.Uid), int(st.Gid))
}
