package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/culvert-ssh/culvert/relay"
)

// socket is one that the bastion listens on.
type socket struct {
	named    netip.AddrPort // as ListenAddress names it, with port 0 perhaps; not valid if systemd made the socket
	listener *net.TCPListener
}

// given reports whether systemd made the socket.
func (s socket) given() bool { return !s.named.IsValid() }

// sockets are those that are open, in the order of the configuration. Either systemd made all of them, and ListenAddress
// doesn't matter, or none.
type sockets []socket

// listen opens what it can, as sshd does: a machine without IPv6 is no reason not to start. It fails if
// nothing is left. What was inherited and is still to be listened on is not opened but taken.
func listen(addrs []netip.AddrPort, inherited sockets, log *slog.Logger) (sockets, error) {
	if len(inherited) > 0 && inherited[0].given() {
		return inherited, nil
	}
	var (
		open sockets
		errs []error
	)
	for i, s := range inherited.claim(addrs) {
		if s.listener == nil {
			var err error
			if s, err = listenOn(addrs[i]); err != nil {
				errs = append(errs, err)
				continue
			}
		}
		open = append(open, s)
	}
	if len(open) == 0 {
		return nil, fmt.Errorf("no address to listen on: %w", errors.Join(errs...))
	}
	for _, err := range errs {
		log.Error("not listening", "err", err)
	}
	return open, nil
}

// claim returns which of s is for each address, and closes those that are for none. An address with a port of its own comes before one
// that is content with any.
func (s sockets) claim(addrs []netip.AddrPort) []socket {
	found := make([]socket, len(addrs))
	left := slices.Clone(s)
	for _, any := range []bool{false, true} {
		for i, a := range addrs {
			if found[i].listener != nil || any != (a.Port() == 0) {
				continue
			}
			j := slices.IndexFunc(left, func(s socket) bool {
				return s.named == a || any && s.named.Addr() == a.Addr()
			})
			if j >= 0 {
				found[i] = socket{named: a, listener: left[j].listener}
				left = slices.Delete(left, j, j+1)
			}
		}
	}
	left.close()
	return found
}

func listenOn(a netip.AddrPort) (socket, error) {
	network := "tcp4"
	if a.Addr().Is6() {
		network = "tcp6" // IPv6 only
	}
	l, err := relay.Listen(context.Background(), network, a.String())
	return socket{named: a, listener: l}, err
}

// change is from some sockets to others.
type change struct {
	all    sockets // those that are to be
	opened sockets // of these, the new ones
	gone   sockets // those that are not to be any more, still open
}

// change opens what is to be listened on now and isn't yet. An address that wasn't in before must be had; one that was and
// couldn't be is tried again, as a start would.
func (s sockets) change(before, now []netip.AddrPort, log *slog.Logger) (c change, err error) {
	if s[0].given() {
		return change{all: s}, nil
	}
	for _, a := range now {
		if i := slices.IndexFunc(s, func(s socket) bool { return s.named == a }); i >= 0 {
			c.all = append(c.all, s[i])
			continue
		}
		made, err := listenOn(a)
		if err != nil {
			if !slices.Contains(before, a) {
				c.opened.close()
				return change{}, err
			}
			log.Error("not listening, as before", "err", err)
			continue
		}
		c.all, c.opened = append(c.all, made), append(c.opened, made)
	}
	if len(c.all) == 0 {
		return change{}, errors.New("no address to listen on")
	}
	for _, was := range s {
		if !slices.Contains(now, was.named) {
			c.gone = append(c.gone, was)
		}
	}
	return c, nil
}

// close ends this process's use of the sockets. Who else has them may go on.
func (s sockets) close() {
	for _, one := range s {
		_ = one.listener.Close() // nothing is lost with it
	}
}

// shut closes the sockets and makes them refuse, whoever else has them: a predecessor keeps them in case that this process fails.
func (s sockets) shut() {
	files, err := s.files()
	s.close()
	if err != nil {
		return // then nobody is told, and they refuse when the last process closes them
	}
	for _, f := range files {
		_ = unix.Shutdown(int(f.Fd()), unix.SHUT_RD)
	}
	_ = files.close()
}

// files returns the sockets for another process. The caller must close them.
//
// TCPListener.File won't do: to use its descriptor makes it blocking, and, as that is a property of what the
// descriptors have in common, ours as well: Accept would then not end at Close.
func (s sockets) files() (inheritance, error) {
	var all inheritance
	for _, one := range s {
		raw, err := one.listener.SyscallConn()
		if err != nil {
			return nil, errors.Join(err, all.close())
		}
		fd := -1
		var dupErr error
		err = raw.Control(func(of uintptr) { fd, dupErr = unix.FcntlInt(of, unix.F_DUPFD_CLOEXEC, 0) })
		if err = errors.Join(err, dupErr); err != nil {
			return nil, errors.Join(fmt.Errorf("duplicate the socket %s: %w", one.listener.Addr(), err), all.close())
		}
		name := ownSocket
		if one.given() {
			name = givenSocket
		}
		all = append(all, os.NewFile(uintptr(fd), name))
	}
	return all, nil
}
