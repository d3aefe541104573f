package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/activity"
	"github.com/culvert-ssh/culvert/relay"
	"github.com/culvert-ssh/culvert/socks"
)

// requestSocket is the global request for a Unix socket (OpenSSH's PROTOCOL, section 2.4).
const requestSocket = "streamlocal-forward@openssh.com"

// maxArrivals bounds the connections that come to one remote forward and are served at once: they are the bastion's to make.
const maxArrivals = 1024

var errNotPermitted = errors.New("PermitRemoteOpen doesn't permit it")

// remote is one -R: a port or a socket of the bastion whose connections are carried to a host or a socket that is reached from here, or to
// where each says itself that it wants to go (SOCKS).
type remote struct {
	Forward
	ctx     context.Context // of what is carried
	cfg     *Config
	bastion remoteEnd
	at      place // where the bastion listens; for ready
	meter   *activity.TunnelMeter

	inexact atomic.Bool // it refuses to listen for FTP data at exactly the address that is announced
	room    chan struct{}
	log     *slog.Logger
}

// asked is the place that the bastion is asked for, by the words of RFC 4254, section 7.1, as ssh(1) does.
func (f Forward) asked() place {
	switch {
	case f.Socket != "":
		return place{socket: f.Socket}
	case f.Bind == "":
		return place{host: "localhost", port: f.Port}
	case f.Bind == "*":
		return place{port: f.Port}
	}
	return place{host: f.Bind, port: f.Port}
}

// remoteEnd is what remote forwards need of an uplink.
type remoteEnd interface {
	Transport

	// listen asks the bastion to listen at a place, by a request that is tcpip-forward or has its form, and has the connections that come
	// there served; or by streamlocal-forward@openssh.com, if it is a socket. If the port is 0, the bastion chooses one; the place with the port is returned. The caller must call unlisten.
	listen(ctx context.Context, request string, at place, serve func(*arrival)) (place, error)
	// unlisten ends a listen. Connections that were taken go on.
	unlisten(at place)

	// expect is listen where a bastion that reads FTP does so by itself: see [incoming.expect].
	expect(at place, serve func(*arrival)) (place, error)
	// forget ends an expect.
	forget(at place)

	// flushed returns when all that was written so far has come to the bastion; or an error if that can't be known.
	flushed() error
}

// Remote is [uplink.Remote].
func (c *connection) Remote(ctx context.Context, cfg *Config, f Forward) (ready string, err error) {
	return remoteForward(ctx, cfg, c, f)
}

func remoteForward(ctx context.Context, cfg *Config, bastion remoteEnd, f Forward) (ready string, err error) {
	r := &remote{
		Forward: f, ctx: ctx, cfg: cfg, bastion: bastion,
		room: make(chan struct{}, maxArrivals), log: cfg.Logger().With("target", f.Target()),
	}
	shown := activity.Tunnel{Link: cfg.LinkName, Kind: activity.Remote, FTP: f.Kind.ftp(), Listen: r.asked().String(), Target: f.Target()}
	if f.Kind == SOCKS {
		shown.Target = ""
	}
	r.meter = cfg.Activity.Tunnel(shown)
	if err := r.listen(); err != nil {
		r.meter.Close()
		return "", err
	}
	r.meter.ListensAt(r.at.String())
	context.AfterFunc(ctx, r.meter.Close)
	return r.ready(), nil
}

func (r *remote) listen() (err error) {
	asked, request, word := r.asked(), "tcpip-forward", ""
	switch {
	case r.toCulvertd():
		request, word = requestFTP, "ftp/"
	case r.Socket != "":
		request = requestSocket
	}
	r.at, err = r.bastion.listen(r.ctx, request, asked, r.serve)
	if errors.Is(err, errNoListening) && r.Socket != "" {
		return fmt.Errorf("listen on %s of the bastion for %s: refused: choose another name, if there is something by that one, or ask its administrator for AllowStreamLocalForwarding, which only sshd has",
			asked, r.Target())
	}
	if errors.Is(err, errNoListening) {
		return fmt.Errorf("listen on %s of the bastion for %s: refused: choose another port, if it is used there or below 1024, or ask its administrator for PermitListen %s%d",
			asked, r.Target(), word, asked.port)
	}
	if err != nil {
		return fmt.Errorf("listen on %s of the bastion for %s: %w", asked, r.Target(), err)
	}
	return nil
}

