package channels

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/culvert-ssh/culvert/audit"
	"github.com/culvert-ssh/culvert/control"
	"github.com/culvert-ssh/culvert/ftp"
	"github.com/culvert-ssh/culvert/policy"
	"github.com/culvert-ssh/culvert/relay"
)

// ftpForward is the global request for a remote forwarding whose connections are read as FTP. Its payload and its answer are those of
// tcpip-forward, and so is how it is cancelled; docs/protocol.md has the whole of it.
const ftpForward = "ftp-forward@culvert"

// remoteControl is one FTP control connection that came to a listener: the FTP client is near the bastion, and the server near the SSH
// client, who reads the dialogue as well. It is the bastion's side of [control.Endpoints].
//
// The server's announcements come with a port that the SSH client has chosen to know the data channel by. The FTP client is told
// of a listener of the bastion's instead.
type remoteControl struct {
	*ftpControl
	listener *listener
	client   control.Owner // the FTP client
	hop      netip.Addr    // what it connected to
	data     remoteData    // announced last, or nil
}

// remoteData is a data connection of a remoteControl to come.
type remoteData interface {
	// begin is told that a transfer begins, which waits for it.
	begin()
	// end returns an error if the FTP client was to be connected to, and wasn't.
	end(ctx context.Context) error
	// withdraw ends it, if it has not come.
	withdraw(reason error)
}

// forwardFTP carries an accepted connection to the SSH client, and reads it as FTP until it ends.
func (s *stream) forwardFTP() {
	defer s.channels.give()
	f, err := s.newRemoteControl()
	if err != nil {
		s.unconfirmed.release()
		s.tcp.Abort()
		s.refused(err.Error())
		return
	}
	defer s.controls.give()
	ctx, end := context.WithCancelCause(s.Conn.ctx)
	f.ctx = ctx
	if s.confirm(func(error) {}) != nil {
		end(errClosed)
		return
	}
	err = control.Run(s.Conn.ctx, control.Config{
		Client: s.tcp, Server: s.channel,
		Session:   ftp.NewSession(f.options()),
		Endpoints: f, Record: &f.transfers, Note: f.note, Log: s.cfg.Log, Count: &s.count,
	})
	time.AfterFunc(drainTime, func() { end(errDrained) })
	if errors.Is(err, control.ErrRefused) {
		f.refused(err.Error())
	}
	_ = s.closed(err) // it is on record
}

// newRemoteControl takes a slot for a control connection, which the caller must give back, unless it fails.
func (s *stream) newRemoteControl() (*remoteControl, error) {
	tcp, ok := s.tcp.(*relay.TCP)
	if !ok {
		return nil, errors.New("not a TCP connection")
	}
	// ABOR comes as urgent data.
	if err := control.KeepUrgent(tcp.TCPConn); err != nil {
		return nil, err
	}
	d := s.listener.decideAgain()
	if !d.Allowed() {
		return nil, &revoked{d}
	}
	hop := relay.AddrPort(tcp.LocalAddr())
	client, err := control.NewOwner(relay.AddrPort(tcp.RemoteAddr()), hop)
	if err != nil {
		return nil, fmt.Errorf("whose the connection is can't be told: %w", err)
	}
	if !s.controls.take() {
		return nil, fmt.Errorf("%d FTP control channels are open", maxControlChannels)
	}
	f := &remoteControl{
		ftpControl: &ftpControl{opening: s.opening, rule: d.Rule, rules: d.FTP},
		listener:   s.listener,
		client:     client, hop: hop.Addr(),
	}
	f.transfers.f = f.ftpControl
	s.owner, s.remote = f.ftpControl, f
	return f, nil
}

func (f *remoteControl) options() ftp.Options {
	o := ftpOptions(f.rules)
	o.Hop, o.Client, o.Request, o.Active = f.hop, f.client.Addr, f.request, f.active()
	return o
}

// active is what becomes of active mode. The SSH client is near the server, and makes up for its lack of passive mode if it is to.
func (f *remoteControl) active() ftp.Active {
	if f.rules.Active == policy.ActiveNo {
		return ftp.ActiveRefused
	}
	return ftp.ActiveTranslated
}

