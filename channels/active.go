package channels

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/culvert-ssh/culvert/audit"
	"github.com/culvert-ssh/culvert/control"
	"github.com/culvert-ssh/culvert/ftp"
	"github.com/culvert-ssh/culvert/policy"
	"github.com/culvert-ssh/culvert/relay"
)

const (
	// arrivalTimeout is how long a reply of the server about a transfer is kept from the client, while its data connection hasn't come:
	// servers connect before they say so, or right after.
	arrivalTimeout = time.Second

	// listenAttempts is how many ports are tried, where a client is announced the same one by another server.
	listenAttempts = 16
)

var (
	errNotServer   = errors.New("it is not the FTP server's")
	errNotCulvert  = errors.New("the SSH client is not culvert, which alone can connect to an FTP client in active mode")
	errNeverCame   = errors.New("the transfer ended without a data connection")
	errNotListened = errors.New("nobody listens for the FTP server any more")
)

// incoming is a data connection that the FTP server makes, to a listener of the bastion's. It is joined with a channel: one that the client
// opens to what was announced to it, or one that the bastion opens to where the client waits. Whoever comes first waits for the other.
//
// To the client's channel it is a connection before it has come: whoever reads or writes waits for it.
type incoming struct {
	f      *ftpControl
	ln     *control.DataListener
	at     netip.AddrPort // where the bastion listens
	client netip.AddrPort // where the client waits; not valid if it is in passive mode
	use    *dataUse

	ctx     context.Context // ends when nobody waits for the connection any more; once it is joined, that means nothing
	stop    context.CancelCauseFunc
	arrived chan struct{}              // closed when it has come, or can't come any more
	conns   chan *relay.TCP            // to whom it is for
	conn    func() (*relay.TCP, error) // waits for it; the caller owns it from then on
	taken   chan struct{}              // closed when the client has answered whether it takes it, if it is in active mode
	refusal error                      // its answer; valid once taken is closed
	once    sync.Once                  // it answers
	joined  atomic.Pointer[relay.TCP]  // what conn has returned
}

// activeDecision asks the policy whether the FTP server may connect for its data: whether the control channel is permitted and brings data,
// and FTPActive is forward. Nothing is opened towards the server, so that no port is in question; what DenyOpen says of the server's
// address, it says of the control channel.
func (f *ftpControl) activeDecision() policy.Decision {
	d := f.decision()
	switch {
	case !d.Allowed():
		return d
	case d.FTP == nil || !d.FTP.Data:
		return policy.Decision{Rule: d.Rule, Reason: notBothFTP}
	case d.FTP.Active != policy.ActiveForward:
		return policy.Decision{Rule: f.cfg.Line("FTPActive"), Reason: "FTPActive is " + d.FTP.Active.String()}
	}
	return d
}

// Listen waits for one connection of the FTP server, on the address that the control connection comes from: it is the one that the server
// reaches.
func (f *ftpControl) Listen(ctx context.Context, l ftp.Listen) (netip.AddrPort, error) {
	f.Cancel("a newer one")
	if err := f.announcing.Wait(ctx); err != nil {
		return netip.AddrPort{}, err
	}
	if d := f.activeDecision(); !d.Allowed() {
		return netip.AddrPort{}, &denied{d}
	}
	if l.Client.IsValid() && !f.endOfData.Load() {
		return netip.AddrPort{}, errNotCulvert
	}
	ln, err := f.listenData()
	if err != nil {
		return netip.AddrPort{}, err
	}
	in := &incoming{
		f: f, ln: ln, at: ln.Addr(), client: l.Client, use: new(dataUse),
		arrived: make(chan struct{}), conns: make(chan *relay.TCP), taken: make(chan struct{}),
	}
	in.ctx, in.stop = context.WithCancelCause(f.ctx)
	in.conn = sync.OnceValues(in.receive)
	if !f.record(audit.FTPListening{Conn: f.cfg.ID, Control: f.request, Address: in.at, Server: f.peer, Waiting: l.Client}) ||
		!f.spawn("FTP data listener", in.serve) {
		ln.Close()
		in.stop(errClosed)
		return netip.AddrPort{}, errClosed
	}
	f.incoming = in
	return in.at, nil
}

