package channels

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/culvert-ssh/culvert/audit"
	"github.com/culvert-ssh/culvert/ftps"
	"github.com/culvert-ssh/culvert/policy"
	"github.com/culvert-ssh/culvert/relay"
)

// stream is a channel that is joined to a TCP connection: a direct-tcpip channel with what it is carried to, or a
// connection that a listener accepted with the forwarded-tcpip channel that it goes through.
type stream struct {
	*opening
	tcp      connection
	tls      *ftps.Stream // on it, of a protected data connection; nil of any other
	rule     string       // that permitted it
	owner    *ftpControl  // of an FTP channel, whether it is control or data; nil of any other
	isData   bool
	incoming *incoming // of data that the FTP server has connected for, or will
	isOpaque bool      // data that was not announced
	listener *listener // of a forwarded-tcpip channel; nil of a direct-tcpip one

	remote *remoteControl // whose control or data connection it is, if the FTP client is near the bastion
	at     netip.AddrPort // where such a client was told to connect to for data; not valid if it waits itself
	waits  netip.AddrPort // where it does, if so

	channel *primary // from open on
	since   time.Time
	count   relay.Counters // A is the client; of the control connection of a remote, the FTP client
	ended   atomic.Pointer[error]
}

// connection is a TCP connection, or stands for one that is to come and has no remote address until then.
type connection interface {
	relay.Stream
	RemoteAddr() net.Addr
}

// open puts a direct-tcpip channel on record, accepts it, and registers it, in this order. If the record or the
// channel fails, it resets the TCP connection and reports false. Otherwise the caller must call closed.
func (s *stream) open() bool {
	if !s.opened() {
		s.tcp.Abort()
		s.notOnRecord()
		return false
	}
	if s.channel = s.accept(s.nc); s.channel == nil {
		s.tcp.Abort()
		s.closed(errClosed)
		return false
	}
	s.register()
	return true
}

// opened puts the channel on record, and reports whether it is.
func (s *stream) opened() bool {
	s.since = s.cfg.Now()
	return s.record(audit.ChannelOpened{
		Conn: s.cfg.ID, Request: s.request, Type: s.kind(), Target: s.target(),
		Address: relay.AddrPort(s.tcp.RemoteAddr()), Rule: s.rule, FTP: s.ftp(),
	})
}

func (s *stream) register() {
	if !s.enroll(s, s.generation) {
		s.recheck()
	}
}

// join moves the stream's bytes until it has ended, and returns why if that was no clean end.
func (s *stream) join(ctx context.Context) error {
	far := relay.Stream(s.tcp)
	switch {
	case s.tls != nil:
		far = s.tls
	case s.isOpaque: // there is TLS in it
		far = relay.WithLastWord(far)
	}
	return s.closed(relay.Join(ctx, s.channel, far, &s.count))
}

// closed puts the end on record, and returns why if it was no clean one.
func (s *stream) closed(err error) error {
	s.dismiss(s)
	up, down := s.moved()
	e := audit.ChannelClosed{
		Conn: s.cfg.ID, Request: s.request, Type: s.kind(),
		Up: up, Down: down,
		Seconds: s.cfg.Now().Sub(s.since).Seconds(), Result: "clean",
	}
	if s.channel != nil {
		e.Stripes = int(s.channel.attached.Load())
	}
	if why := s.ended.Load(); why != nil && err != nil {
		err = *why
	}
	if err != nil {
		e.Result, e.Reason = "aborted", err.Error()
	}
	if r := (*revoked)(nil); errors.As(err, &r) {
		e.Rule = r.Rule
	}
	s.cfg.Audit.Later(e) // it isn't open any more, whatever becomes of the record
	s.cfg.Log.Debug("channel closed", "request", s.request, "up", e.Up, "down", e.Down, "result", e.Result, "reason", e.Reason)
	return err
}

// abort ends the stream for a reason of ours, beside whoever moves its bytes, and waits for nobody: to abort an
// SSH channel may take as long as its peer doesn't read.
func (s *stream) abort(why error) {
	if s.ended.CompareAndSwap(nil, &why) {
		s.spawn("abort", func() { relay.AbortAll(s.channel, s.tcp) })
	}
}

// moved returns the bytes from the SSH client and those to it.
func (s *stream) moved() (up, down int64) {
	if s.remote != nil && !s.isData {
		return s.count.BToA.Load(), s.count.AToB.Load()
	}
	return s.count.AToB.Load(), s.count.BToA.Load()
}

func (s *stream) info() Info {
	up, down := s.moved()
	return Info{
		Request: s.request, Type: s.kind(), Target: s.target(), Address: relay.AddrPort(s.tcp.RemoteAddr()), Rule: s.rule,
		FTP: s.ftp(), Since: s.since, Up: up, Down: down, Stripes: s.channel.Stripes(),
	}
}

func (s *stream) activity() (kind string, moved int64) {
	return s.kind(), s.count.AToB.Load() + s.count.BToA.Load()
}

func (s *stream) recheck() bool {
	d := s.decideAgain()
	if !d.Allowed() {
		s.abort(&revoked{d})
	}
	return !d.Allowed()
}

// decideAgain asks the policy about an open stream.
func (s *stream) decideAgain() policy.Decision {
	switch {
	case s.remote != nil:
		return s.remote.decideAgain(s)
	case s.incoming != nil:
		return s.owner.activeDecision()
	case s.isOpaque:
		return s.owner.opaqueDecision(relay.AddrPort(s.tcp.RemoteAddr()))
	case s.isData:
		return s.owner.dataDecision(relay.AddrPort(s.tcp.RemoteAddr()))
	case s.owner != nil:
		return s.owner.decision()
	case s.listener != nil:
		return s.listener.decideAgain()
	}
	d := s.decide(policy.Open, relay.AddrPort(s.tcp.RemoteAddr()).Addr())
	if d.Allowed() && d.FTP != nil {
		return policy.Decision{Rule: d.Rule, Reason: "it is to be read as FTP"}
	}
	return d
}

// kind is the type of the channel.
func (s *stream) kind() string {
	if s.nc == nil {
		return "forwarded-tcpip"
	}
	return s.nc.ChannelType()
}

// ftp is what the stream is to FTP, in the audit log's words.
func (s *stream) ftp() string {
	switch {
	case s.isData:
		return "data"
	case s.owner != nil:
		return "control"
	}
	return ""
}
