package admin

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"

	"github.com/culvert-ssh/culvert/peercred"
)

// Control serves the control socket.
type Control struct {
	*endpoint
	path string
	file os.FileInfo // of the socket that is ours
}

// ServeControl listens at path, in the place of a socket that nobody answers at. Whoever isn't root or the user that runs this process is sent away, whatever
// the mode of the file, which is 0600. The caller must call Close.
func ServeControl(path string, b Bastion) (*Control, error) {
	if err := b.check(); err != nil {
		return nil, err
	}
	l, file, err := listenAt(path)
	if err != nil {
		return nil, fmt.Errorf("control socket %q: %w", path, err)
	}
	return &Control{serve(&credentials{l, b.Log}, b.handler(), b.Log), path, file}, nil
}

// listenAt makes the socket under another name and gives it its own when its mode is right: nobody finds it sooner.
func listenAt(path string) (l *net.UnixListener, file os.FileInfo, err error) {
	if there, err := os.Lstat(path); err == nil && there.Mode()&os.ModeSocket == 0 {
		return nil, nil, errors.New("there is something else than a socket")
	}
	if c, err := net.Dial("unix", path); err == nil {
		return nil, nil, errors.Join(errors.New("another process serves it"), c.Close())
	}
	next := fmt.Sprintf("%s.%d.new", path, os.Getpid())
	if err := os.Remove(next); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, nil, err
	}
	if l, err = net.ListenUnix("unix", &net.UnixAddr{Name: next, Net: "unix"}); err != nil {
		return nil, nil, err
	}
	l.SetUnlinkOnClose(false) // it has another name by then
	err = os.Chmod(next, 0o600)
	if err == nil {
		file, err = os.Lstat(next)
	}
	if err == nil {
		err = os.Rename(next, path)
	}
	if err != nil {
		return nil, nil, errors.Join(err, os.Remove(next), l.Close())
	}
	return l, file, nil
}

// Rename gives the socket another path, in the place of a socket that is there.
func (c *Control) Rename(path string) error {
	if err := os.Rename(c.path, path); err != nil {
		return fmt.Errorf("rename control socket: %w", err)
	}
	c.path = path
	return nil
}

// Close ends the answers, waits for them, and takes the socket away if no other process has put its own in its place.
func (c *Control) Close() error {
	err := c.close()
	if there, errStat := os.Lstat(c.path); errStat == nil && os.SameFile(there, c.file) {
		err = errors.Join(err, os.Remove(c.path))
	}
	return err
}

// credentials lets through who may use the socket, by what the kernel says of them.
type credentials struct {
	*net.UnixListener
	log *slog.Logger
}

// Accept implements net.Listener.
func (l *credentials) Accept() (net.Conn, error) {
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		uid, err := peercred.User(c)
		if err == nil && (uid == 0 || uid == uint32(os.Geteuid())) {
			return c, nil
		}
		l.log.Warn("control socket: somebody else was sent away", "uid", uid, "err", err)
		_ = c.Close()
	}
}
