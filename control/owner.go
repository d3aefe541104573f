package control

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/culvert-ssh/culvert/relay"
)

// Owner is whoever opened a control connection. Only the owner's data connections are accepted, and connected to.
type Owner struct {
	Addr netip.Addr
	UID  int // of the program on this machine, or UnknownUID
}

// UnknownUID is the uid of a program on another machine, or where the system doesn't tell.
const UnknownUID = -1

// NewOwner finds out who connected from client to the local address hop. It fails if that may be any of several users, of whom this
// process can't tell which: one in a user namespace sees one uid in place of all that are not mapped there.
func NewOwner(client, hop netip.AddrPort) (Owner, error) {
	return newOwner(client, hop, sameMachine(client, hop))
}

// NewRedirectedOwner is NewOwner for a connection that has arrived at hop, and that its program has made to somewhere else, as the packet filter
// has redirected it. One that arrives at a loopback address has come from this machine, whatever its own address.
func NewRedirectedOwner(client, to, hop netip.AddrPort) (Owner, error) {
	return newOwner(client, to, hop.Addr().IsLoopback() || sameMachine(client, hop))
}

// newOwner finds out who connected from client to what the program knows as at.
func newOwner(client, at netip.AddrPort, here bool) (Owner, error) {
	o := Owner{Addr: client.Addr(), UID: UnknownUID}
	if here {
		var err error
		if o.UID, err = socketUID(client, at); err != nil {
			return Owner{}, err
		}
		if err = distinct(o.UID); err != nil {
			return Owner{}, err
		}
	}
	return o, nil
}

// sameMachine reports whether a connection from client to hop can only have come from this
// machine.
func sameMachine(client, hop netip.AddrPort) bool {
	return client.Addr().IsLoopback() || client.Addr() == hop.Addr()
}

// Accepts returns nil if conn is the owner's, and otherwise whose it is.
func (o Owner) Accepts(conn *net.TCPConn) error {
	return o.AcceptsFrom(relay.AddrPort(conn.RemoteAddr()), relay.AddrPort(conn.LocalAddr()))
}

// AcceptsFrom is Accepts for a connection from client, which its program has made to at.
func (o Owner) AcceptsFrom(client, at netip.AddrPort) error {
	if client.Addr() != o.Addr {
		return fmt.Errorf("the control connection came from %s", o.Addr)
	}
	if o.UID == UnknownUID {
		return nil
	}
	uid, err := socketUID(client, at)
	if err != nil {
		return err
	}
	return o.is(uid)
}

func (o Owner) is(uid int) error {
	if uid != o.UID {
		return fmt.Errorf("it is uid %d's, and the control connection uid %d's", uid, o.UID)
	}
	return nil
}

// Waits returns nil if it is the owner who waits at at for a connection from the local address from. Otherwise, or if that can't be told,
// nobody may connect there.
func (o Owner) Waits(at netip.AddrPort, from netip.Addr) error {
	if at.Addr() != o.Addr {
		return fmt.Errorf("the control connection came from %s", o.Addr)
	}
	if o.UID == UnknownUID {
		return nil
	}
	uid, err := listenerUID(at, from)
	if err != nil {
		return err
	}
	return o.is(uid)
}

// Took returns an error if somebody else has taken the connection that was made from the local address from to at, since Waits said
// who would. A program that has taken it and closed its sockets has left no trace, and Waits counts.
func (o Owner) Took(at, from netip.AddrPort) error {
	if o.UID == UnknownUID {
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
