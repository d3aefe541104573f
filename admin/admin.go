// Package admin shows a running bastion to those who look after it, and does what they ask: metrics and health for
// machines, over HTTP on a listener of its own, and the control socket for people, over HTTP on a Unix socket that only root and
// the user who runs the bastion may use. It decides nothing about clients, and keeps no state but counters.
package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/culvert-ssh/culvert/server"
)

// Bastion is what is looked at. Every field is required.
type Bastion struct {
	Connections func() []server.Info
	Penalised   func() []server.Penalised
	Panics      func() int64
	Traffic     func() (up, down int64)
	Ready       func() bool // new connections are accepted

	Kill   func(id string) bool
	Unban  func(addr netip.Addr) bool
	Reload func(ctx context.Context) error // returns when the configuration has been read, or why not
	Drain  func(ctx context.Context) error // returns when no new connection is accepted any more

	Version string
	Log     *slog.Logger
	Now     func() time.Time
}

func (b *Bastion) check() error {
	switch {
	case b.Connections == nil, b.Penalised == nil, b.Panics == nil, b.Traffic == nil, b.Ready == nil,
		b.Kill == nil, b.Unban == nil, b.Reload == nil, b.Drain == nil, b.Log == nil, b.Now == nil:
		return errors.New("admin: every field of Bastion is required")
	}
	return nil
}

const (
	// requestTime is how long a request may take to come in, and its answer to go out.
	requestTime = 30 * time.Second

	// maxHeader bounds the header of a request, in bytes.
	maxHeader = 16 << 10
)

// maxClients bounds how many are connected to a listener at once. The next ones wait.
const maxClients = 64

// limited is a listener with at most maxClients connections.
type limited struct {
	net.Listener
	places chan struct{}
	closed context.Context
	close  context.CancelFunc
}

func limit(l net.Listener) *limited {
	closed, cancel := context.WithCancel(context.Background())
	return &limited{l, make(chan struct{}, maxClients), closed, cancel}
}

// Accept implements net.Listener.
func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.places <- struct{}{}:
	case <-l.closed.Done():
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.places
		return nil, err
	}
	return &limitedConn{Conn: c, leave: sync.OnceFunc(func() { <-l.places })}, nil
}

// Close implements net.Listener.
func (l *limited) Close() error {
	l.close()
	return l.Listener.Close()
}

type limitedConn struct {
	net.Conn
	leave func()
}

// Close implements net.Conn.
func (c *limitedConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}

// endpoint is an HTTP server on one listener.
type endpoint struct {
	http   *http.Server
	served chan error
}

// serve answers on l, which it closes in the end.
func serve(l net.Listener, h http.Handler, log *slog.Logger) *endpoint {
	e := &endpoint{served: make(chan error, 1), http: &http.Server{
		Handler:           h,
		ReadTimeout:       requestTime,
		WriteTimeout:      2 * requestTime,
		IdleTimeout:       requestTime,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		ReadHeaderTimeout: requestTime,
	}}
	go func() { e.served <- e.http.Serve(limit(l)) }()
	return e
}

// closeTime is how long answers have that are on their way.
const closeTime = time.Second

// close ends the server and waits for it.
func (e *endpoint) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	err := e.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = e.http.Close() // who is left has asked for something that takes longer
	}
	if served := <-e.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, fmt.Errorf("serve: %w", served))
	}
	return err
}
