package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	gliderssh "github.com/gliderlabs/ssh"
	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/audit"
	"github.com/culvert-ssh/culvert/auth"
	"github.com/culvert-ssh/culvert/channels"
	"github.com/culvert-ssh/culvert/policy"
	"github.com/culvert-ssh/culvert/relay"
)

// Why the server ends a connection. The client that ends one itself is the usual case.
var (
	errShutdown  = errors.New("the server shuts down")
	errKilled    = errors.New("ended by the administrator")
	errPutOut    = errors.New("put out for a newcomer (MaxStartups)")
	errGrace     = errors.New("not authenticated within LoginGraceTime")
	errSilent    = errors.New("the client didn't answer (ClientAliveCountMax)")
	errNoRecord  = errors.New("an audit event can't be written")
	errInternal  = errors.New("internal error")
	errUnserved  = errors.New("its channels can't be served")
	errNoSubject = errors.New("not authenticated")
	errBroken    = errors.New("the client broke the protocol")
)

// connection is one SSH connection. Its owner is the goroutine that runs own; the
// handshake, and with it the authentication, runs there too.
type connection struct {
	s      *Server
	id     audit.Conn // its User is written by the owner, after authentication
	local  netip.AddrPort
	proxy  netip.AddrPort // that named the client, if one did
	opened time.Time
	log    *slog.Logger

	ctx    context.Context // ends with the connection; its cause is why, if the server ended it
	cancel context.CancelCauseFunc
	live   *live         // as it was when the connection came
	socket *relay.Socket // nil if there is no TCP connection
	heard  *hearing
	wire   *relay.Wire

	greeting *greeting
	software string // the client's identification
	key      string // fingerprint of the key that the client has proven, the last one of several

	place  *place // among those that are not authenticated
	tries  tries
	grace  *time.Timer
	client *auth.Client
	auth   ssh.ServerPreAuthConn // while the client is authenticated
	login  *login                // nil until it is

	isAside bool                  // it has said that it is to be a side connection
	beside  *sides                // those that it is one of, once it is authenticated
	carried *channels.Side        // nil until start
	sides   atomic.Pointer[sides] // its own; nil if it hasn't asked for any

	changes   uint64                         // Server.changes before the client could say anything
	subject   atomic.Pointer[policy.Subject] // nil before authentication; with the groups as the last recheck found them
	rechecked sync.Mutex                     // held during one, so that what is found first doesn't come last

	// What gliderlabs/ssh told the owner.
	sshCtx gliderssh.Context
	failed error

	handlers gate
	helpers  sync.WaitGroup // keepalive
	start    sync.Once
	unused   *time.Timer
	channels atomic.Pointer[channels.Conn] // nil until start, and if it failed
	proofs   int                           // that the client has asked for
	sideAsks int                           // how often it has asked for side connections
}

func newConnection(s *Server, a arrival) *connection {
	c := &connection{
		s:      s,
		id:     audit.Conn{ID: strconv.FormatUint(s.lastID.Add(1), 10), Client: a.client},
		local:  a.local,
		proxy:  a.proxy,
		opened: a.since,
		live:   a.live,
		place:  a.place,
		socket: a.socket,

		changes: s.changes.Load(),
	}
	c.log = s.cfg.Log.With("conn", c.id.ID, "client", a.client)
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	c.heard = &hearing{Conn: a.Conn, slow: newUnknown(), now: s.cfg.Now, since: c.opened, all: &s.traffic}
	c.greeting = &greeting{Conn: c.heard, ours: s.version + c.live.addendum()}
	c.wire = relay.NewWire(c.greeting)
	c.wire.Over(c.socket)
	c.client = s.cfg.Auth.Client(c.ctx, a.client, a.local, c.attempted)
	s.startups.occupy(c.place, func() { c.end(errPutOut) })
	return c
}

// end closes the connection, for the first reason that is given. It may be called from any goroutine.
func (c *connection) end(reason error) {
	c.cancel(reason)
	_ = c.wire.Close() // it counts as lost, whatever close(2) says
	c.endSides()
}

// shutdown tells whoever sees a session, and ends the connection.
func (c *connection) shutdown() {
	defer c.end(errShutdown)
	defer c.recovered("farewell")
	if channels := c.channels.Load(); channels != nil {
		channels.Tell("culvertd: the server shuts down")
	}
}

