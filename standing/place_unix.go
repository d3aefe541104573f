//go:build unix

package standing

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/culvert-ssh/culvert/peercred"
)

// private makes sure that dir is a directory that nobody else can look into, and makes it if asked.
func private(dir string, make bool) error {
	if make {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err // says what and which
		}
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.IsDir():
		return fmt.Errorf("%s is not a directory, and should be a private one", dir)
	case !ok || int(stat.Uid) != os.Geteuid():
		return fmt.Errorf("%s belongs to somebody else: remove it, or set XDG_STATE_HOME and XDG_RUNTIME_DIR to directories of your own", dir)
	case info.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("%s is not private: chmod 700 it", dir)
	}
	return nil
}

// errTaken is the error of take where another process has the place.
var errTaken = errors.New("another process has the place")

// take makes this process the one of the place, until it ends or closes what is returned. If another is, the error matches errTaken.
func (p Place) take() (*os.File, error) {
	if err := private(p.Dir, true); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(p.lock, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = errTaken
	}
	if err == nil {
		err = p.sign(f)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// sign writes into the lock where the socket is.
func (p Place) sign(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(p.Socket+"\n"), 0)
	return err
}

// listen returns the socket, in the place of one that a process has left behind. It is for who has taken the place.
func (p Place) listen() (*net.UnixListener, error) {
	if err := private(filepath.Dir(p.Socket), true); err != nil {
		return nil, err
	}
	if err := os.Remove(p.Socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: p.Socket, Net: "unix"})
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(p.Socket, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// ErrNotRunning is the error of a call where there is no process.
var ErrNotRunning = errors.New("no tunnel is up")

// dial connects to the process of the place, and makes sure that it is this person's. If there is none, the error matches ErrNotRunning.
func (p Place) dial() (*net.UnixConn, error) {
	socket, err := p.signed()
	if errors.Is(err, os.ErrNotExist) {
		return nil, ErrNotRunning
	}
	if err != nil {
		return nil, err
	}
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) { // it ended without time to tidy up
		return nil, ErrNotRunning
	}
	if err != nil {
		return nil, err
	}
	if err := sameUser(c); err != nil {
		return nil, errors.Join(fmt.Errorf("the process at %s: %w", socket, err), c.Close())
	}
	return c, nil
}

// signed reads where the socket is, and makes sure that it is in a private place.
func (p Place) signed() (string, error) {
	if err := private(p.Dir, false); err != nil {
		return "", err
	}
	f, err := os.OpenFile(p.lock, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSocket+1))
	if err != nil {
		return "", err
	}
	socket := strings.TrimSuffix(string(text), "\n")
	if socket == "" { // the process has taken the place, and is about to sign
		return "", os.ErrNotExist
	}
	return socket, private(filepath.Dir(socket), false)
}

// sameUser makes sure that the process at the other end is of the user who runs this one.
func sameUser(c *net.UnixConn) error {
	uid, err := peercred.User(c)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil // that nobody else gets into the directory has been made sure of
	}
	if err != nil {
		return err
	}
	if uid != uint32(os.Geteuid()) {
		return fmt.Errorf("it belongs to the user number %d", uid)
	}
	return nil
}
