// Package redirect is what it takes of Linux to have connections come here that are made to somewhere else: the rules for its
// packet filter, and where a connection that it has redirected was going.
//
// It opens nothing and changes nothing: the rules are text for whoever may put them in force.
package redirect

import (
	"errors"
	"net/netip"
)

// ErrNotRedirected is what [Original] returns of a connection that was made to where it has arrived.
var ErrNotRedirected = errors.New("the connection was not redirected: this port takes those that the rules of culvert redirect print send here, and no others")

// The ports that data connections are announced at where their FTP clients are redirected. Nobody listens at them: the rules redirect them
// like the control connections, and no other ports of an FTP server.
const (
	FirstDataPort = 50000
	LastDataPort  = 50999
)

// DataPort reports whether a port is one of them.
func DataPort(port uint16) bool { return port >= FirstDataPort && port <= LastDataPort }

// original is what [Original] makes of the kernel's answer: where a connection that has arrived at local was going.
func original(to, local netip.AddrPort) (netip.AddrPort, error) {
	if to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port()); to == local || !to.IsValid() || to.Port() == 0 {
		return netip.AddrPort{}, ErrNotRedirected
	}
	return to, nil
}
