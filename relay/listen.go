package relay

import (
	"context"
	"errors"
	"fmt"
	"net"
)

// Listen listens for connections of plain TCP, on which keepalive is off. Multipath TCP, which Go's listeners take part in unless they are told not to, has no reset by
// SO_LINGER that could be counted on for [NewTCP], nor each of the options that a [Socket] is for; and it is code of the system that anybody could reach.
func Listen(ctx context.Context, network, at string) (*net.TCPListener, error) {
	lc := net.ListenConfig{KeepAlive: -1} // NewTCP turns it on, and whoever else wants it
	lc.SetMultipathTCP(false)
	ln, err := lc.Listen(ctx, network, at)
	if err != nil {
		return nil, err // says where
	}
	tcp, ok := ln.(*net.TCPListener)
	if !ok {
		return nil, errors.Join(fmt.Errorf("listen on %s: not a TCP socket", at), ln.Close())
	}
	return tcp, nil
}
