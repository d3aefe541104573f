package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
)

// socket is one that the bastion listens on.
type socket struct {
	named    netip.AddrPort // as ListenAddress names it, with port 0 perhaps
	listener *net.TCPListener
}

// sockets are those that are open, in the order of the configuration.
type sockets []socket

// listen opens what it can, as sshd does: a machine without IPv6 is no reason not to start. It fails if
// nothing is left.
func listen(addrs []netip.AddrPort, log *slog.Logger) (sockets, error) {
	var (
		open sockets
		errs []error
	)
	for _, a := range addrs {
		s, err := listenOn(a)
		if err != nil {
			errs = append(errs, err)
			continue
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

func listenOn(a netip.AddrPort) (socket, error) {
	network := "tcp4"
	if a.Addr().Is6() {
		network = "tcp6" // IPv6 only
	}
	l, err := net.Listen(network, a.String())
	if err != nil {
		return socket{}, err
	}
	return socket{named: a, listener: l.(*net.TCPListener)}, nil
}

// change returns the sockets for the addresses in now: those of s that still are to be, and new ones. Those that are no longer
// to be are in gone, still open. An address that wasn't in before must be had; one that was and couldn't be is tried again, as
// a start would.
func (s sockets) change(before, now []netip.AddrPort, log *slog.Logger) (next, opened, gone sockets, err error) {
	for _, a := range now {
		if i := slices.IndexFunc(s, func(s socket) bool { return s.named == a }); i >= 0 {
			next = append(next, s[i])
			continue
		}
		made, err := listenOn(a)
		if err != nil {
			if !slices.Contains(before, a) {
				opened.close()
				return nil, nil, nil, err
			}
			log.Error("not listening, as before", "err", err)
			continue
		}
		next, opened = append(next, made), append(opened, made)
	}
	if len(next) == 0 {
		return nil, nil, nil, errors.New("no address to listen on")
	}
	for _, was := range s {
		if !slices.Contains(now, was.named) {
			gone = append(gone, was)
		}
	}
	return next, opened, gone, nil
}

func (s sockets) close() {
	for _, one := range s {
		_ = one.listener.Close() // nothing is lost with it
	}
}