// decision asks the policy about the control connection. Its commands are read as they were when it came.
func (f *remoteControl) decision() policy.Decision {
	d := f.listener.decideAgain()
	if !d.Allowed() {
		return d
	}
	if reason := f.narrowed(d.FTP); reason != "" {
		return policy.Decision{Rule: d.Rule, Reason: reason}
	}
	return d
}

// dataDecision asks the policy about a port of the bastion's that is announced for data.
func (f *remoteControl) dataDecision(port uint16) policy.Decision {
	d := f.decision()
	if d.Allowed() && len(d.FTP.DataPorts) > 0 && !contains(d.FTP.DataPorts, port) {
		return policy.Decision{Rule: f.cfg.Line("FTPDataPorts"), Reason: "not in FTPDataPorts"}
	}
	return d
}

// activeDecision asks the policy whether the bastion may connect to where the FTP client waits.
func (f *remoteControl) activeDecision(at netip.AddrPort) policy.Decision {
	d := f.decision()
	if !d.Allowed() {
		return d
	}
	return f.cfg.Decide(policy.Request{
		Subject: f.cfg.Subject(),
		Action:  policy.OpenClient,
		Target:  policy.Target{Host: at.Addr().String(), Port: at.Port(), Addr: at.Addr()},
		Time:    f.cfg.Now(),
	})
}

// Open makes the endpoint reachable for the FTP client: by a listener for it, or, if it is in active mode, by a channel to the
// server that waits for the transfer. It is on record before the client hears of it.
func (f *remoteControl) Open(ctx context.Context, e ftp.Endpoint) (at netip.AddrPort, err error) {
	f.Cancel("a newer announcement")
	if err := f.announcing.Wait(ctx); err != nil {
		return netip.AddrPort{}, err
	}
	use := new(dataUse)
	if e.Client.IsValid() {
		f.data, err = f.prepare(ctx, e, use)
	} else {
		f.data, at, err = f.waitFor(e, use)
	}
	if err != nil {
		f.data = nil
		return netip.AddrPort{}, err
	}
	f.transfers.announced(use)
	return at, nil
}

// Listen is not served: a server that has no passive mode is the SSH client's to wait for.
func (f *remoteControl) Listen(context.Context, ftp.Listen) (netip.AddrPort, error) {
	return netip.AddrPort{}, errors.New("the FTP server is near the SSH client, and can't connect to the bastion")
}

// Begin connects to a client in active mode, and has found out who has come from one in passive mode, if that can be told.
func (f *remoteControl) Begin(context.Context) {
	if f.data != nil {
		f.data.begin()
	}
}

// End asks whether a client in active mode was connected to.
func (f *remoteControl) End(ctx context.Context) error {
	if f.data == nil {
		return nil
	}
	return f.data.end(ctx)
}

// Cancel withdraws the endpoint, if it is unused.
func (f *remoteControl) Cancel(reason string) {
	if f.data != nil {
		f.data.withdraw(errors.New(reason))
		f.data = nil
	}
}

// announced puts an endpoint on record.
func (f *remoteControl) announced(e ftp.Endpoint, at netip.AddrPort) bool {
	event := audit.FTPAnnounced{Conn: f.cfg.ID, Control: f.request, Reply: e.Reply, Address: at}
	if e.Announced != at.Addr() {
		event.Named = e.Announced
	}
	return f.record(event)
}

// expired puts on record that an endpoint ended unused.
func (f *remoteControl) expired(at netip.AddrPort, reason error) {
	f.record(audit.FTPExpired{Conn: f.cfg.ID, Control: f.request, Address: at, Reason: reason.Error()})
}

// stream is the data connection that belongs to an endpoint, which the SSH client knows by its port.
func (f *remoteControl) stream(port uint16) *stream {
	o := &opening{
		Conn: f.Conn, request: f.nextRequest(), host: f.host, port: port,
		generation: f.registry.generation(),
	}
	return &stream{opening: o, rule: f.rule, owner: f.ftpControl, remote: f, listener: f.listener, isData: true}
}

// decideAgain asks the policy about an open stream of f.
func (f *remoteControl) decideAgain(s *stream) policy.Decision {
	switch {
	case !s.isData:
		return f.decision()
	case s.at.IsValid():
		return f.dataDecision(s.at.Port())
	}
	return f.activeDecision(s.waits)
}

func contains(ports []policy.PortRange, port uint16) bool {
	for _, r := range ports {
		if r.Contains(port) {
			return true
		}
	}
	return false
}
