package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// TCP is a TCP connection as a [Stream]. Abort sends a reset (SO_LINGER 0), which no
// peer takes for the end of a file.
type TCP struct {
	*net.TCPConn
	quick net.Conn // the same, see QuickACK
	ended sync.Once

	writing sync.Mutex  // held by Write
	reset   atomic.Bool // Write was told that the peer has reset the connection
}

// NewTCP makes c a Stream and owns it from now on. It turns on [KeepAlive], so that a
// peer that vanished is noticed in about 90 seconds.
//
// From now on until [TCP.Close] the connection is one that a close resets. So a program that
// is killed, whose connections the kernel closes, aborts them: the FIN that they would end with
// otherwise is the end of a file to an FTP server, and it would keep what came so far.
func NewTCP(c *net.TCPConn) *TCP {
	// An error here means the connection is gone already; the first Read says so.
	_ = c.SetLinger(0)
	KeepAlive(c)
	return &TCP{TCPConn: c, quick: QuickACK(c)}
}

// Dial connects to an address, from a local address if that is valid, for no longer than timeout. One that is given up is a reset to whoever
// has accepted it already: an end would be that of an empty file.
func Dial(ctx context.Context, from netip.Addr, to string, timeout time.Duration) (*TCP, error) {
	d := net.Dialer{Timeout: timeout, KeepAlive: -1} // NewTCP turns it on
	if from.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
	}
	d.Control = func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) {
			_ = resetOnClose(fd) // NewTCP tries again
			if from.IsValid() {
				bindAddressOnly(fd)
			}
		})
	}
	c, err := d.DialContext(ctx, "tcp", to)
	if err != nil {
		return nil, err // says what was dialled
	}
	return NewTCP(c.(*net.TCPConn)), nil
}

// AddrPort returns the address of a TCP connection or listener as a value, an IPv4 address always as such, and an
// invalid one for any other network.
func AddrPort(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := tcp.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// KeepAlive turns on TCP keepalive: after 30 s of silence, then every 15 s, 4 times.
func KeepAlive(c *net.TCPConn) {
	// An error here means that the connection is gone already; the first Read says so.
	_ = c.SetKeepAliveConfig(net.KeepAliveConfig{
		Enable: true, Idle: 30 * time.Second, Interval: 15 * time.Second, Count: 4,
	})
}

// Read returns io.EOF only if the peer has ended its data. The kernel tells once that a connection was reset, to whoever asks first: if that
// is a Write, a Read would find an end after it, of half a file maybe.
func (t *TCP) Read(p []byte) (int, error) {
	n, err := t.quick.Read(p)
	return n, t.end(err)
}

// end returns what the error of a read was.
func (t *TCP) end(err error) error {
	if err == io.EOF && over(t.TCPConn) {
		t.writing.Lock() // a Write that is under way returns at once, and may be the one that was told
		defer t.writing.Unlock()
		if t.reset.Load() {
			return errReset
		}
	}
	return err
}

func (t *TCP) Write(p []byte) (int, error) {
	t.writing.Lock()
	defer t.writing.Unlock()
	n, err := t.TCPConn.Write(p)
	if errors.Is(err, syscall.ECONNRESET) {
		t.reset.Store(true)
	}
	return n, err
}

var errReset = fmt.Errorf("%w: %w", ErrAborted, syscall.ECONNRESET)

// Close releases the connection, and ends the data in order if CloseWrite hasn't.
func (t *TCP) Close() (err error) {
	t.ended.Do(func() {
		_ = t.SetLinger(-1) // see NewTCP; fails only if the connection is gone
		err = t.TCPConn.Close()
	})
	return err
}

// Abort resets the connection.
func (t *TCP) Abort() {
	t.ended.Do(func() { _ = t.TCPConn.Close() }) // see NewTCP
}
