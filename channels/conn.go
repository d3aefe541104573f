// Package channels does what each SSH channel type asks for, on one SSH connection that
// is already authenticated: session, direct-tcpip, the FTP expectations that a
// direct-tcpip channel brings, and tcpip-forward. It authenticates nobody and decides nothing itself; it
// asks the policy and does as it is told.
package channels

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/time/rate"

	"github.com/culvert-ssh/culvert/audit"
	"github.com/culvert-ssh/culvert/policy"
	"github.com/culvert-ssh/culvert/relay"
	"github.com/culvert-ssh/culvert/stripe"
)

// Config is what a Conn needs. Every field is required unless it says otherwise.
type Config struct {
	SSH  ssh.Conn    // to send requests on, and to close where going on would be wrong
	Wire *relay.Wire // under it

	// Subject is who is authenticated, as far as is known now: the groups may change. After a change, Recheck is to be called.
	Subject func() policy.Subject
	Decide  func(policy.Request) policy.Decision

	// Permitted are the PermitOpen words that apply to the subject, for the text that a session
	// shows. If nil, the text says that nothing may be opened.
	Permitted []string

	Audit *audit.Log
	ID    audit.Conn
	Log   *slog.Logger
	Now   func() time.Time

	MaxChannels    int           // direct-tcpip and forwarded-tcpip channels open or opening at once
	MaxSessions    int           // session channels at once
	ConnectTimeout time.Duration // for one address

	// Sessions says what may run in a session. It is asked for each, and again once the policy has changed. If nil, nothing may but
	// the text that a shell shows.
	Sessions func() Sessions

	ChannelTimeouts         []Timeout     // the first for a type of channel counts
	UnusedConnectionTimeout time.Duration // without any channel; if zero, never

	// Line names the file:line that says the value of a keyword, or is empty for a default. If nil, no line is named.
	Line func(keyword string) string

	// Authorities are those in a file that FTPUpstreamTLSCAFile names, as it was read last; nil for a file that wasn't. If nil,
	// there are no such files.
	Authorities func(file string) *x509.CertPool

	// Budget is the memory for streams with stripes, which connections share. If nil, there is none beyond the first 2 MiB of each.
	Budget *stripe.Budget

	// End ends the connection for a reason. If nil, SSH is closed.
	End func(reason error)

	// Panicked is told of a panic in a goroutine of the connection, which it must end. If nil, the panic goes on.
	Panicked func(where string, p any)

	// Resolve looks a name up. If nil, the system's resolver does.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
}

const (
	// announcementRate and announcementBurst bound how fast one connection's FTP servers may announce,
	// over all its control channels. Honest clients fetching small files reach several
	// hundred a second on a fast network. Over the rate, a reply waits; it is not refused.
	announcementRate  = 1000
	announcementBurst = 200

	// commandRate and commandBurst bound how fast one connection's FTP commands may be answered, over all its control channels: each
	// is a line of the audit log. Four for each announcement are more than clients send that fetch small
	// files with their sizes and times. Over the rate, a control channel isn't read for a moment; nothing is lost.
	commandRate  = 4 * announcementRate
	commandBurst = 4 * announcementRate

	// openRate and openBurst do the same for channels and listeners that are asked for, and for connections that come to a listener. Whoever waits for
	// answers comes as fast as both ends can, which is 5,100 a second for the fastest pair on two processors, and isn't to be held. With three lines of
	// the log for each, of 1.3 KB, a client that only asks makes culvertd write 8 MB a second.
	openRate  = 6 * announcementRate
	openBurst = 6 * announcementRate

	// aliveTimeout is how long a client may take to show that the connection lives, when nothing else tells the
	// end of its data from a loss. The answer may stand behind data that is queued on a slow line.
	aliveTimeout = 2 * time.Minute

	// maxControlChannels is how many FTP control channels one connection may have, and with
	// one live expectation each, how many expectations.
	maxControlChannels = 64
)

// Conn is the channels of one SSH connection.
type Conn struct {
	cfg    Config
	ctx    context.Context // ends with the connection
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup // of the channels
	mu     sync.Mutex
	closed bool

	requests  atomic.Uint64
	endOfData atomic.Bool // relay.EndOfDataRequest was agreed on
	striped   striped
	noMore    atomic.Bool // no-more-sessions@openssh.com was asked for

	waiting     inHand
	channels    slots
	sessions    slots
	controls    slots
	listening   slots
	unconfirmed places

	forwards     forwards
	registry     registry
	use          use
	watch        *watch
	expectations *expectations
	opaques      opaques
	announcing   *rate.Limiter
	commanding   *rate.Limiter
	asking       *rate.Limiter
}

