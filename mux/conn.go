//go:build unix

package mux

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/peercred"
)

// helloTimeout is how long a master may take to say hello, and to take a message: it is on this machine, and busy at most with
// a few others.
const helloTimeout = 15 * time.Second

// conn is one connection to the control socket. A master answers the requests on it in their order.
type conn struct {
	*net.UnixConn
	asking  chan struct{} // holds a token while somebody asks
	id      uint32        // of the last request
	answers chan answer   // closed after the last
	gone    chan struct{} // closed when the master has ended it
}

// maxUnread bounds the answers that nobody has waited for long enough.
const maxUnread = 16

// dial connects to the control socket. The caller must close the conn.
func dial(ctx context.Context, path string) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	var d net.Dialer
	raw, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, dialError(path, err)
	}
	c := &conn{
		UnixConn: raw.(*net.UnixConn),
		asking:   make(chan struct{}, 1), answers: make(chan answer, maxUnread), gone: make(chan struct{}),
	}
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	if err = c.greet(); !stop() {
		err = fmt.Errorf("the master says nothing: %w", context.Cause(ctx))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("control socket %q: %w", path, err), c.Close())
	}
	go c.listen()
	return c, nil
}

// errNoMaster is what dial's error matches when nobody listens there.
var errNoMaster = errors.New("no master is there")

func dialError(path string, err error) error {
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("control socket %q: %w: begin one by ssh -M -S %s", path, errNoMaster, path)
	}
	return fmt.Errorf("control socket %q: %w", path, err)
}

// greet makes sure that it is a master, and one of this user: others would see what is carried.
func (c *conn) greet() error {
	uid, err := peercred.User(c.UnixConn)
	if err != nil {
		return fmt.Errorf("whose it is can't be told: %w", err)
	}
	if uid != 0 && uid != uint32(os.Geteuid()) {
		return fmt.Errorf("it is served by another user (%d)", uid)
	}
	if err := writeMessage(c, ssh.Marshal(hello{Kind: msgHello, Version: protocolVersion})); err != nil {
		return err
	}
	m, err := readMessage(c)
	if err != nil {
		return err
	}
	return checkHello(m)
}

// listen takes answers until the master has ended the connection.
func (c *conn) listen() {
	defer close(c.gone)
	defer close(c.answers)
	for {
		m, err := readMessage(c)
		if err != nil {
			return
		}
		a, err := parseAnswer(m)
		if err != nil {
			_ = c.Close() // nothing that it says can be believed
			return
		}
		select {
		case c.answers <- a:
		default:
			_ = c.Close() // the same
			return
		}
	}
}

var (
	errGone   = errors.New("the master has ended the connection")
	errSilent = errors.New("the master doesn't answer")
)

// ask puts a question, with files for the master to have, and waits for the answer until enough is closed. One that is refused is
// an error.
func (c *conn) ask(enough <-chan struct{}, kind uint32, body []byte, files ...*os.File) (answer, error) {
	select {
	case c.asking <- struct{}{}:
		defer func() { <-c.asking }()
	case <-c.gone:
		return answer{}, errGone
	case <-enough:
		return answer{}, errSilent
	}
	c.id++
	if err := c.send(ssh.Marshal(request{kind, c.id, body}), files); err != nil {
		return answer{}, errGone
	}
	a, err := c.await(enough)
	if err == nil && (a.kind == sayDenied || a.kind == sayFailure) {
		err = &RefusedError{a.text}
	}
	return a, err
}

// await returns the answer to the latest request. A master that has answered may have ended the connection since: it does as soon as a
// stream is over, and a small file is over at once.
func (c *conn) await(enough <-chan struct{}) (answer, error) {
	for {
		select {
		case a, ok := <-c.answers:
			if !ok {
				return answer{}, errGone
			}
			if a.id == c.id {
				return a, nil
			} // or it is for somebody who has stopped waiting
		case <-enough:
			return answer{}, errSilent
		}
	}
}

// RefusedError is what a master says that does not do what it was asked for.
type RefusedError struct {
	Text string // chosen by the master, and not fit for a terminal
}

func (e *RefusedError) Error() string { return fmt.Sprintf("the master refused: %q", e.Text) }

// send gives each file along with a byte of its own, as a master expects it.
func (c *conn) send(m []byte, files []*os.File) error {
	if err := c.SetWriteDeadline(time.Now().Add(helloTimeout)); err != nil {
		return err
	}
	if err := writeMessage(c, m); err != nil {
		return err
	}
	for _, f := range files {
		if _, _, err := c.WriteMsgUnix([]byte{0}, syscall.UnixRights(int(f.Fd())), nil); err != nil {
			return err
		}
	}
	return nil
}
