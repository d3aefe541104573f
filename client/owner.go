package client

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/culvert-ssh/culvert/relay"
)

// owner is whoever opened a control connection. Only the owner's data connections are accepted.
type owner struct {
	addr netip.Addr
	uid  int // of the program on this machine, or unknownUID
}

// unknownUID is the uid of a program on another machine, or where the system doesn't tell.
const unknownUID = -1

// newOwner finds out who connected from client to the local address hop.
func newOwner(client, hop netip.AddrPort) (owner, error) {
	o := owner{addr: client.Addr(), uid: unknownUID}
	if sameMachine(client, hop) {
		var err error
		if o.uid, err = socketUID(client, hop); err != nil {
			return owner{}, err
		}
	}
	return o, nil
}

// sameMachine reports whether a connection from client to hop can only have come from this
// machine.
func sameMachine(client, hop netip.AddrPort) bool {
	return client.Addr().IsLoopback() || client.Addr() == hop.Addr()
}

// accepts returns nil if conn is the owner's, and otherwise whose it is.
func (o owner) accepts(conn *net.TCPConn) error {
	client, hop := relay.AddrPort(conn.RemoteAddr()), relay.AddrPort(conn.LocalAddr())
	if client.Addr() != o.addr {
		return fmt.Errorf("the control connection came from %s", o.addr)
	}
	if o.uid == unknownUID {
		return nil
	}
	uid, err := socketUID(client, hop)
	if err != nil {
		return err
	}
	return o.is(uid)
}

func (o owner) is(uid int) error {
	if uid != o.uid {
		return fmt.Errorf("it is uid %d's, and the control connection uid %d's", uid, o.uid)
	}
	return nil
}

// waits returns nil if it is the owner who waits at at for a connection from the local address from. Otherwise, or if that can't be told,
// nobody may connect there.
func (o owner) waits(at netip.AddrPort, from netip.Addr) error {
	if at.Addr() != o.addr {
		return fmt.Errorf("the control connection came from %s", o.addr)
	}
	if o.uid == unknownUID {
		return nil
	}
	uid, err := listenerUID(at, from)
	if err != nil {
		return err
	}
	return o.is(uid)
}

// took returns an error if somebody else has taken the connection that was made from the local address from to at, since waits said
// who would. A program that has taken it and closed its sockets has left no trace, and waits counts.
func (o owner) took(at, from netip.AddrPort) error {
	if o.uid == unknownUID {
		return nil
	}
	if uid, err := takenUID(at, from); err == nil {
		return o.is(uid)
	}
	if uid, err := listenerUID(at, from.Addr()); err == nil {
		return o.is(uid)
	}
	return nil
}
