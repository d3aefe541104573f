package relay

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"golang.org/x/crypto/ssh"
)

// EndOfDataRequest is the name of the channel request, and of the global request that
// negotiates it, by which culvert and culvertd say that a direction of a
// direct-tcpip channel ended cleanly (RFC 4251, section 6, for the form of the name).
//
// The client sends the global request once, with want_reply; a peer that answers with success
// will send the channel request before each SSH_MSG_CHANNEL_EOF that
// ends complete data, and takes an EOF without it for an abort. docs/protocol.md
// has the whole of it.
const EndOfDataRequest = "end-of-data@culvert"

// endOfData is the payload of the channel request, want_reply false:
//
//	uint64  number of data bytes sent on the channel in this direction
type endOfData struct {
	Bytes uint64
}

// ChannelConfig says what is known of the SSH connection under a channel.
type ChannelConfig struct {
	// Wire is the network connection under the SSH connection. Required.
	Wire *Wire

	// EndOfData is set if both peers agreed on EndOfDataRequest.
	EndOfData bool

	// Alive makes a round trip to the SSH peer and returns an error if the connection is
	// dead. Required where EndOfData is not set: it settles whether an EOF that came together
	// with a close was the peer's word or the connection's end.
	Alive func() error

	// Extension hears what the peer says on the channel. If nil, nobody does.
	Extension Extension
}

// Extension is what more than its own data a channel is for. Its methods are called in the order of what the peer says, and what was said before
// an EOF before Read returns at it. All else that the peer has to say on its SSH connection waits for them.
type Extension interface {
	// Request reports whether it knows a request that the channel doesn't.
	Request(name string, payload []byte) (known bool)

	// EndOfData is called at the first EndOfDataRequest, if that was agreed on, with the peer's count.
	EndOfData(bytes uint64)

	// Closed is called once, last: the channel was closed, or its connection has ended.
	Closed()
}

// Channel is an SSH channel as a [Stream].
type Channel struct {
	ch  ssh.Channel
	cfg ChannelConfig

	sent     atomic.Uint64
	received uint64 // owned by the reader

	requests requests

	ended   sync.Once
	failed  error // what Close returns; valid once ended is
	aborted atomic.Bool
}

// NewChannel makes ch a Stream. It answers the channel's requests from now on, refusing
// those that it doesn't know, and what it starts for that ends with the channel; the caller must call Close or
// Abort.
func NewChannel(ch ssh.Channel, reqs <-chan *ssh.Request, cfg ChannelConfig) *Channel {
	c := &Channel{ch: ch, cfg: cfg}
	c.requests.from, c.requests.cfg = reqs, &c.cfg
	c.requests.hear(ch)
	return c
}

// Read reads from the channel. It returns io.EOF if the peer's data is complete,
// otherwise an error that matches [ErrAborted].
func (c *Channel) Read(p []byte) (int, error) {
	n, err := c.ch.Read(p)
	c.received += uint64(n)
	if err == io.EOF {
		err = c.end()
	} else if err != nil {
		err = fmt.Errorf("%w: %w", ErrAborted, err)
	}
	return n, err
}

// Await returns once Read would return at once. It reports false, and hasn't waited, if the SSH library can't tell: ours can
// (patches/60-await.patch).
func (c *Channel) Await() bool {
	a, able := c.ch.(interface{ Await() })
	if able {
		a.Await()
	}
	return able
}

// end tells what an EOF from the SSH library was.
func (c *Channel) end() error {
	st := c.requests.said()
	switch {
	case c.aborted.Load():
		return ErrAborted
	case c.cfg.EndOfData && !st.said:
		if c.cfg.Wire.Lost() {
			return ErrTransportLost
		}
		return ErrAborted
	case c.cfg.EndOfData && st.bytes != c.received:
		return fmt.Errorf("%w: %d bytes came of the %d that the peer sent", ErrAborted, c.received, st.bytes)
	case c.cfg.EndOfData:
		return io.EOF
	case c.cfg.Wire.Lost():
		return ErrTransportLost
	case st.closed && c.cfg.Alive() != nil:
		// EOF and close at once are what a peer sends that has ended both ways, and
		// what the library shows of a connection that broke off (a packet that
		// failed its MAC doesn't make the Wire fail).
		return ErrTransportLost
	}
	return io.EOF
}

func (c *Channel) Write(p []byte) (int, error) {
	n, err := c.ch.Write(p)
	c.sent.Add(uint64(n))
	if err != nil {
		// The library says io.EOF for a channel that is closed, and io.EOF out of
		// a Write misleads everybody.
		err = fmt.Errorf("%w: %w", ErrAborted, err)
	}
	return n, err
}

// Sent returns how many bytes were written.
func (c *Channel) Sent() uint64 { return c.sent.Load() }

// Received returns how many bytes were read. It is for who reads.
func (c *Channel) Received() uint64 { return c.received }

// CloseWrite says that the data is complete: by the channel request where that was agreed,
// then by SSH_MSG_CHANNEL_EOF.
func (c *Channel) CloseWrite() error {
	if c.cfg.EndOfData {
		defer c.cfg.Wire.hold()()
		if _, err := c.ch.SendRequest(EndOfDataRequest, false, ssh.Marshal(endOfData{c.sent.Load()})); err != nil {
			return fmt.Errorf("%w: %w", ErrAborted, err)
		}
	}
	if err := c.ch.CloseWrite(); err != nil {
		return fmt.Errorf("%w: %w", ErrAborted, err)
	}
	return nil
}

// Close closes the channel. It returns the same each time.
func (c *Channel) Close() error {
	c.ended.Do(func() {
		if err := c.ch.Close(); err != io.EOF { // the peer closed first
			c.failed = err
		}
	})
	return c.failed
}

// Finish is CloseWrite and, if that succeeds, Close, which the peer hears of at once. What the peer sends must have ended. Only the
// error of CloseWrite is returned; Close returns its own again.
func (c *Channel) Finish() error {
	defer c.cfg.Wire.hold()()
	if err := c.CloseWrite(); err != nil {
		return err
	}
	_ = c.Close() // as above
	return nil
}

// Abort closes the channel without a word. A foreign SSH peer passes that on as an end of
// data; the protocol has nothing else to tell it.
func (c *Channel) Abort() {
	c.aborted.Store(true)
	c.ended.Do(func() { _ = c.ch.Close() })
}
