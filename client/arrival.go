package client

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/control"
	"github.com/culvert-ssh/culvert/relay"
)

// awaited is the data connection of an FTP server that the bastion is to accept and to offer to us. It is an [Arrival].
type awaited struct {
	Listening
	told    netip.AddrPort
	accepts func(*arrival) error

	came chan *arrival
	done chan struct{} // closed when nobody waits any more

	mu      sync.Mutex
	forget  func() // ends the waiting at the bastion; nil as long as that hasn't begun
	closed  bool
	taken   bool // the right one came
	rejects int
}

func newAwaited(l Listening) *awaited {
	return &awaited{Listening: l, came: make(chan *arrival), done: make(chan struct{})}
}

// Listen is [Transport.Listen]. A bastion of our own reads the PORT that passes through it, so that the FTP client's goes up as it stands: it
// names the channel that the bastion then opens. Any other is asked for a remote forward.
func (c *connection) Listen(ctx context.Context, l Listening) (Arrival, error) {
	w := newAwaited(l)
	var err error
	if c.channel.EndOfData {
		err = c.listenByName(w)
	} else { // to end it may take as long as the SSH server doesn't read
		err = w.listenByForward(ctx, c, func(at place) { c.wg.Go(func() { c.unlisten(at) }) })
	}
	if err != nil {
		return nil, err
	}
	return w, nil
}

func (c *connection) listenByName(w *awaited) error {
	if !w.Client.IsValid() {
		return errors.New("the FTP server has no passive mode, and the bastion doesn't have it connect: ask its administrator for FTPActive forward")
	}
	w.told = netip.AddrPortFrom(w.Client.Addr().WithZone(""), w.Client.Port())
	w.accepts = func(*arrival) error { return nil } // the bastion knows the FTP server
	at := place{host: w.told.Addr().String(), port: w.told.Port()}
	if !c.incoming.put(at, w.serve) {
		return fmt.Errorf("another FTP client waits at %s", at)
	}
	w.waits(func() { c.incoming.remove(at) })
	return nil
}

// listenByForward has the bastion listen; unlisten ends that, and waits for nothing.
func (w *awaited) listenByForward(ctx context.Context, bastion remoteEnd, unlisten func(place)) error {
	from, err := w.server()
	if err != nil {
		return err
	}
	told := w.Told
	switch {
	case told.IsValid():
	case from == netip.IPv6Loopback():
		told = from
	case from.IsLoopback():
		told = loopback4
	default:
		return fmt.Errorf("the FTP server at %s must be told an address of the SSH server to connect to: set FTPActiveAddress", from)
	}
	w.accepts = func(a *arrival) error {
		if a.origin.Addr() != from {
			return fmt.Errorf("the FTP server is %s", from)
		}
		return nil
	}
	at, err := bastion.listen(ctx, "tcpip-forward", place{host: told.String()}, w.serve)
	if errors.Is(err, errNoListening) {
		return fmt.Errorf("the SSH server refuses to listen on %s for the FTP server: ask its administrator for AllowTcpForwarding, PermitListen and GatewayPorts", told)
	}
	if err != nil {
		return fmt.Errorf("have the SSH server listen for the FTP server: %w", err)
	}
	w.told = netip.AddrPortFrom(told, at.port)
	w.waits(func() { unlisten(at) })
	return nil
}

// waits says how to end the waiting. Who is not the FTP server may have ended it already.
func (w *awaited) waits(forget func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		forget()
		return
	}
	w.forget = forget
}

// server returns the address that the FTP server's connection comes from.
func (w *awaited) server() (netip.Addr, error) {
	if strings.EqualFold(w.Host, "localhost") {
		return loopback4, nil
	}
	a, err := netip.ParseAddr(w.Host)
	if err != nil {
		return a, fmt.Errorf("connections of %q can't be told from those of others: forward to the FTP server by its address", w.Host)
	}
	return a.Unmap().WithZone(""), nil
}

// serve hands an arrival over, or refuses it.
func (w *awaited) serve(a *arrival) {
	if err := w.admit(a); err != nil {
		w.Log.Warn("somebody else's data connection was refused", "peer", a.origin, "err", err)
		a.refuse(ssh.Prohibited, "not the connection that is waited for")
		return
	}
	select {
	case w.came <- a:
	case <-w.done:
		a.refuse(ssh.ConnectionFailed, "nobody waits for it any more")
	}
}

// admit lets the first that is right pass. Too many others end the waiting.
func (w *awaited) admit(a *arrival) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	err := w.accepts(a)
	if err == nil && w.taken {
		err = errors.New("one connection came already")
	}
	if err == nil {
		w.taken = true
		return nil
	}
	if w.rejects++; w.rejects >= control.MaxRejects && !w.taken {
		w.end()
	}
	return err
}

func (w *awaited) Addr() netip.AddrPort { return w.told }

// Accept waits for the server's connection, and for no longer than an FTP client would be waited for.
func (w *awaited) Accept(ctx context.Context) (relay.Stream, error) {
	late := time.NewTimer(endpointTimeout)
	defer late.Stop()
	defer w.Close()
	select {
	case a := <-w.came:
		return a.accept()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-w.done:
		return nil, fmt.Errorf("nothing of the FTP server came, but %d connections of others", control.MaxRejects)
	case <-late.C:
		return nil, fmt.Errorf("the FTP server did not connect within %v", endpointTimeout)
	}
}

// Close is [Arrival.Close].
func (w *awaited) Close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.end()
}

// end needs w.mu.
func (w *awaited) end() {
	if w.closed {
		return
	}
	w.closed = true
	close(w.done)
	if w.forget != nil {
		w.forget()
	}
}
