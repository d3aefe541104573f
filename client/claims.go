package client

import (
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/culvert-ssh/culvert/control"
)

// claims are the ports of FTP servers at which data connections are announced, and not taken yet. A bastion that reads FTP opens such a port once, to
// whoever asks by the same SSH connection. That it is the one to whom it was announced, is for us to see to: SOCKS and the FTP proxy ask for whatever
// port they are told, and those who use them may be several.
type claims struct {
	mu    sync.Mutex
	ports map[uint16][]*control.Owner
}

// claim keeps others from the port, at whatever host: a host has many names. The caller must call release, and may do so more than once.
func (c *claims) claim(port uint16, owner control.Owner) (release func()) {
	if c == nil {
		return func() {}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ports == nil {
		c.ports = make(map[uint16][]*control.Owner)
	}
	o := &owner
	c.ports[port] = append(c.ports[port], o)
	return sync.OnceFunc(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		var left []*control.Owner
		for _, other := range c.ports[port] {
			if other != o {
				left = append(left, other)
			}
		}
		if c.ports[port] = left; left == nil {
			delete(c.ports, port)
		}
	})
}

// errClaimed is matched by what permits returns.
var errClaimed = errors.New("somebody else's FTP data connection is announced at that port")

// permits returns an error if the port is claimed by somebody whom accepts doesn't accept, and by nobody else.
func (c *claims) permits(port uint16, accepts func(control.Owner) error) error {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	owners := c.ports[port]
	c.mu.Unlock()
	var err error
	for _, o := range owners {
		why := accepts(*o)
		if why == nil {
			return nil
		}
		err = fmt.Errorf("%w: %w", errClaimed, why)
	}
	return err
}

// permitsConn is permits for a connection that leads to the port. Who uses a Unix socket has the permission of its owner.
func (c *claims) permitsConn(port uint16, conn net.Conn) error {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return nil
	}
	return c.permits(port, func(o control.Owner) error { return o.Accepts(tcp) })
}

// permitsOwner is permits for an FTP control connection.
func (c *claims) permitsOwner(port uint16, owner control.Owner) error {
	return c.permits(port, func(o control.Owner) error {
		if o != owner {
			return fmt.Errorf("it is that of uid %d at %s", o.UID, o.Addr)
		}
		return nil
	})
}