// listenData listens at a port that is announced to the client by nobody else.
func (f *ftpControl) listenData() (ln *control.DataListener, err error) {
	for range listenAttempts {
		ln, err = control.ListenData(control.DataListenerConfig{
			At:       netip.AddrPortFrom(f.local, 0),
			Accepts:  f.acceptsData,
			Rejected: f.rejectedData,
			Timeout:  f.rules.DataTimeout,
		})
		if err != nil || !f.expectations.announces(ln.Addr().Port()) {
			break
		}
		ln.Close()
	}
	return ln, err
}

func (f *ftpControl) acceptsData(c *net.TCPConn) error {
	if relay.AddrPort(c.RemoteAddr()).Addr() != f.peer {
		return errNotServer
	}
	return nil
}

func (f *ftpControl) rejectedData(peer netip.AddrPort, why error) {
	f.refused(fmt.Sprintf("a data connection from %v was reset: %v", peer, why))
}

// transferred is told of the final reply to a transfer. A server that has not connected by then won't, and its client would wait.
func (f *ftpControl) transferred() {
	if f.incoming != nil && !f.incoming.wait() {
		f.incoming.stop(errNeverCame)
	}
}

// openIncoming answers for what the server has agreed to connect to. A client in passive mode is told the address of the
// server as ever; the port is only a name.
func (f *ftpControl) openIncoming(e ftp.Endpoint) (netip.AddrPort, error) {
	in := f.incoming
	if in == nil || in.ctx.Err() != nil {
		return netip.AddrPort{}, errNotListened
	}
	if d := f.activeDecision(); !d.Allowed() {
		return netip.AddrPort{}, &denied{d}
	}
	x := &expectation{control: f.request, host: f.host, address: in.at, protected: e.Protected, owner: f, use: in.use, incoming: in}
	if !in.client.IsValid() {
		x.address = netip.AddrPortFrom(f.peer, in.at.Port())
		if !f.record(audit.FTPAnnounced{Conn: f.cfg.ID, Control: f.request, Reply: e.Reply, Address: x.address}) {
			return netip.AddrPort{}, errClosed
		}
	}
	f.transfers.announced(in.use)
	f.expectations.install(x, f.rules.DataTimeout)
	if in.client.IsValid() && !f.spawn("FTP data", func() { in.forward(x) }) {
		return netip.AddrPort{}, errClosed
	}
	return x.address, nil
}

// serve waits for the server's connection, and then for whom it is for.
func (in *incoming) serve() {
	tcp, err := in.accept()
	close(in.arrived)
	if err != nil {
		in.stop(err)
		in.ended()
		return
	}
	select {
	case in.conns <- tcp:
	case <-in.ctx.Done():
		tcp.Abort()
		in.f.transfers.gone(in.use)
		in.ended()
	}
}

func (in *incoming) accept() (*relay.TCP, error) {
	c, err := in.ln.Accept(in.ctx)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, fmt.Errorf("the FTP server did not connect in %v", in.f.rules.DataTimeout)
	case err != nil:
		return nil, fmt.Errorf("the FTP server did not connect: %w", err)
	}
	tcp := relay.NewTCP(c)
	if !in.f.record(audit.FTPConnected{
		Conn: in.f.cfg.ID, Control: in.f.request, Address: in.at, From: relay.AddrPort(c.RemoteAddr()),
	}) {
		tcp.Abort()
		return nil, errNoRecord
	}
	in.f.transfers.connected(in.use)
	return tcp, nil
}

// ended puts on record that the listener was not used.
func (in *incoming) ended() {
	reason := context.Cause(in.ctx).Error()
	in.f.expectations.abandon(in, reason)
	in.f.record(audit.FTPExpired{Conn: in.f.cfg.ID, Control: in.f.request, Address: in.at, Reason: reason})
}

