//go:build unix

package client

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// socketListener is a Unix socket that is listened on. Its name goes when it is closed, unless it has become somebody else's.
type socketListener struct {
	net.Listener
	path string
	made os.FileInfo
}

// listenSocket listens on a Unix socket, which whoever has one of the permissions in mask can't connect to. If unlink is set, one that is
// there already gives way.
func listenSocket(path string, mask fs.FileMode, unlink bool) (net.Listener, error) {
	if unlink {
		if err := removeSocket(path); err != nil {
			return nil, err
		}
	}
	fd, err := unixSocket()
	if err != nil {
		return nil, fmt.Errorf("make a socket: %w", err)
	}
	file := os.NewFile(uintptr(fd), path)
	defer file.Close() // the listener has its own
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		return nil, err
	}
	l, err := listenBound(file, path, mask)
	if err != nil {
		return nil, errors.Join(err, os.Remove(path))
	}
	return l, nil
}

// listenBound begins to listen. Nobody can connect before, whatever the permissions are that bind gave by the umask, which
// belongs to the whole process.
func listenBound(file *os.File, path string, mask fs.FileMode) (net.Listener, error) {
	if err := os.Chmod(path, 0o777&^mask); err != nil {
		return nil, err
	}
	made, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if err := unix.Listen(int(file.Fd()), unix.SOMAXCONN); err != nil {
		return nil, err
	}
	ln, err := net.FileListener(file)
	if err != nil {
		return nil, err
	}
	return &socketListener{ln, path, made}, nil
}

func unixSocket() (fd int, err error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if fd, err = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0); err == nil {
		unix.CloseOnExec(fd)
	}
	return fd, err
}

// removeSocket removes what is a socket, and nothing else.
func removeSocket(path string) error {
	switch info, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s is there, and is no socket", path)
	}
	return os.Remove(path)
}

// Close ends the listening.
func (l *socketListener) Close() error {
	var removed error
	if now, err := os.Lstat(l.path); err == nil && os.SameFile(now, l.made) {
		removed = os.Remove(l.path)
	}
	return errors.Join(removed, l.Listener.Close())
}
