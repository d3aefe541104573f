package client

import (
	"fmt"
	"net"
	"os"

	"github.com/culvert-ssh/culvert/control"
	"github.com/culvert-ssh/culvert/relay"
)

// mayUse returns nil if a connection to a private listener is this user's, or root's, as far as the system tells.
func mayUse(conn net.Conn) error {
	at, from := relay.AddrPort(conn.LocalAddr()), relay.AddrPort(conn.RemoteAddr())
	if !from.IsValid() {
		return nil // a Unix socket, whose permissions say who may
	}
	owner, err := control.NewOwner(from, at)
	if err != nil {
		return err
	}
	if owner.UID != control.UnknownUID && owner.UID != 0 && owner.UID != os.Getuid() {
		return fmt.Errorf("it is uid %d's", owner.UID)
	}
	return nil
}
