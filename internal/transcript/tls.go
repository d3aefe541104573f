package transcript

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"
)

// errSpoilt is the end of a peer whose handshake is not to be.
var errSpoilt = errors.New("TLS was never to be")

// untilTLS has the peer take what comes after so many lines for the beginning of TLS, and wait for secure.
func (p *Peer) untilTLS(lines int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear, p.hello, p.greeted = lines, make(chan *tls.Config, 1), make(chan struct{})
}

// awaitHello waits until the driver has begun its handshake.
func (p *Peer) awaitHello() error {
	select {
	case <-p.greeted:
		return nil
	case <-time.After(patience):
		return fmt.Errorf("no TLS began within %v", patience)
	}
}

// secure has the peer take part in the handshake that the driver begins. Without a configuration it doesn't.
func (p *Peer) secure(cfg *tls.Config) { p.hello <- cfg }

// cutHello takes what is TLS out of what was heard. It needs p.mu.
func (p *Peer) cutHello() (hello []byte) {
	if p.hello == nil {
		return nil
	}
	end := 0
	for range p.clear {
		n := bytes.Index(p.heard[end:], []byte("\r\n"))
		if n < 0 {
			return nil
		}
		end += n + 2
	}
	if end == len(p.heard) {
		return nil
	}
	hello = bytes.Clone(p.heard[end:])
	p.heard = p.heard[:end]
	return hello
}

// handshake is the server's side of TLS, and returns what goes on inside.
func (p *Peer) handshake(conn Conn, hello []byte) (Conn, error) {
	close(p.greeted)
	cfg := <-p.hello
	p.mu.Lock()
	p.hello = nil
	p.mu.Unlock()
	if cfg == nil {
		return conn, errSpoilt
	}
	secured := tls.Server(&begun{Conn: conn.(net.Conn), read: hello}, cfg)
	if err := secured.Handshake(); err != nil {
		return conn, err
	}
	return secured, nil
}

// begun is a connection of which something was read.
type begun struct {
	net.Conn
	read []byte
}

func (b *begun) Read(p []byte) (int, error) {
	if len(b.read) == 0 {
		return b.Conn.Read(p)
	}
	n := copy(p, b.read)
	b.read = b.read[n:]
	return n, nil
}
