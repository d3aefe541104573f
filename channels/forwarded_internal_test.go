package channels

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/audit"
)

// silentClient is an SSH client that answers no open of a channel until it is let go.
type silentClient struct {
	ssh.Conn
	gone chan struct{}
}

func (c *silentClient) OpenChannel(string, []byte) (ssh.Channel, <-chan *ssh.Request, error) {
	<-c.gone
	return nil, nil, io.EOF
}

// unread is a connection that somebody has made, and that nobody reads.
type unread struct {
	connection
	aborted bool
}

func (*unread) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 40000} }
func (u *unread) Abort()             { u.aborted = true }

// Whoever waits for the answer of an SSH client, as the control connection of a transfer does, waits no longer than for the channel.
func TestClientThatDoesNotAnswerIsWaitedForNoLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, tcp := &silentClient{gone: make(chan struct{})}, new(unread)
		c := &Conn{
			ctx: t.Context(), cfg: Config{SSH: client, Audit: audit.New(io.Discard, time.Now), Log: slog.New(slog.DiscardHandler)}, unconfirmed: make(places, 1),
		}
		c.unconfirmed <- struct{}{}
		in := &incoming{taken: make(chan struct{})}
		s := &stream{opening: &opening{Conn: c}, tcp: tcp}
		ended := make(chan error)
		go func() { ended <- s.confirm(in.answered) }()
		start := time.Now()
		select {
		case <-in.taken:
		case <-time.After(time.Hour):
			t.Fatal("nobody has said for an hour that the client doesn't answer")
		}
		synctest.Wait()
		if !errors.Is(in.refusal, errUnconfirmed) || !tcp.aborted || time.Since(start) != confirmTimeout {
			t.Errorf("after %v: %v, connection aborted %v; want %v and an abort after %v", time.Since(start), in.refusal, tcp.aborted, errUnconfirmed, confirmTimeout)
		}
		close(client.gone)
		if err := <-ended; !errors.Is(err, io.EOF) {
			t.Errorf("confirm: %v, want io.EOF", err)
		}
	})
}