// own makes the handshake, serves the connection until it ends, and cleans up after it.
func (c *connection) own() {
	defer c.s.forget(c)
	defer func() { // if finish panics
		c.s.startups.leave(c.place)
		c.s.logins.leave(c.login)
		c.leaveSide()
	}()
	defer c.recovered("end")
	defer c.finish()
	defer c.recovered("connection")
	if !c.record(audit.ConnectionOpened{Conn: c.id, Local: c.local, Proxy: c.proxy}) {
		return
	}
	c.log.Debug("connection opened", "local", c.local, "proxy", c.proxy)
	if grace := c.live.LoginGraceTime; grace > 0 {
		// A deadline on the connection would be wiped by gliderlabs/ssh.
		rest := grace - c.s.cfg.Now().Sub(c.opened) // a proxy may have taken its time
		c.grace = time.AfterFunc(rest, func() { c.end(errGrace) })
	}
	if c.software, c.failed = c.greeting.exchange(); c.failed == nil {
		c.isAside = comesAside(c.software)
		c.handler().HandleConn(c.wire)
	}
}

// finish waits for everything that the connection has started.
func (c *connection) finish() {
	c.penalise()
	reason := c.reason()
	c.end(reason)
	if c.unused != nil {
		c.unused.Stop()
	}
	if c.grace != nil {
		c.grace.Stop()
	}
	c.s.startups.leave(c.place)
	c.handlers.shut()
	c.start.Do(func() {}) // it has happened now, or never will
	if channels := c.channels.Load(); channels != nil {
		channels.Close()
	}
	c.handlers.wait()
	c.helpers.Wait()
	c.s.logins.leave(c.login)
	c.leaveSide()
	seconds := c.s.cfg.Now().Sub(c.opened).Seconds()
	closed := audit.ConnectionClosed{Conn: c.id, Seconds: seconds, Reason: reason.Error()}
	if revoked, ok := errors.AsType[*revokedError](reason); ok {
		closed.Rule = revoked.rule
	} else if !c.known() {
		closed.Rule = c.tries.rule
	}
	c.record(closed)
	c.log.Info("connection closed", "user", c.id.User, "reason", reason.Error())
}

// reason is why the connection has ended, once HandleConn has returned.
func (c *connection) reason() error {
	var refused *ssh.ServerAuthError
	switch cause := context.Cause(c.ctx); {
	case cause != nil:
		return cause
	case errors.As(c.failed, &refused) && len(refused.Errors) > 0:
		return fmt.Errorf("not authenticated: %.200s", refused.Errors[len(refused.Errors)-1])
	case c.failed != nil:
		return fmt.Errorf("handshake failed: %.200s", c.failed)
	}
	conn := c.serverConn()
	if conn == nil {
		return errInternal
	}
	switch err := ended(conn); {
	case err == nil, err == io.EOF:
		return errors.New("closed by the client")
	case errors.Is(err, net.ErrClosed):
		return errors.New("closed by the server, its log says why") // by package channels
	default:
		return fmt.Errorf("%.200s", err) // bounded: a disconnect has a text of the client's
	}
}

// waitTime is how long x/crypto/ssh may take to say why a connection has ended.
const waitTime = 5 * time.Second

// ended returns why conn has ended. x/crypto/ssh (v0.58.0) never says it of a client that broke the protocol and had
// sent more than 16 packets after that: two of its goroutines then wait for each other for good. The rest of
// the connection must end all the same.
func ended(conn ssh.Conn) error {
	why := make(chan error, 1)
	go func() { why <- conn.Wait() }()
	select {
	case err := <-why:
		return err
	case <-time.After(waitTime):
		return errBroken
	}
}

// known reports whether the client is authenticated.
func (c *connection) known() bool { return c.heard.known.Load() }

// serverConn is the connection after the handshake, nil before.
func (c *connection) serverConn() *ssh.ServerConn {
	if c.sshCtx == nil {
		return nil
	}
	conn, _ := c.sshCtx.Value(gliderssh.ContextKeyConn).(*ssh.ServerConn)
	return conn
}

