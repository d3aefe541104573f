package relay

import (
	"net"
	"sync/atomic"
	"time"
)

// Wire is the network connection under an SSH connection. It remembers that reading
// failed before the SSH library hears of it. x/crypto/ssh reports the end of a
// channel and the death of the connection both as io.EOF; [Channel] asks the Wire to
// tell them apart, and because of the order the answer is never too early.
type Wire struct {
	net.Conn
	lost   atomic.Bool
	socket *Socket
}

// NewWire wraps c. The SSH connection must be made on the Wire, not on c.
func NewWire(c net.Conn) *Wire { return &Wire{Conn: c} }

// Over tells the wire which socket is under it, before anything else is done with it. One that doesn't know has each packet go out by itself.
func (w *Wire) Over(s *Socket) { w.socket = s }

// hold is [Socket.hold]. The caller must call release.
func (w *Wire) hold() (release func()) {
	if w.socket == nil {
		return func() {}
	}
	w.socket.hold()
	return w.socket.release
}

// Lost reports whether reading from the connection has failed or ended.
func (w *Wire) Lost() bool { return w.lost.Load() }

func (w *Wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if err != nil {
		w.lost.Store(true)
		_ = w.Conn.SetWriteDeadline(time.Unix(1, 0)) // a Write that is under way ends as well: x/crypto/ssh waits for it before it tells anybody
	}
	return n, err
}

// Write fails once reading has: x/crypto/ssh (v0.58.0) answers those that wait for a channel when reading fails, and one that asks after
// that, and can write, waits for good.
func (w *Wire) Write(p []byte) (int, error) {
	if w.lost.Load() {
		return 0, net.ErrClosed
	}
	return w.Conn.Write(p)
}

// Close closes the connection, which from here on counts as lost.
func (w *Wire) Close() error {
	w.lost.Store(true)
	return w.Conn.Close()
}
