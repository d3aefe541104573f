package transcript

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"
)

// patience is how long a driver may take for what it must do.
const patience = 20 * time.Second

// A Conn is what a peer talks over: TCP, or an SSH channel.
type Conn interface {
	io.ReadWriter
	CloseWrite() error
}

// A Peer is the FTP client or the FTP server, played by a test. It reads all that it is told.
type Peer struct {
	name string
	conn Conn

	mu    sync.Mutex
	heard []byte
	err   error         // how reading ended; nil while it goes on
	more  chan struct{} // closed at the next change

	clear   int              // after so many lines TLS begins, unless hello is nil
	hello   chan *tls.Config // what it is spoken by, or nil if that is never to be
	greeted chan struct{}    // closed when the driver has begun it
}

// NewPeer returns a peer that is told things over c. What reads c ends when c does, which is the caller's affair.
func NewPeer(name string, c Conn) *Peer {
	p := &Peer{name: name, conn: c, more: make(chan struct{})}
	go p.read()
	return p
}

func (p *Peer) read() {
	buf := make([]byte, 32<<10)
	for conn := p.conn; ; {
		n, err := conn.Read(buf)
		p.mu.Lock()
		p.heard = append(p.heard, buf[:n]...)
		hello := p.cutHello()
		p.mu.Unlock()
		if hello != nil {
			conn, err = p.handshake(conn, hello)
		}
		p.mu.Lock()
		p.conn, p.err = conn, err
		close(p.more)
		p.more = make(chan struct{})
		p.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// await waits until the peer has heard so many whole lines, or will hear no more.
func (p *Peer) await(lines int, end bool) error {
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		p.mu.Lock()
		enough := !end && bytes.Count(p.heard, []byte("\r\n")) >= lines || p.err != nil
		more := p.more
		p.mu.Unlock()
		if enough {
			return nil
		}
		select {
		case <-more:
		case <-timeout.C:
			return fmt.Errorf("nothing more came within %v", patience)
		}
	}
}

// lines returns what was heard, as the transcripts have it.
func (p *Peer) lines() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return lines(p.name, p.heard)
}

// end returns how reading ended.
func (p *Peer) end() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// current returns what the peer talks over by now.
func (p *Peer) current() Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.conn
}

// say writes data in pieces of n bytes, all of it if n is 0. A driver that has closed doesn't hear it, which is no failure.
func (p *Peer) say(tb testing.TB, data []byte, n int) {
	if n == 0 {
		n = len(data)
	}
	conn := p.current()
	for len(data) > 0 {
		n = min(n, len(data))
		if _, err := conn.Write(data[:n]); err != nil {
			tb.Logf("the %s is not heard: %v", p.name, err)
			return
		}
		data = data[n:]
	}
}

// wantEnd waits for the end of what the peer hears. Clean says that it is one in order.
func (p *Peer) wantEnd(clean bool) error {
	if err := p.await(0, true); err != nil {
		return fmt.Errorf("the %s waits for an end in vain: %w", p.name, err)
	}
	if err := p.end(); clean && !errors.Is(err, io.EOF) {
		return fmt.Errorf("the %s hears %v in the end, want an orderly one", p.name, err)
	}
	return nil
}