// receive takes the connection over, once it has come.
func (in *incoming) receive() (*relay.TCP, error) {
	select {
	case tcp := <-in.conns:
		in.joined.Store(tcp)
		return tcp, nil
	case <-in.ctx.Done():
		return nil, fmt.Errorf("%w: %w", relay.ErrAborted, context.Cause(in.ctx))
	}
}

// wait waits until the server has connected, or can't any more, for no longer than arrivalTimeout. It reports false if neither is
// known by then.
func (in *incoming) wait() bool {
	late := time.NewTimer(arrivalTimeout)
	defer late.Stop()
	select {
	case <-in.arrived:
		return true
	case <-late.C:
	case <-in.ctx.Done():
	}
	return false
}

// end waits for the answer of a client in active mode, but not for a server that says that all is done and doesn't come.
func (in *incoming) end(ctx context.Context) error {
	switch {
	case !in.client.IsValid():
		return nil // it has connected itself, and sees how that has ended
	case !in.wait():
		in.stop(errNeverCame)
	}
	select {
	case <-in.taken:
		return in.refusal
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// answered is told whether the client has taken the connection. The first word counts.
func (in *incoming) answered(err error) {
	in.once.Do(func() {
		in.refusal = err
		close(in.taken)
	})
}

// forward opens a channel to where the client waits, once the server has connected. What the client can't take is reset.
func (in *incoming) forward(x *expectation) {
	f := in.f
	tcp, err := in.conn()
	if err != nil {
		in.answered(err)
		return
	}
	o := &opening{
		Conn: f.Conn, request: f.nextRequest(), host: in.client.Addr().String(), port: in.client.Port(),
		generation: f.registry.generation(),
	}
	s := &stream{opening: o, tcp: tcp, rule: f.rule, owner: f, isData: true, incoming: in}
	s.protect(x)
	f.transfers.consumed(in.use, o.request)
	f.transfers.opened(in.use, s)
	f.transfers.ended(in.use, s.forwardData(x))
}

// forwardData is forward with its request, and returns why if it came to no clean end.
func (s *stream) forwardData(x *expectation) error {
	d := s.owner.activeDecision()
	switch {
	case !s.expectations.claim(x):
		d = policy.Decision{Reason: "it was withdrawn"}
	case d.Allowed() && !s.channels.take():
		d = policy.Decision{Rule: s.cfg.Line("MaxChannels"), Reason: "MaxChannels is reached"}
	}
	if !d.Allowed() {
		s.incoming.answered(errors.New(d.Reason))
		s.tcp.Abort()
		s.rule = d.Rule
		s.refused(d.Reason)
		return errors.New(d.Reason)
	}
	if !s.record(audit.FTPConsumed{Conn: s.cfg.ID, Control: x.control, Request: s.request, Address: x.address}) ||
		!s.unconfirmed.acquire(s.owner.ctx) {
		s.incoming.answered(errClosed)
		s.tcp.Abort()
		s.channels.give()
		return errClosed
	}
	return s.forward(s.owner.ctx, s.incoming.answered)
}

func (in *incoming) Read(p []byte) (int, error) {
	tcp, err := in.conn()
	if err != nil {
		return 0, err
	}
	return tcp.Read(p)
}

func (in *incoming) Write(p []byte) (int, error) {
	tcp, err := in.conn()
	if err != nil {
		return 0, err
	}
	return tcp.Write(p)
}

// CloseWrite waits as well: what the client has to send may be nothing.
func (in *incoming) CloseWrite() error {
	tcp, err := in.conn()
	if err != nil {
		return err
	}
	return tcp.CloseWrite()
}

func (in *incoming) Close() error {
	tcp, err := in.conn()
	if err != nil {
		return err
	}
	return tcp.Close()
}

// Abort resets the connection, or has nobody wait for it any more.
func (in *incoming) Abort() {
	in.stop(relay.ErrAborted)
	if tcp, err := in.conn(); err == nil {
		tcp.Abort()
	}
}

// RemoteAddr returns nil as long as nobody has come.
func (in *incoming) RemoteAddr() net.Addr {
	if tcp := in.joined.Load(); tcp != nil {
		return tcp.RemoteAddr()
	}
	return nil
}
