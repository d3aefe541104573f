package client

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/control"
	"github.com/culvert-ssh/culvert/relay"
)

const (
	// closeTimeout is how long the success of a transfer is kept from a client that has been sent everything, and doesn't end the data
	// connection. Most do when they have read the end of the data, and before they read the reply.
	closeTimeout = 3 * time.Second

	// quietTimeout is how long it is kept from one whose data connection doesn't end, and on which nothing moves.
	quietTimeout = 30 * time.Second
)

// remoteData is one data connection that was announced to an FTP client near the bastion.
type remoteData struct {
	*remoteEndpoints
	to        netip.AddrPort        // where the server waits
	listener  *control.DataListener // where the server connects to, if it does that instead
	waits     netip.AddrPort        // where the client waits, if it is in active mode
	server    *relay.TCP            // connected beforehand, if the client is in active mode
	protected bool                  // the server speaks TLS on it
	at        place                 // where the client connects to, if it is not

	reached chan struct{} // closed when a client in active mode was connected to, or couldn't be
	failure error         // why it couldn't; valid once reached is closed

	flow   *dataFlow
	sent   chan struct{} // closed when the client has been sent everything
	ended  chan struct{} // closed when the data connection has ended
	result error         // how; valid once ended is closed

	mu      sync.Mutex
	came    bool // the client
	over    bool // it came, or nobody waits for it any more
	rejects int
	timer   *time.Timer
}

// begin makes the way to the client, as far as it goes by now. If that fails, the caller must call close.
func (d *remoteData) begin(ctx context.Context) error {
	if !d.waits.IsValid() {
		return d.await(ctx)
	}
	if d.listener != nil {
		return nil
	}
	// Many servers say that a transfer begins only once there is a connection for it.
	server, err := d.dial(d.local, d.to.String())
	d.server = server
	return err
}

// await begins to wait for the client.
func (d *remoteData) await(ctx context.Context) (err error) {
	d.mu.Lock() // a connection may come before this returns
	defer d.mu.Unlock()
	if d.toCulvertd() {
		name := d.to.Port()
		if d.listener != nil {
			name = d.listener.Addr().Port()
		}
		d.at, err = d.bastion.expect(place{host: d.asked().host, port: name}, d.serve)
	} else {
		d.at, err = d.listenForData(ctx)
	}
	if err != nil {
		d.over = true
		return err
	}
	d.timer = time.AfterFunc(endpointTimeout, func() { d.withdraw("nobody came") })
	return nil
}

// listenForData asks for a port of exactly the address that the client will be told. Where more than one address is meant, such as localhost, OpenSSH
// takes a port for the first that may be somebody else's on the next. It may refuse the address, by PermitListen or as
// it has none such; then there is the host of the control connections.
func (d *remoteData) listenForData(ctx context.Context) (place, error) {
	exact, host := d.hop.String(), d.asked().host
	if !d.inexact.Load() {
		at, err := d.bastion.listen(ctx, "tcpip-forward", place{host: exact, port: 0}, d.serve)
		if !errors.Is(err, errNoListening) {
			return at, err
		}
		d.inexact.Store(exact != host)
	}
	at, err := d.bastion.listen(ctx, "tcpip-forward", place{host: host, port: 0}, d.serve)
	if errors.Is(err, errNoListening) {
		return place{}, fmt.Errorf("%w for FTP's data: ask its administrator for PermitListen %s", err, place{host: exact, port: 0}.anyPort())
	}
	return at, err
}

// withdraw ends the waiting, if nobody has come.
func (d *remoteData) withdraw(reason string) {
	if d.take() {
		d.log.Debug("data endpoint withdrawn", "at", d.at, "reason", reason)
		d.flow.end(errNoData)
		d.close()
		<-d.room
	}
}

// take ends the waiting. It reports false if it had ended.
func (d *remoteData) take() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.finish()
}

// finish is take, and needs d.mu.
func (d *remoteData) finish() bool {
	if d.over {
		return false
	}
	d.over = true
	if d.timer == nil { // the client is in active mode
		return true
	}
	d.timer.Stop()
	if d.toCulvertd() {
		d.bastion.forget(d.at)
	} else {
		d.bastion.unlisten(d.at)
	}
	return true
}

// close lets the server go.
func (d *remoteData) close() {
	if d.listener != nil {
		d.listener.Close()
	}
	if d.server != nil {
		d.server.Abort()
	}
}

