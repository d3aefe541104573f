package channels

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/audit"
	"github.com/culvert-ssh/culvert/control"
	"github.com/culvert-ssh/culvert/ftp"
	"github.com/culvert-ssh/culvert/policy"
	"github.com/culvert-ssh/culvert/relay"
)

// drainTime is how long an open data channel may live after its control channel has
// ended. A server that closes control first has sent its data; it needs to get through.
const drainTime = 30 * time.Second

// notBothFTP is why a control channel brings no data.
const notBothFTP = "PermitOpen and the key's permitopen don't both say ftp/"

var errDrained = fmt.Errorf("the control connection ended more than %v ago", drainTime)

// ftpControl is one FTP control channel: the bastion's side of [control.Endpoints].
type ftpControl struct {
	*opening
	peer  netip.Addr // the FTP server, as dialled
	local netip.Addr // this end of the control connection
	rule  string
	rules *policy.FTP     // as it was when the channel was opened
	ctx   context.Context // ends drainTime after the control channel

	incoming  *incoming   // that the server was asked last to connect to, and that wasn't withdrawn; nil if there is none
	unread    atomic.Bool // the two ends speak TLS with each other
	upstream  *upstream
	stream    *stream // itself
	transfers transfers
}

// control reads an allowed channel as FTP until it ends.
func (o *opening) control(tcp *relay.TCP, d policy.Decision) {
	if !o.controls.take() {
		tcp.Abort()
		o.Conn.refuse(o.nc, refusal{
			code: ssh.ResourceShortage, text: "too many FTP control connections", request: o.request,
			target: o.target(), rule: d.Rule, reason: fmt.Sprintf("%d FTP control channels are open", maxControlChannels),
		})
		return
	}
	defer o.controls.give()
	ctx, end := context.WithCancelCause(o.Conn.ctx)
	f := &ftpControl{
		opening: o, peer: relay.AddrPort(tcp.RemoteAddr()).Addr(), local: relay.AddrPort(tcp.LocalAddr()).Addr(),
		rule: d.Rule, rules: d.FTP, ctx: ctx,
	}
	f.transfers.f = f
	server, err := f.begin(tcp)
	if err != nil {
		end(err)
		tcp.Abort()
		o.refuse(ssh.ConnectionFailed, "no TLS with the FTP server", d.FTP.TLSRule, err.Error())
		return
	}
	s := &stream{opening: o, tcp: tcp, rule: d.Rule, owner: f}
	f.stream = s
	if !s.open() {
		end(errClosed)
		return
	}
	if d.FTP.TLS == policy.TLSOff {
		f.unprotected("")
	}
	err = control.Run(o.Conn.ctx, control.Config{
		Client: untilEnd{s.channel, func() { o.opaques.remove(f) }}, Server: server, StartTLS: f.startTLS, Opaque: f.goOpaque,
		Session:   ftp.NewSession(f.options()),
		Endpoints: f, Record: &f.transfers, Note: f.note, Log: o.cfg.Log, Count: &s.count,
	})
	o.expectations.forget(f.request)
	o.opaques.remove(f)
	time.AfterFunc(drainTime, func() { end(errDrained) })
	if errors.Is(err, control.ErrRefused) && !f.upstream.refused { // which ends the session, and is told once
		f.refused(err.Error())
	}
	s.closed(err)
}

// activeMode is what becomes of active mode on a direct-tcpip channel: to translate it is for who is near the client.
func activeMode(rules *policy.FTP) ftp.Active {
	if rules.Data && rules.Active == policy.ActiveForward {
		return ftp.ActiveForwarded
	}
	return ftp.ActiveRefused
}

func (f *ftpControl) options() ftp.Options {
	o := ftpOptions(f.rules)
	o.Peer, o.Hop, o.Request = f.peer, f.peer, f.request
	o.ForeignAddress, o.Active = f.foreign, activeMode(f.rules)
	o.TLS, o.Opaque = ftp.TLS(f.rules.TLS), len(f.rules.OpaquePorts) > 0
	o.WithoutTLS = "this bastion speaks to it by TLS or not at all"
	return o
}

