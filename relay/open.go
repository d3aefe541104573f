package relay

import (
	"errors"

	"golang.org/x/crypto/ssh"
)

// errEnded is what an open has come to that the end of the connection left without an answer.
var errEnded = errors.New("the SSH connection ended before there was an answer")

// OpenChannel is conn.OpenChannel that ends with the connection, which done tells of. x/crypto/ssh (v0.58.0) answers
// those that wait when the connection ends, and never one that comes between that and the failure of its first write, if a
// [Wire] doesn't keep it from writing; whoever waits for all of its goroutines then waits for good.
func OpenChannel(conn ssh.Conn, done <-chan struct{}, kind string, extra []byte) (ssh.Channel, <-chan *ssh.Request, error) {
	select {
	case o := <-AskForChannel(conn, kind, extra):
		return o.Channel, o.Requests, o.Err
	case <-done:
		return nil, nil, errEnded // a channel of a connection that has ended needs no close
	}
}

// Opened is what an open has come to. If Err is nil, the channel is the caller's to close.
type Opened struct {
	Channel  ssh.Channel
	Requests <-chan *ssh.Request
	Err      error
}

// AskForChannel is conn.OpenChannel that doesn't wait. The answer may never come: see [OpenChannel].
func AskForChannel(conn ssh.Conn, kind string, extra []byte) <-chan Opened {
	answer := make(chan Opened, 1)
	go func() { // ends with the answer
		ch, reqs, err := conn.OpenChannel(kind, extra)
		answer <- Opened{ch, reqs, err}
	}()
	return answer
}