// admit takes a, if it comes from the address of the control connection, and is the first.
func (d *remoteData) admit(a *arrival) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.over:
		return errors.New("it was used already, or withdrawn")
	case a.origin.Addr() == d.client:
		d.finish()
		d.came = true
		d.wg.Add(1)
		return nil
	}
	if d.rejects++; d.rejects >= control.MaxRejects {
		d.finish()
		d.flow.end(errNoData)
		d.close()
		<-d.room
	}
	return fmt.Errorf("the control connection came from %s", d.client)
}

// serve carries a connection that the bastion has accepted, if it is the right one.
func (d *remoteData) serve(a *arrival) {
	if err := d.admit(a); err != nil {
		a.refuse(ssh.Prohibited, "not the control connection's client")
		d.log.Warn("somebody else's data connection was refused", "peer", a.origin, "err", err)
		return
	}
	defer d.wg.Done()
	defer func() { <-d.room }()
	defer close(d.ended)
	defer d.flow.end(errNoData)
	server, err := d.reach()
	if err != nil {
		d.result = err
		a.refuse(ssh.ConnectionFailed, "connect failed")
		d.failed("a data connection was refused", err)
		return
	}
	client, err := a.accept()
	if err != nil {
		d.result = err
		server.Abort()
		return
	}
	d.join(client, server)
}

// connect carries a connection to a client in active mode. It is as the server would connect, but for where from: that is the bastion's to choose.
func (d *remoteData) connect() {
	defer func() { <-d.room }()
	defer close(d.ended)
	defer d.flow.end(errNoData)
	client, server, err := d.both()
	d.failure = err
	close(d.reached)
	if err != nil {
		d.failed("there is no data connection", err)
		return
	}
	d.join(client, server)
}

// both connects to the server, if that isn't done yet, and to the client.
func (d *remoteData) both() (client relay.Stream, server *relay.TCP, err error) {
	if server, err = d.reach(); err != nil {
		return nil, nil, fmt.Errorf("to the FTP server: %w", err)
	}
	client, err = d.bastion.Open(d.ctx, d.waits.Addr().String(), d.waits.Port(), relay.AddrPort(server.RemoteAddr()))
	if err != nil {
		server.Abort()
		return nil, nil, fmt.Errorf("to the FTP client: %w", err)
	}
	return client, server, nil
}

// reach returns the connection to the server.
func (d *remoteData) reach() (*relay.TCP, error) {
	switch {
	case d.server != nil:
		return d.server, nil
	case d.listener != nil:
		conn, err := d.listener.Accept(d.ctx)
		if err != nil {
			return nil, err
		}
		return relay.NewTCP(conn), nil
	}
	return d.dial(d.local, d.to.String())
}

func (d *remoteData) join(client relay.Stream, server *relay.TCP) {
	client = &untilSent{Stream: client, sent: sync.OnceFunc(func() { close(d.sent) })}
	d.result = d.flow.join(d.ctx, client, d.upstream.data(server, d.protected))
	logEnd(d.ctx, d.log, "data connection", d.result, &d.flow.Counters)
}

// untilSent is a stream that says when everything was written to it.
type untilSent struct {
	relay.Stream
	sent func()
}

func (u *untilSent) CloseWrite() error {
	err := u.Stream.CloseWrite()
	u.sent()
	return err
}

// wait waits until the client has ended its side of the data connection too, as it does when it has had everything, and returns an error if that
// has broken off. For one that keeps its side open until it hears of the success, it is enough that all of it has got to the
// bastion, and some time for the rest of the way.
func (d *remoteData) wait(ctx context.Context) error {
	if !d.taken() {
		return nil
	}
	quiet := time.NewTimer(quietTimeout)
	defer quiet.Stop()
	sent, there, moved := d.sent, make(chan struct{}), int64(-1)
	var late <-chan time.Time
	for {
		select {
		case <-d.ended:
			return d.result
		case <-sent:
			sent = nil
			d.wg.Go(func() {
				if d.bastion.flushed() == nil { // otherwise it is being given up, or a longer time must do
					close(there)
				}
			})
		case <-there:
			there, late = nil, time.After(closeTimeout)
		case <-late:
			return nil
		case <-quiet.C:
			now := d.flow.AToB.Load() + d.flow.BToA.Load()
			if now == moved {
				return nil
			}
			moved = now
			quiet.Reset(quietTimeout)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// taken reports whether there is a client, or will be.
func (d *remoteData) taken() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.came || d.waits.IsValid()
}

func (d *remoteData) failed(what string, err error) {
	if d.ctx.Err() == nil {
		d.log.Error(what, "err", err)
	}
}
