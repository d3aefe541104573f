//go:build unix

package mux

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/relay"
)

// Listener is a port, or a Unix socket, that the master's SSH server listens on for us.
type Listener struct {
	Port uint16 // without meaning for a Unix socket

	master *Master
	asked  forwarding
	socket *net.UnixListener
	close  sync.Once
}

// Listen has the SSH server listen at host:port, where host is "localhost", "" for every address, or one address, and the port
// may be 0 to let the server choose. Each connection that comes there is handed to serve, in a goroutine of its own and as one whose
// originator isn't known; serve owns it. The caller must close the Listener.
func (m *Master) Listen(ctx context.Context, host string, port uint16, serve func(relay.Stream)) (*Listener, error) {
	if host == "" {
		host = "*" // nothing would be localhost
	}
	return m.listenFor(ctx, forwarding{ListenHost: host, ListenPort: uint32(port)}, serve)
}

// ListenSocket is Listen for a Unix socket.
func (m *Master) ListenSocket(ctx context.Context, path string, serve func(relay.Stream)) (*Listener, error) {
	return m.listenFor(ctx, forwarding{ListenHost: path, ListenPort: unixSocket}, serve)
}

func (m *Master) listenFor(ctx context.Context, asked forwarding, serve func(relay.Stream)) (*Listener, error) {
	socket, err := m.socket()
	if err != nil {
		return nil, err
	}
	asked.Kind, asked.ConnectHost, asked.ConnectPort = forwardRemote, socket.Addr().String(), unixSocket
	l := &Listener{master: m, socket: socket, asked: asked}
	if err := l.ask(ctx); err != nil {
		return nil, errors.Join(err, socket.Close())
	}
	if !m.start(func() { l.accept(serve) }) {
		l.Close()
		return nil, errDropped
	}
	return l, nil
}

// ask asks for the port. If the answer comes too late, the port is given back.
func (l *Listener) ask(ctx context.Context) error {
	m := l.master
	type reply struct {
		answer
		err error
	}
	replies := make(chan reply)
	ok := m.start(func() {
		a, err := m.orders.ask(m.over, askForward, ssh.Marshal(l.asked))
		select {
		case replies <- reply{a, err}:
		case <-ctx.Done():
			if err == nil {
				l.cancel()
			}
		}
	})
	if !ok {
		return errDropped
	}
	select {
	case r := <-replies:
		if r.err != nil {
			return r.err
		}
		return l.bound(r.answer)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// bound notes the port that is listened on.
func (l *Listener) bound(a answer) error {
	switch port := l.asked.ListenPort; {
	case a.kind == sayPort && port == 0 && a.number > 0 && a.number <= 65535:
		l.Port = uint16(a.number)
	case a.kind == sayOK && port > 0:
		l.Port = uint16(port) // of a socket it says nothing
	default:
		l.cancel()
		return errors.New("the master doesn't say which port is listened on")
	}
	l.master.mu.Lock()
	defer l.master.mu.Unlock()
	l.master.listeners[l] = struct{}{}
	return nil
}

// accept serves what comes until Close or Drop.
func (l *Listener) accept(serve func(relay.Stream)) {
	defer context.AfterFunc(l.master.kept, func() { _ = l.socket.Close() })()
	for {
		c, err := l.socket.AcceptUnix()
		if err != nil {
			return
		}
		s := newArrival(l.master, c)
		if !l.master.keep(s) || !l.master.start(func() { serve(s) }) {
			s.Abort()
		}
	}
}

// Close gives the port back. Connections that came live on. It may be called more than once.
func (l *Listener) Close() {
	l.close.Do(func() {
		l.cancel()
		_ = l.socket.Close() // and there is nothing else to be done about it
		l.master.mu.Lock()
		defer l.master.mu.Unlock()
		delete(l.master.listeners, l)
	})
}

func (l *Listener) cancel() {
	ctx, done := context.WithTimeout(context.Background(), partingTimeout)
	defer done()
	_, _ = l.master.orders.ask(ctx.Done(), askCancel, ssh.Marshal(l.asked)) // fails if the master has ended, and the port is gone with it
}

// socket makes a socket for the master to connect to, where nobody else can.
func (m *Master) socket() (*net.UnixListener, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dropped {
		return nil, errDropped
	}
	if m.folder == "" {
		folder, err := os.MkdirTemp("", "culvert-") // mode 0700
		if err != nil {
			return nil, fmt.Errorf("make a folder for sockets: %w", err)
		}
		m.folder = folder
	}
	m.sockets++
	path := filepath.Join(m.folder, strconv.Itoa(m.sockets))
	return net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
}

func (m *Master) removeFolder() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.folder == "" {
		return nil
	}
	return os.RemoveAll(m.folder)
}