var (
	errClosed   = errors.New("SSH connection closed")
	errTooMany  = fmt.Errorf("more than %d channels, or %d bytes of them, were asked for at once", maxWaiting, maxWaitingBytes)
	errNoRecord = errors.New("an audit event can't be written")
	errSilent   = fmt.Errorf("the client did not answer within %v", aliveTimeout)
)

// New returns the channels of one connection. The caller must call Close.
func New(cfg Config) (*Conn, error) {
	switch {
	case cfg.SSH == nil, cfg.Wire == nil, cfg.Subject == nil, cfg.Decide == nil, cfg.Audit == nil, cfg.Log == nil, cfg.Now == nil:
		return nil, errors.New("channels: SSH, Wire, Subject, Decide, Audit, Log and Now are required")
	case cfg.ConnectTimeout <= 0:
		return nil, errors.New("channels: ConnectTimeout must be positive")
	}
	if cfg.Resolve == nil {
		cfg.Resolve = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	if cfg.Line == nil {
		cfg.Line = func(string) string { return "" }
	}
	c := &Conn{
		cfg:         cfg,
		channels:    slots{max: int64(cfg.MaxChannels)},
		sessions:    slots{max: int64(cfg.MaxSessions)},
		controls:    slots{max: maxControlChannels},
		listening:   slots{max: maxListeners},
		unconfirmed: make(places, maxUnconfirmed),
		announcing:  rate.NewLimiter(announcementRate, announcementBurst),
		commanding:  rate.NewLimiter(commandRate, commandBurst),
		asking:      rate.NewLimiter(openRate, openBurst),
	}
	c.striped.share = cfg.Budget.Share()
	c.striped.slots.max = stripesPerChannel * int64(cfg.MaxChannels)
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	c.expectations = newExpectations(c.expired)
	c.watch = newWatch(cfg.ChannelTimeouts)
	c.use.mu.Lock()
	defer c.use.mu.Unlock()
	c.wait()
	return c, nil
}

// Close aborts every channel, closes the SSH connection, and returns when all have ended.
func (c *Conn) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.use.stop()
	c.cancel(errClosed)
	_ = c.cfg.SSH.Close() // its error says that it is closed
	c.wg.Wait()
	c.expectations.close()
}

// Serve serves one channel that the client asks for, and returns when it has ended.
func (c *Conn) Serve(nc ssh.NewChannel) {
	if !c.enter() {
		_ = nc.Reject(ssh.ConnectionFailed, "the connection ends") // which is why it may fail
		return
	}
	defer c.wg.Done()
	answered, ok := c.waiting.take(nc)
	defer answered()
	if !ok {
		c.cfg.Log.Warn("connection closed: too many channels asked for at once", "limit", maxWaiting, "bytes", maxWaitingBytes)
		c.end(errTooMany)
	}
	w := &waiting{nc, answered}
	nc = w
	_ = c.asking.Wait(c.ctx) // at the end of the connection, what comes next fails

	switch nc.ChannelType() {
	case "direct-tcpip":
		c.directTCPIP(nc)
	case stripe.ChannelType:
		c.stripe(nc)
	case "session":
		c.session(nc)
	case "direct-streamlocal@openssh.com":
		c.refuseStreamlocal(nc)
	default:
		c.refuse(nc, refusal{
			code: ssh.UnknownChannelType, text: "unsupported channel type", reason: "unsupported channel type",
		})
	}
}

// enter counts a channel, which must then call c.wg.Done. It reports false once the connection is closed.
func (c *Conn) enter() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.wg.Add(1)
	}
	return !c.closed
}

// spawn runs f in a goroutine that the connection waits for. It reports false, and runs nothing, once the connection is
// closed.
func (c *Conn) spawn(where string, f func()) bool {
	if !c.enter() {
		return false
	}
	go func() {
		defer c.wg.Done()
		defer c.recovered(where)
		f()
	}()
	return true
}

// recovered must be deferred around what runs in a goroutine of ours.
func (c *Conn) recovered(where string) {
	if c.cfg.Panicked == nil {
		return
	}
	if p := recover(); p != nil {
		c.cfg.Panicked(where, p)
	}
}

