package channels

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/culvert-ssh/culvert/audit"
	"github.com/culvert-ssh/culvert/control"
	"github.com/culvert-ssh/culvert/ftp"
	"github.com/culvert-ssh/culvert/policy"
	"github.com/culvert-ssh/culvert/relay"
)

var (
	errOurs   = errors.New("the bastion listens there itself, for an SSH client")
	errUnused = errors.New("nobody came in FTPDataTimeout")

	errUnanswered = errors.New("the SSH client did not answer in ConnectTimeout")
)

// remoteListener waits for the one data connection of an FTP client near the bastion. It is a [member], so that a change of the policy
// reaches it.
type remoteListener struct {
	*remoteControl
	ln    *control.DataListener
	at    netip.AddrPort
	port  uint16 // that the server's announcement named
	use   *dataUse
	since time.Time

	ctx  context.Context // ends when nobody waits any more
	stop context.CancelCauseFunc
}

// waitFor announces a listener on the address that the FTP client has connected to.
func (f *remoteControl) waitFor(e ftp.Endpoint, use *dataUse) (remoteData, netip.AddrPort, error) {
	generation := f.registry.generation()
	d := f.decision()
	if !d.Allowed() {
		return nil, netip.AddrPort{}, &denied{d}
	}
	ln, err := f.listenAt(d.FTP.DataPorts)
	if err != nil {
		return nil, netip.AddrPort{}, err
	}
	l := &remoteListener{remoteControl: f, ln: ln, at: ln.Addr(), port: e.Port, use: use, since: f.cfg.Now()}
	l.ctx, l.stop = context.WithCancelCause(f.ctx)
	if !f.announced(e, l.at) {
		l.stop(errNoRecord)
		ln.Close()
		return nil, netip.AddrPort{}, errNoRecord
	}
	if !f.enroll(l, generation) {
		l.recheck()
	}
	if !f.spawn("FTP data listener", l.serve) {
		l.stop(errClosed)
		ln.Close()
		l.dismiss(l)
		return nil, netip.AddrPort{}, errClosed
	}
	return l, l.at, nil
}

// maxPortTries is how many ports of FTPDataPorts are tried.
const maxPortTries = 100

// listenAt listens at one of some ports, or at any if there are none.
func (f *remoteControl) listenAt(ports []policy.PortRange) (ln *control.DataListener, err error) {
	if len(ports) == 0 {
		return f.listenOn(0)
	}
	for _, r := range ports {
		size := int(r.Last-r.First) + 1
		first := rand.IntN(size)
		for i := range min(size, maxPortTries) {
			ln, err = f.listenOn(r.First + uint16((first+i)%size))
			if !errors.Is(err, syscall.EADDRINUSE) {
				return ln, err
			}
		}
	}
	return nil, fmt.Errorf("FTPDataPorts: %w", err)
}

func (f *remoteControl) listenOn(port uint16) (*control.DataListener, error) {
	return control.ListenData(control.DataListenerConfig{
		At:      netip.AddrPortFrom(f.hop, port),
		Timeout: f.rules.DataTimeout,
		Accepts: f.client.Accepts,
		Rejected: func(peer netip.AddrPort, why error) {
			f.refused(fmt.Sprintf("a data connection from %v was reset: %v", peer, why))
		},
	})
}

// begin waits, for a client on this machine, until it is known whose connection it is: a program that has sent a small file and closed its
// socket has left no trace of its owner (docs/adr/0010-whose-data.md).
func (l *remoteListener) begin() {
	if l.client.UID == control.UnknownUID {
		return
	}
	late := time.NewTimer(arrivalTimeout)
	defer late.Stop()
	select {
	case <-l.ln.Checked():
	case <-late.C:
	}
}

func (l *remoteListener) end(context.Context) error { return nil }

func (l *remoteListener) withdraw(reason error) { l.stop(reason) }

// serve waits for the connection, and carries it.
func (l *remoteListener) serve() {
	c, err := l.ln.Accept(l.ctx)
	l.dismiss(l)
	if err != nil {
		if cause := context.Cause(l.ctx); cause != nil {
			err = cause
		} else if errors.Is(err, os.ErrDeadlineExceeded) {
			err = errUnused
		}
		l.expired(l.at, err)
		return
	}
	s := l.stream(l.port)
	s.tcp, s.at = relay.NewTCP(c), l.at
	l.transfers.consumed(l.use, s.request)
	l.transfers.opened(l.use, s)
	l.transfers.ended(l.use, l.carry(s))
}

// carry begins to forward the connection once it may, and returns why if that came to no clean end.
func (l *remoteListener) carry(s *stream) error {
	if err := l.permits(s, l.at); err != nil {
		s.tcp.Abort()
		s.refused(err.Error())
		return err
	}
	if !s.unconfirmed.acquire(l.remoteControl.ctx) {
		s.tcp.Abort()
		s.channels.give()
		return errClosed
	}
	return s.forward(l.remoteControl.ctx, func(error) {})
}