// serve returns the channels of the connection, which it makes the first time. It returns nil if that
// failed, and the connection then ends.
func (c *connection) serve(conn *ssh.ServerConn) *channels.Conn {
	c.start.Do(func() {
		subject, err := auth.SubjectOf(conn)
		if err != nil {
			c.log.Error("connection closed: nobody is known to be authenticated", "err", err)
			c.end(errNoSubject)
			return
		}
		settings := c.s.cfg.Settings(subject)
		id := audit.Conn{ID: c.id.ID, Client: c.id.Client, User: subject.User}
		served, err := channels.New(channels.Config{
			SSH: conn, Wire: c.wire, Subject: func() policy.Subject { return *c.subject.Load() },
			Decide: c.s.cfg.Decide, Permitted: c.s.cfg.Permitted(subject),
			Budget: c.s.budget, Audit: c.s.cfg.Audit, ID: id, Log: c.log.With("user", subject.User), Now: c.s.cfg.Now,
			MaxChannels: settings.MaxChannels, MaxSessions: settings.MaxSessions, ConnectTimeout: settings.ConnectTimeout,
			Sessions: func() channels.Sessions {
				settings := c.s.cfg.Settings(*c.subject.Load())
				return settings.sessions(subject.User)
			},
			ChannelTimeouts: settings.ChannelTimeouts, UnusedConnectionTimeout: settings.UnusedConnectionTimeout,
			Authorities: c.s.cfg.Authorities, Line: settings.line, End: c.end, Panicked: c.panicked,
		})
		if err != nil {
			c.log.Error("connection closed: its channels can't be served", "err", err)
			c.end(errUnserved)
			return
		}
		c.channels.Store(served)
	})
	return c.channels.Load()
}

// attempted puts an attempt to authenticate on record. It is called by the owner.
func (c *connection) attempted(a auth.Attempt) error {
	if a.Accepted {
		if err := c.enter(*a.Subject); err != nil {
			return err // and auth comes again, with a refusal
		}
	}
	if !c.record(c.authentication(a)) {
		return errNoRecord
	}
	attrs := []any{"user", a.User, "method", a.Method, "key", a.Key, "rule", cmp.Or(a.Rule, a.KeyLine)}
	switch {
	case a.Partial:
		c.log.Info("authenticated in part", attrs...)
		return nil
	case !a.Accepted:
		c.log.Info("authentication refused", append(attrs, "reason", a.Reason)...)
		return nil
	}
	c.log.Info("authenticated", attrs...)
	settings := c.s.cfg.Settings(c.client.Claimed(a.User))
	if err := c.letIn(a.User, a.Key, &settings); err != nil {
		return err
	}
	c.subject.Store(a.Subject)
	if c.s.changes.Load() != c.changes { // and who knows by which rules it came here
		c.helpers.Go(c.recheck)
	}
	if after := settings.UnusedConnectionTimeout; after > 0 {
		c.unused = time.AfterFunc(after, c.endUnasked)
	}
	return nil
}

// letIn has the connection be one that is authenticated. It is called by the owner.
func (c *connection) letIn(user, key string, settings *Settings) error {
	c.id.User, c.key = user, key
	if c.grace != nil && !c.grace.Stop() {
		return errGrace // it is over, and the connection is being closed
	}
	c.s.startups.leave(c.place)
	c.heard.known.Store(true)
	if settings.ClientAliveInterval > 0 {
		c.helpers.Go(func() {
			defer c.recovered("keepalive")
			c.keepAlive(settings.ClientAliveInterval, settings.ClientAliveCountMax)
		})
	}
	return nil
}

// endUnasked ends a connection that has asked for nothing yet; after that, package channels sees to it.
func (c *connection) endUnasked() {
	if c.channels.Load() == nil {
		c.end(channels.ErrUnused)
	}
}

// authentication is the event of an attempt.
func (c *connection) authentication(a auth.Attempt) audit.Authentication {
	id := c.id
	id.User = a.User
	e := audit.Authentication{Conn: id, Method: a.Method, Key: a.Key, Rule: cmp.Or(a.Rule, a.KeyLine), Result: "refused", Reason: a.Reason}
	switch {
	case a.Accepted:
		e.Result = "accepted"
	case a.Partial:
		e.Result = "partial"
	}
	if cert := a.Certificate; cert != nil {
		e.Certificate, e.Serial, e.CA = cert.ID, strconv.FormatUint(cert.Serial, 10), cert.Authority
	}
	return e
}

// record writes an audit event. What can't be put on record must not go on, so the connection
// ends if that fails.
func (c *connection) record(e audit.Event) bool {
	err := c.s.cfg.Audit.Write(e)
	if err != nil {
		c.log.Error("connection closed: its audit event can't be written", "event", e.EventName(), "err", err)
		c.end(errNoRecord)
	}
	return err == nil
}

// recovered must be deferred around whatever runs on behalf of the connection. A panic ends
// the connection and nothing else.
func (c *connection) recovered(where string) {
	if p := recover(); p != nil {
		c.panicked(where, p)
	}
}

func (c *connection) panicked(where string, p any) {
	c.s.panics.Add(1)
	c.log.Error("panic; connection closed", "where", where, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	c.end(errInternal)
}