// GlobalRequest answers a global request (RFC 4254, section 4), at once. Where it has sent the answer itself, r wants no
// reply any more.
func (c *Conn) GlobalRequest(r *ssh.Request) (ok bool, payload []byte) {
	switch r.Type {
	case relay.EndOfDataRequest:
		c.endOfData.Store(true)
		return true, nil
	case "no-more-sessions@openssh.com":
		c.noMore.Store(true)
		return true, nil
	case "tcpip-forward", ftpForward:
		_ = c.asking.Wait(c.ctx)
		return c.listen(r)
	case "cancel-tcpip-forward":
		return c.cancelListen(r), nil
	case "streamlocal-forward@openssh.com":
		_ = c.asking.Wait(c.ctx)
		c.refuseStreamlocalForward(r)
	}
	return false, nil // keepalive@openssh.com is answered by any answer
}

// nextRequest numbers what the client asks for. The number is what the client is told and
// what finds the audit line.
func (c *Conn) nextRequest() string {
	return fmt.Sprintf("%s-%d", c.cfg.ID.ID, c.requests.Add(1))
}

// record writes events, all or none, and reports whether they are on record. What can't be recorded must not
// go on, so otherwise the connection is closed.
func (c *Conn) record(events ...audit.Event) bool {
	err := c.cfg.Audit.Write(events...)
	if err != nil {
		c.cfg.Log.Error("connection closed: its audit event can't be written", "event", events[len(events)-1].EventName(), "err", err)
		c.end(errNoRecord)
	}
	return err == nil
}

// end ends the connection.
func (c *Conn) end(reason error) {
	if c.cfg.End != nil {
		c.cfg.End(reason)
		return
	}
	_ = c.cfg.SSH.Close() // its error says that it is closed
}

// refusal is why a channel is not opened: what the client sees, and what only the log does.
type refusal struct {
	code    ssh.RejectionReason
	text    string // for the client, chosen here
	request string
	target  string
	rule    string
	reason  string
	before  []audit.Event // to be put on record with it
}

func (c *Conn) refuse(nc ssh.NewChannel, r refusal) {
	if r.request == "" {
		r.request = c.nextRequest()
	}
	kind := bounded(nc.ChannelType())
	c.record(append(r.before, audit.ChannelRefused{
		Conn: c.cfg.ID, Request: r.request, Type: kind, Target: r.target, Rule: r.rule, Reason: r.reason,
	})...)
	c.cfg.Log.Info("channel refused", "request", r.request, "type", kind, "target", r.target,
		"rule", r.rule, "reason", r.reason)
	_ = nc.Reject(r.code, r.text+" (request "+r.request+")") // fails only on a dead connection
}

// accept turns nc into a stream. It returns nil if the connection is gone.
func (c *Conn) accept(nc ssh.NewChannel) *primary {
	// The snapshot is right: a client asks for EndOfDataRequest before its first channel or, for that
	// channel, not at all.
	endOfData := c.endOfData.Load()
	ch, reqs, err := nc.Accept()
	if err != nil {
		return nil
	}
	return c.wrap(ch, reqs, endOfData)
}

func (c *Conn) wrap(ch ssh.Channel, reqs <-chan *ssh.Request, endOfData bool) *primary {
	return c.newPrimary(ch, reqs, relay.ChannelConfig{Wire: c.cfg.Wire, EndOfData: endOfData, Alive: c.alive})
}

// alive makes a round trip to the client. One that takes longer than aliveTimeout is its last.
func (c *Conn) alive() error {
	late := time.AfterFunc(aliveTimeout, func() {
		c.cfg.Log.Warn("connection closed: the client doesn't answer", "timeout", aliveTimeout)
		c.end(errSilent)
	})
	defer late.Stop()
	_, _, err := c.cfg.SSH.SendRequest("keepalive@openssh.com", true, nil)
	if err != nil {
		return fmt.Errorf("ask the SSH client for a sign of life: %w", err)
	}
	return nil
}

// slots count what is in use of something that is limited.
type slots struct {
	max  int64
	used atomic.Int64
}

// take reports whether there was a slot left. The taker must give it back.
func (s *slots) take() bool {
	if s.used.Add(1) > s.max {
		s.used.Add(-1)
		return false
	}
	return true
}

func (s *slots) give() { s.used.Add(-1) }
