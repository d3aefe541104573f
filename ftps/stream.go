package ftps

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/culvert-ssh/culvert/relay"
)

// errCut is an end of the TCP connection, or of the SSH channel, without close_notify (RFC 8446, section 6.1).
var errCut = fmt.Errorf("%w: the server ended the connection, but not the TLS session in it", relay.ErrAborted)

// Stream is a [relay.Stream] inside TLS.
type Stream struct {
	under   relay.Stream
	wire    *wire
	tls     *tls.Conn
	session *Session
	control bool // an end without close_notify is one
	shaken  sync.Once

	sent, received atomic.Bool // any data
	ended, over    atomic.Bool // we have said close_notify; so has the server
	aborted        atomic.Bool
}

// Read returns io.EOF after the server's close_notify, and no other end but on a control connection, and where there was only something to
// be sent and all of it was: then no file can be cut short by it, and what became of ours is said by the server's reply.
//
// A close_notify is answered at once (RFC 5246, section 7.2.1), and not when the FTP client ends its side: that may wait for a reply of the server, which
// waits for our close_notify.
func (c *Stream) Read(p []byte) (int, error) {
	if err := c.handshake(); err != nil {
		return 0, c.explain(err)
	}
	n, err := c.tls.Read(p)
	if n > 0 {
		c.received.Store(true)
	}
	switch {
	case err == nil:
		return n, nil
	case err == io.EOF:
		c.over.Store(true)
		if !c.control && !c.sent.Load() {
			_ = c.tls.CloseWrite() // if it fails, the server is gone, and there was nothing to be said
		}
		return n, io.EOF
	case errors.Is(err, errCut) && (c.control || c.onlySent()):
		return n, io.EOF
	}
	return n, c.explain(err)
}

// handshake is done by whoever comes first.
func (c *Stream) handshake() error {
	err := c.tls.Handshake()
	c.shaken.Do(c.wire.clock.stop)
	return err
}

func (c *Stream) onlySent() bool { return c.ended.Load() && c.sent.Load() && !c.received.Load() }

func (c *Stream) Write(p []byte) (int, error) {
	if err := c.handshake(); err != nil {
		return 0, c.explain(err)
	}
	n, err := c.tls.Write(p)
	if n > 0 {
		c.sent.Store(true)
	}
	if err != nil {
		err = c.explain(err)
	}
	return n, err
}

// CloseWrite says that the data is complete: by close_notify, then below it.
func (c *Stream) CloseWrite() error {
	err := c.handshake() // of an empty file nothing was written
	if c.aborted.Load() {
		err = relay.ErrAborted
	}
	if err == nil {
		c.ended.Store(true)
		err = c.tls.CloseWrite()
	}
	if err == nil {
		err = c.under.CloseWrite()
	}
	switch {
	case err == nil:
		return nil
	case c.over.Load() && !c.sent.Load():
		return nil // the server has sent all that it had, and is gone
	}
	return c.explain(err)
}

// Close releases the stream after both directions have ended.
func (c *Stream) Close() error { return c.under.Close() }

// Abort ends the stream without close_notify. A server that is being sent something, and hasn't sent anything itself, is told by
// more than that: see spoil.
func (c *Stream) Abort() {
	c.wire.clock.stop()
	upload := c.wire.heard.Load() && !c.received.Load() && !c.ended.Load() && !c.over.Load()
	if !c.aborted.Swap(true) && upload && !c.control {
		c.wire.spoil()
	}
	c.under.Abort()
}

// explain makes an error of the handshake one that says what to do, and any one an abort.
func (c *Stream) explain(err error) error {
	if late := c.wire.clock.expired(); late != nil {
		err = late
	}
	if !c.tls.ConnectionState().HandshakeComplete {
		err = c.session.explain(err)
	}
	if !errors.Is(err, relay.ErrAborted) {
		err = fmt.Errorf("%w: %w", relay.ErrAborted, err)
	}
	return err
}

// wire is a stream as package tls wants it. That takes an io.EOF between two records for a close_notify, and an io.ErrUnexpectedEOF as well;
// here it never gets to see one.
type wire struct {
	relay.Stream
	err   error       // that came together with data
	heard atomic.Bool // the server has said anything
	clock clock       // of the handshake

	writing sync.Mutex
	said    bool // we have said anything
	spoiled bool
}

func (w *wire) Read(p []byte) (n int, err error) {
	if w.err != nil {
		return 0, w.err
	}
	n, err = w.Stream.Read(p)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = errCut
	}
	if n > 0 {
		if !w.heard.Swap(true) {
			w.clock.run(handshakeTimeout, errSlow)
		}
		w.err, err = err, nil
	}
	return n, err
}

func (w *wire) Write(p []byte) (int, error) {
	w.writing.Lock()
	defer w.writing.Unlock()
	if w.spoiled {
		return 0, relay.ErrAborted
	}
	n, err := w.Stream.Write(p)
	if !w.said && err == nil {
		w.said = true
		w.clock.run(silentTimeout, errSilent)
	}
	return n, err
}

// spoilTimeout is how long an abort waits for a server that doesn't read.
const spoilTimeout = 3 * time.Second

// unreadable is a record that nobody can open, as long as they come (RFC 8446, section 5.2).
var unreadable = append([]byte{23, 3, 3, 0x40, 0}, make([]byte, 1<<14)...)

// spoil writes a record that the server can't open. Many servers take the end of the TCP connection for the end of an upload, close_notify
// or not, and a foreign SSH server makes such an end of every abort; but a record that can't be opened is the end of nothing to any of them.
//
// A reset says as much by itself.
func (w *wire) spoil() {
	if _, tcp := w.Stream.(*relay.TCP); tcp {
		return
	}
	done := make(chan struct{})
	go func() { // ends with the stream at the latest
		defer close(done)
		w.writing.Lock()
		defer w.writing.Unlock()
		w.spoiled = true
		_, _ = w.Stream.Write(unreadable) // if it fails, the stream is broken already
	}()
	late := time.NewTimer(spoilTimeout)
	defer late.Stop()
	select {
	case <-done:
	case <-late.C:
	}
}

// Close is called at the end of a handshake's time.
func (w *wire) Close() error { w.Abort(); return nil }

// The rest of net.Conn means nothing to a stream: whoever waits for one aborts it.

func (w *wire) LocalAddr() net.Addr              { return addr{} }
func (w *wire) RemoteAddr() net.Addr             { return addr{} }
func (w *wire) SetDeadline(time.Time) error      { return nil }
func (w *wire) SetReadDeadline(time.Time) error  { return nil }
func (w *wire) SetWriteDeadline(time.Time) error { return nil }

type addr struct{}

func (addr) Network() string { return "stream" }
func (addr) String() string  { return "stream" }
