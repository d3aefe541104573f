package control

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/culvert-ssh/culvert/relay"
)

// MaxRejects is how many connections of others close a [DataListener].
const MaxRejects = 10

// DataListenerConfig is what ListenData needs. At, Accepts and Timeout are required.
type DataListenerConfig struct {
	// At is where to listen. If its port is 0, the system chooses one.
	At netip.AddrPort
	// Accepts returns nil if conn is the one that is waited for, and otherwise whose it is.
	Accepts func(conn *net.TCPConn) error
	// Timeout is how long Accept waits.
	Timeout time.Duration
	// Rejected is told of each connection that was reset, and why. If nil, nobody is.
	Rejected func(peer netip.AddrPort, why error)
}

// A DataListener waits for one data connection, and resets those of others meanwhile.
type DataListener struct {
	DataListenerConfig
	ln      *net.TCPListener
	checked chan struct{}
}

// ListenData begins to listen. The caller must call Close or Accept.
func ListenData(cfg DataListenerConfig) (*DataListener, error) {
	ln, err := relay.Listen(context.Background(), "tcp", cfg.At.String())
	if err != nil {
		return nil, fmt.Errorf("listen for the data connection: %w", err)
	}
	return &DataListener{DataListenerConfig: cfg, ln: ln, checked: make(chan struct{})}, nil
}

// Addr returns where it listens.
func (d *DataListener) Addr() netip.AddrPort { return relay.AddrPort(d.ln.Addr()) }

// Checked is closed when it is known whose connection came, or that none did, if Accept was called.
func (d *DataListener) Checked() <-chan struct{} { return d.checked }

// Close withdraws the listener. A connection that Accept has returned lives on. It may be called at any time, more than once.
func (d *DataListener) Close() {
	_ = d.ln.Close() // fails only if it was closed already, which means that it was used
}

// Accept returns the first connection that is the right one, for Timeout from now on, and closes the listener. It is called
// once. Connections of others are reset, and too many of them end it.
func (d *DataListener) Accept(ctx context.Context) (*net.TCPConn, error) {
	defer close(d.checked)
	defer d.Close()
	stop := context.AfterFunc(ctx, d.Close)
	defer stop()
	if err := d.ln.SetDeadline(time.Now().Add(d.Timeout)); err != nil {
		return nil, err
	}
	for range MaxRejects {
		conn, err := d.ln.AcceptTCP()
		if err != nil {
			return nil, err
		}
		if err = d.Accepts(conn); err == nil {
			return conn, nil
		}
		peer := relay.AddrPort(conn.RemoteAddr())
		relay.NewTCP(conn).Abort()
		if d.Rejected != nil {
			d.Rejected(peer, err)
		}
	}
	return nil, fmt.Errorf("%d connections of others", MaxRejects)
}