// foreign reports whether FTPDataAddress lets the server announce a.
func (f *ftpControl) foreign(a netip.Addr) bool { return inside(f.rules.DataAddresses, a) }

// Open installs an expectation; only then is the announcement passed on, so an honest client
// is never early.
func (f *ftpControl) Open(ctx context.Context, e ftp.Endpoint) (netip.AddrPort, error) {
	if err := f.announcing.Wait(ctx); err != nil {
		return netip.AddrPort{}, err
	}
	if e.Listening {
		return f.openIncoming(e)
	}
	at := netip.AddrPortFrom(e.Addr, e.Port)
	d := f.dataDecision(at)
	if !d.Allowed() {
		return netip.AddrPort{}, fmt.Errorf("%v is %w", at, &denied{d})
	}
	event := audit.FTPAnnounced{Conn: f.cfg.ID, Control: f.request, Reply: e.Reply, Address: at}
	if e.Announced != e.Addr {
		event.Named = e.Announced
	}
	if !f.record(event) {
		return netip.AddrPort{}, errClosed
	}
	x := &expectation{control: f.request, host: f.host, address: at, protected: e.Protected, owner: f, use: new(dataUse)}
	f.transfers.announced(x.use)
	if e.Addr == f.peer {
		x.local = f.local // a foreign address may need another route
	}
	if f.rules.Predial {
		f.predial(x)
	}
	f.expectations.install(x, f.rules.DataTimeout)
	return at, nil
}

// Begin waits until a server that is to connect has done so: a reply must not overtake what it is about. Who may open an endpoint
// of the server's is known by the connection that it is asked for on.
func (f *ftpControl) Begin(context.Context) {
	if f.incoming != nil {
		f.incoming.wait()
	}
}

// End asks whether the SSH client has taken the server's connection for an FTP client in active mode. A server may have sent a small file
// by then, and not have met the reset yet.
func (f *ftpControl) End(ctx context.Context) error {
	if f.incoming == nil { // it was withdrawn, so that there is no transfer
		return nil
	}
	return f.incoming.end(ctx)
}

// Cancel withdraws the expectation, if it is unused, and has nobody wait for the server any more.
func (f *ftpControl) Cancel(reason string) {
	f.expectations.withdraw(f.request, reason)
	if f.incoming != nil {
		f.incoming.stop(errors.New(reason))
		f.incoming = nil
	}
}

// decision asks the policy about the control channel. Its commands are read as they were when it was opened.
func (f *ftpControl) decision() policy.Decision {
	d := f.decide(policy.Open, f.peer)
	if !d.Allowed() || d.FTP == nil {
		return d
	}
	if reason := f.narrowed(d.FTP); reason != "" {
		return policy.Decision{Rule: d.Rule, Reason: reason}
	}
	if f.unread.Load() && len(d.FTP.OpaquePorts) == 0 {
		return policy.Decision{Rule: d.Rule, Reason: "what can't be read is not permitted (FTPOpaqueTLS)"}
	}
	if rule := f.outdated(f.upstream, d.FTP); rule != "" {
		return policy.Decision{Rule: cmp.Or(d.FTP.TLSRule, d.Rule), Reason: rule + " wants another connection to the server"}
	}
	return d
}

// narrowed returns why the commands can't be read any more as they were when the connection was opened, or nothing.
func (f *ftpControl) narrowed(now *policy.FTP) string {
	switch {
	case now.Access > f.rules.Access:
		return "FTPAccess permits less"
	case now.HasPathRules() && !now.SamePathRules(f.rules):
		return "FTPDeny or FTPAllow are others"
	}
	return ""
}

// dataDecision asks the policy about a data endpoint that was announced here: whether the control channel
// is permitted, and brings it.
func (f *ftpControl) dataDecision(at netip.AddrPort) policy.Decision {
	d := f.decision()
	switch {
	case !d.Allowed():
		return d
	case d.FTP == nil || !d.FTP.Data:
		return policy.Decision{Rule: d.Rule, Reason: notBothFTP}
	case at == netip.AddrPortFrom(f.peer, f.port):
		return policy.Decision{Rule: d.Rule, Reason: "it is the port of the control connection, which as data would not be read"}
	case at.Addr() != f.peer && !inside(d.FTP.DataAddresses, at.Addr()):
		return policy.Decision{Rule: d.Rule, Reason: "not in FTPDataAddress"}
	}
	return f.cfg.Decide(policy.Request{
		Subject: f.cfg.Subject(),
		Action:  policy.OpenData,
		Target:  policy.Target{Host: f.host, Port: at.Port(), Addr: at.Addr()},
		Time:    f.cfg.Now(),
	})
}