// ready is what a person needs to use the forward.
func (r *remote) ready() string {
	switch {
	case r.Kind == SOCKS:
		return fmt.Sprintf("SOCKS is at %s of %s, try there: curl --socks5-hostname %s http://HOST/", r.at, r.cfg.Dialled(), place{host: r.at.typed(), port: r.at.port})
	case !r.Kind.ftp():
		return fmt.Sprintf("%s is at %s of %s", r.Target(), r.at, r.cfg.Dialled())
	}
	return fmt.Sprintf("FTP to %s is at %s of %s, try there: lftp -p %d %s", r.Target(), r.at, r.cfg.Dialled(), r.at.port, r.at.typed())
}

// serve carries one connection. Failure is a reset as far as the bastion passes it on, never an end of data.
func (r *remote) serve(a *arrival) {
	select {
	case r.room <- struct{}{}:
		defer func() { <-r.room }()
	default:
		a.refuse(ssh.ResourceShortage, "too many connections at once")
		r.log.Error("a connection was refused: there are too many at once", "most", maxArrivals)
		return
	}
	switch {
	case r.Kind.ftp():
		r.serveFTP(a)
	case r.Kind == SOCKS:
		r.serveSOCKS(a)
	default:
		r.servePlain(a)
	}
}

func (r *remote) servePlain(a *arrival) {
	r.log.Debug("connection accepted by the bastion", "from", a.origin)
	local, err := r.reach()
	if err != nil {
		a.refuse(ssh.ConnectionFailed, "connect failed")
		if r.ctx.Err() == nil {
			r.log.Error("a connection was refused", "err", err)
		}
		return
	}
	channel, err := a.accept()
	if err != nil {
		local.Abort()
		return
	}
	carry(r.ctx, r.meter.Connection(activity.Connection{From: a.shownFrom()}), channel, local, r.log)
}

// serveSOCKS carries one connection that says itself where it goes.
func (r *remote) serveSOCKS(a *arrival) {
	log := r.cfg.Logger().With("from", a.origin)
	channel, err := a.accept()
	if err != nil {
		return
	}
	req, err := agree(r.ctx, channel)
	if err != nil {
		refused(r.ctx, log, err)
		return
	}
	to := Forward{Host: req.Host, HostPort: req.Port}
	log = log.With("target", to.Target())
	log.Debug("connection accepted by the bastion")
	local, err := r.dialPermitted(req)
	if err != nil {
		refused(r.ctx, log, err)
		part(channel, req.Reply(outcome(err)))
		return
	}
	if err := grant(channel, req, local); err != nil {
		refused(r.ctx, log, err)
		return
	}
	carry(r.ctx, r.meter.Connection(activity.Connection{From: a.shownFrom(), Target: to.Target()}), channel, local, log)
}

// dialPermitted connects to where a SOCKS client wants to go.
func (r *remote) dialPermitted(req socks.Request) (*relay.TCP, error) {
	if !slices.ContainsFunc(r.cfg.PermitRemoteOpen, func(o Opening) bool { return o.permits(req.Host, req.Port) }) {
		return nil, errNotPermitted
	}
	return r.dial(netip.Addr{}, Forward{Host: req.Host, HostPort: req.Port}.Target())
}

// reach connects to where the forward goes.
func (r *remote) reach() (relay.Stream, error) {
	if r.HostSocket == "" {
		return r.dial(netip.Addr{}, r.Target())
	}
	d := net.Dialer{Timeout: r.cfg.ConnectTimeout}
	conn, err := d.DialContext(r.ctx, "unix", r.HostSocket)
	if err != nil {
		return nil, err // says what was dialled
	}
	return newStream(conn), nil
}

// dial connects to an address that is reached from here, from a local address if that is valid.
func (r *remote) dial(from netip.Addr, to string) (*relay.TCP, error) {
	return relay.Dial(r.ctx, from, to, r.cfg.ConnectTimeout)
}
