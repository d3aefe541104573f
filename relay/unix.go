package relay

import (
	"net"
	"sync"
)

// Unix is a connection over a Unix socket as a [Stream]. Such a socket has no reset: to its peer an abort is the end of the
// connection, which can be told from the end of data only if the peer has sent something that was not read (Linux then says so by ECONNRESET).
type Unix struct {
	*net.UnixConn
	ended sync.Once
}

// NewUnix makes c a Stream and owns it from now on.
func NewUnix(c *net.UnixConn) *Unix { return &Unix{UnixConn: c} }

// Close releases the connection.
func (u *Unix) Close() (err error) {
	u.ended.Do(func() { err = u.UnixConn.Close() })
	return err
}

// Abort closes the connection without a word.
func (u *Unix) Abort() { _ = u.Close() }
