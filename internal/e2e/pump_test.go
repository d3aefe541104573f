package e2e

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/culvert-ssh/culvert/internal/peers"
)

// echo answers with what it is sent, until the end of it, on a free port.
func echo(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.AcceptTCP()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		serving.Wait()
	})
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// pump is one connection through a tunnel to echo, on which data moves.
type pump struct {
	conn        *net.TCPConn
	sent, heard []byte
}

// blockSize is how much a pump moves at once, in bytes.
const blockSize = 16 << 10

func newPump(t *testing.T, at netip.AddrPort) *pump {
	t.Helper()
	return &pump{conn: dial(t, at), sent: make([]byte, blockSize), heard: make([]byte, blockSize)}
}

// round moves a block there and back, which must come back as it was.
func (p *pump) round() error {
	if _, err := rand.Read(p.sent); err != nil {
		return err
	}
	wrote := make(chan error, 1)
	go func() {
		_, err := p.conn.Write(p.sent)
		wrote <- err
	}()
	_, err := io.ReadFull(p.conn, p.heard)
	if err != nil {
		_ = p.conn.Close() // Write need not end by itself
	}
	if err := errors.Join(err, <-wrote); err != nil {
		return err
	}
	if !bytes.Equal(p.sent, p.heard) {
		return errors.New("a block came back changed")
	}
	return nil
}

// run moves data until stop is closed, or an error.
func (p *pump) run(stop <-chan struct{}) error {
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		if err := p.round(); err != nil {
			return err
		}
	}
}

// end says that there is no more, and must hear the same: not a byte too much, and no abort.
func (p *pump) end() error {
	if err := p.conn.CloseWrite(); err != nil {
		return err
	}
	rest, err := io.ReadAll(p.conn)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%d bytes more than were sent", len(rest))
	}
	return err
}

// each does something with all pumps at once and returns what came of it.
func each(pumps []*pump, do func(*pump) error) []error {
	results := make([]error, len(pumps))
	var doing sync.WaitGroup
	for i, p := range pumps {
		doing.Go(func() { results[i] = do(p) })
	}
	doing.Wait()
	return results
}

// tunnels opens through a bastion, half with ssh and half with culvert, so many connections to each target.
func tunnels(t *testing.T, b *bastion, each int, targets ...netip.AddrPort) [][]*pump {
	t.Helper()
	const clients = 2 // of each kind
	pumps := make([][]*pump, len(targets))
	for range clients {
		config := peers.SSHConfig{Server: b.addr, User: user, Identity: b.key.Path}
		args := []string{"-N"}
		for _, target := range targets {
			config.Local = append(config.Local, target.String())
			args = append(args, "-L", "127.0.0.1:0:"+target.String())
		}
		local := append(peers.TestSSH(t, config).Local, culvertAt(t, b, args...)...)
		for i, at := range local {
			for range each / (2 * clients) {
				pumps[i%len(targets)] = append(pumps[i%len(targets)], newPump(t, at))
			}
		}
	}
	return pumps
}

// failures are those results that are errors, for a message.
func failures(results []error) (failed []string) {
	for i, err := range results {
		if err != nil {
			failed = append(failed, fmt.Sprintf("%d: %v", i, err))
		}
	}
	return failed
}

// timedOut reports whether an error only says that nothing happened.
func timedOut(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout() || err != nil && strings.Contains(err.Error(), "i/o timeout")
}