// permits takes a slot for the channel of a data connection, and puts on record that it uses the endpoint at.
func (f *remoteControl) permits(s *stream, at netip.AddrPort) error {
	if d := f.decideAgain(s); !d.Allowed() {
		return &revoked{d}
	}
	if !s.channels.take() {
		return errors.New("MaxChannels is reached")
	}
	if !s.record(audit.FTPConsumed{Conn: s.cfg.ID, Control: f.request, Request: s.request, Address: at}) {
		s.channels.give()
		return errNoRecord
	}
	return nil
}

func (l *remoteListener) info() Info {
	return Info{
		Request: l.request, Type: ftpForward, Target: l.listener.target(), Address: l.at, Rule: l.rule, FTP: "data", Since: l.since,
	}
}

func (l *remoteListener) recheck() bool {
	d := l.dataDecision(l.at.Port())
	if !d.Allowed() {
		l.stop(&revoked{d})
	}
	return !d.Allowed()
}

// remoteDial is the data connection to an FTP client near the bastion that is in active mode. The channel to the server is there
// beforehand, as many servers say that a transfer begins only once they have a connection for it.
type remoteDial struct {
	*remoteControl
	s   *stream
	to  netip.AddrPort
	use *dataUse

	once    sync.Once
	reached chan struct{} // closed when the client was dialled
	failure error         // why that failed; valid once reached is closed
}

// prepare opens the channel to the server.
func (f *remoteControl) prepare(ctx context.Context, e ftp.Endpoint, use *dataUse) (remoteData, error) {
	if d := f.activeDecision(e.Client); !d.Allowed() {
		return nil, &denied{d}
	}
	if listened.has(e.Client) {
		return nil, errOurs
	}
	if !f.announced(e, e.Client) {
		return nil, errClosed
	}
	a := &remoteDial{remoteControl: f, s: f.stream(e.Port), to: e.Client, use: use, reached: make(chan struct{})}
	a.s.waits = e.Client
	if !f.channels.take() {
		return nil, errors.New("MaxChannels is reached")
	}
	if err := a.offer(ctx); err != nil {
		return nil, err
	}
	return a, nil
}

// offer opens the channel, for no longer than ConnectTimeout. If it fails, it has given the slot for it back, or does so once the SSH
// client answers.
func (a *remoteDial) offer(ctx context.Context) error {
	if !a.unconfirmed.acquire(ctx) {
		a.channels.give()
		return errClosed
	}
	ctx, cancel := context.WithTimeoutCause(ctx, a.cfg.ConnectTimeout, errUnanswered)
	defer cancel()
	answer := make(chan error)
	if !a.spawn("FTP data", func() {
		err := a.s.offer(a.to, func() {})
		a.unconfirmed.release()
		select {
		case answer <- err:
		case <-ctx.Done():
			if err == nil {
				a.s.channel.Abort()
			}
			a.channels.give()
		}
	}) {
		a.unconfirmed.release()
		a.channels.give()
		return errClosed
	}
	select {
	case err := <-answer:
		if err != nil {
			a.channels.give()
		}
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// begin connects to the client, from the address that it knows.
func (a *remoteDial) begin() {
	a.once.Do(func() {
		a.transfers.consumed(a.use, a.s.request) // before its reply is on record
		if !a.spawn("FTP data", a.carry) {
			a.s.channel.Abort()
			a.channels.give()
		}
	})
}

func (a *remoteDial) end(ctx context.Context) error {
	select {
	case <-a.reached:
		return a.failure
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// withdraw waits for no peer.
func (a *remoteDial) withdraw(reason error) {
	a.once.Do(func() {
		a.expired(a.to, reason)
		if !a.spawn("abort", func() { a.s.channel.Abort(); a.channels.give() }) {
			a.channels.give()
		}
	})
}

func (a *remoteDial) carry() {
	defer a.channels.give()
	a.transfers.opened(a.use, a.s)
	a.transfers.ended(a.use, a.forward())
}

// forward connects the two, and returns why if that came to no clean end.
func (a *remoteDial) forward() error {
	s := a.s
	err := a.reach()
	a.failure = err
	close(a.reached)
	if err != nil {
		s.channel.Abort()
		s.refused(err.Error())
		return err
	}
	if err := s.begin(); err != nil {
		return err
	}
	return s.join(a.remoteControl.ctx)
}

// reach dials the client. On this machine, whoever waits there must be the one who has the control connection: a PORT could name the port of
// another user's program. A client that has come through the bastion is of the same user as all the listeners of its SSH clients, which
// are not for everybody.
func (a *remoteDial) reach() error {
	if d := a.activeDecision(a.to); !d.Allowed() {
		return &revoked{d}
	}
	if !a.record(audit.FTPConsumed{Conn: a.cfg.ID, Control: a.request, Request: a.s.request, Address: a.to}) {
		return errNoRecord
	}
	if listened.has(a.to) {
		return errOurs
	}
	if err := a.client.Waits(a.to, a.hop); err != nil {
		return err
	}
	tcp, err := dial(a.remoteControl.ctx, a.hop, a.to, a.cfg.ConnectTimeout)
	if err != nil {
		return err
	}
	if err := a.client.Took(a.to, relay.AddrPort(tcp.LocalAddr())); err != nil {
		tcp.Abort()
		return err
	}
	a.s.tcp = tcp
	return nil
}
