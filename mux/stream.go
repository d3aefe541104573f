//go:build unix

package mux

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/culvert-ssh/culvert/relay"
)

// stream is one connection through the master. It is a relay.Stream.
type stream struct {
	master *Master
	in     io.Reader
	out    io.Writer
	endOut func() error // says to the master that everything was written
	unread func() bool  // reports that the master will never read what was written; nil if it ends one direction without the other
	free   func()       // lets go of everything at once
	leave  func()       // the same after both directions have ended, but not before the master has read what was written

	aborted atomic.Bool
	over    atomic.Bool // the SSH server has ended its direction, and the master the other one with it
	ended   sync.Once
}

// passenger is a connection that the master was asked for: it reads from one pipe and writes to another.
type passenger struct {
	control *conn // the master lets go of it when it is done with both
	in, out *os.File
	theirIn *os.File // the other end of out, which nobody here reads from: it shows what the master hasn't read
}

func newPassenger(m *Master, p passenger) *stream {
	s := &stream{master: m, in: p.in, out: p.out, free: p.close}
	s.endOut = sync.OnceValue(p.out.Close)
	s.unread = func() bool { return filled(p.theirIn) }
	s.leave = func() {
		_ = errors.Join(s.endOut(), p.in.Close(), p.theirIn.Close()) // each is of no use any more
		m.linger(p.control.gone, func() { _ = p.control.Close() })
	}
	return s
}

// close lets go of everything. What it can't close is closed already.
func (p passenger) close() {
	_ = errors.Join(p.in.Close(), p.out.Close(), p.theirIn.Close(), p.control.Close())
}

// newArrival is a connection that the master makes to us. What was written to it stays for the master to read.
func newArrival(m *Master, c *net.UnixConn) *stream {
	closeIt := func() { _ = c.Close() } // of no use any more
	return &stream{master: m, in: c, out: c, endOut: c.CloseWrite, free: closeIt, leave: closeIt}
}

// Read is [relay.Stream.Read].
func (s *stream) Read(p []byte) (int, error) {
	n, err := s.in.Read(p)
	switch {
	case err == nil:
	case s.aborted.Load():
		err = relay.ErrAborted
	case err == io.EOF:
		err = s.end()
	default:
		err = fmt.Errorf("%w: %w", relay.ErrAborted, err)
	}
	return n, err
}

var errBothEnded = fmt.Errorf("%w: the SSH server has ended its direction, and ssh can't go on with the other", relay.ErrAborted)

// end tells what an end was. When a process ends, the kernel ends all its connections in good order; so it is the SSH server's word only if
// the master lived on after it.
//
// With one direction ssh ends the other, and what it has not read by then is lost.
func (s *stream) end() error {
	if err := s.master.Alive(); err != nil {
		return relay.ErrTransportLost
	}
	if s.unread != nil {
		s.over.Store(true)
		if s.unread() {
			return errBothEnded
		}
	}
	return io.EOF
}

func (s *stream) Write(p []byte) (int, error) {
	if s.over.Load() {
		return 0, errBothEnded
	}
	n, err := s.out.Write(p)
	if err != nil {
		err = fmt.Errorf("%w: %w", relay.ErrAborted, err)
	}
	return n, err
}

// CloseWrite is [relay.Stream.CloseWrite].
func (s *stream) CloseWrite() error {
	if err := s.endOut(); err != nil {
		return fmt.Errorf("%w: %w", relay.ErrAborted, err)
	}
	return nil
}

// Close is [relay.Stream.Close].
func (s *stream) Close() error {
	s.ended.Do(func() {
		s.leave()
		s.master.forget(s)
	})
	return nil
}

// Abort is [relay.Stream.Abort]. To OpenSSH it is an end of data.
func (s *stream) Abort() {
	s.aborted.Store(true)
	s.ended.Do(func() {
		s.free()
		s.master.forget(s)
	})
}

// filled reports whether there is something in the pipe that f is the reading end of.
func filled(f *os.File) bool {
	raw, err := f.SyscallConn()
	if err != nil {
		return true // it is closed, and this stream was aborted
	}
	fds := []unix.PollFd{{Events: unix.POLLIN}}
	failed := raw.Control(func(fd uintptr) {
		fds[0].Fd = int32(fd)
		_, err = unix.Poll(fds, 0)
	})
	return failed != nil || err != nil || fds[0].Revents&unix.POLLIN != 0
}