func inside(networks []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(a) })
}

func (f *ftpControl) note(n ftp.Note) {
	switch n.Kind {
	case ftp.NoteProtected:
		f.secured()
	case ftp.NoteClear:
		f.unprotected(n.Text)
	case ftp.NoteLogin:
		f.record(audit.FTPLogin{Conn: f.cfg.ID, Control: f.request, Login: n.Text})
	case ftp.NoteWantsTLS:
		f.cfg.Log.Warn("an FTP server wants TLS: with FTPUpstreamTLS require the bastion speaks it, for any FTP client",
			"request", f.request, "server", f.target(), "text", n.Text)
	case ftp.NoteRefused, ftp.NoteUnsolicited, ftp.NoteMalformed:
		f.refused(n.Text)
	default: // a mismatch is in the announcement's event
		f.cfg.Log.Debug("ftp note", "request", f.request, "text", n.Text)
	}
}

func (f *ftpControl) refused(reason string) {
	f.record(audit.FTPRefused{Conn: f.cfg.ID, Control: f.request, Reason: reason})
}

// denied is why an endpoint is not made reachable.
type denied struct{ policy.Decision }

func (d *denied) Error() string { return fmt.Sprintf("not permitted: %s (%s)", d.Reason, d.Rule) }

// expired is told of each expectation that ended unused.
func (c *Conn) expired(e *expectation, reason string) {
	if e.incoming != nil {
		e.incoming.stop(errors.New(reason))
		e.incoming.ln.Close() // before it is on record
	}
	if e.incoming != nil && e.incoming.client.IsValid() {
		return // who listens says so
	}
	c.record(audit.FTPExpired{Conn: c.cfg.ID, Control: e.control, Address: e.address, Dialled: e.drop(), Reason: reason})
}

// data opens the endpoint of a consumed expectation.
func (o *opening) data(e *expectation) {
	// The policy may have changed since the announcement.
	if d := e.decision(); !d.Allowed() {
		if e.incoming != nil { // nobody will take it
			e.incoming.stop(&revoked{d})
		}
		e.drop()
		o.prohibit(d)
		return
	}
	if !o.recordNext(audit.FTPConsumed{Conn: o.cfg.ID, Control: e.control, Request: o.request, Address: e.address}) {
		e.drop()
		o.notOnRecord()
		return
	}
	transfers := &e.owner.transfers
	transfers.consumed(e.use, o.request)
	tcp, err := o.reach(e)
	if err != nil {
		transfers.unused(e.use)
		if worthRetrying(err) {
			o.expectations.giveBack(e)
		}
		o.refuse(ssh.ConnectionFailed, "connect failed", e.owner.rule, err.Error())
		return
	}
	s := &stream{opening: o, tcp: tcp, rule: e.owner.rule, owner: e.owner, isData: true, incoming: e.incoming}
	s.protect(e)
	transfers.opened(e.use, s)
	if !s.open() {
		transfers.ended(e.use, errClosed)
		return
	}
	transfers.ended(e.use, s.join(e.owner.ctx))
}

// reach connects to the endpoint of an expectation. Where it is the server that connects, the client needn't wait for that: it has
// to send its command first.
func (o *opening) reach(e *expectation) (connection, error) {
	if e.incoming != nil {
		return e.incoming, nil
	}
	if ahead := e.ahead; ahead != nil {
		e.ahead = nil
		tcp, err := ahead.take()
		if err == nil || !worthRetrying(err) {
			return tcp, err
		}
		e.retried = true // by what follows
	}
	return dial(o.ctx, e.local, e.address, o.cfg.ConnectTimeout)
}
