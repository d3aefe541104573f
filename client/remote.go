package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync/atomic"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/relay"
)

// remote is one -R: a port of the bastion whose connections are carried to a host that is reached from here.
type remote struct {
	Forward
	ctx     context.Context // of what is carried
	cfg     *Config
	bastion remoteEnd
	at      place // where the bastion listens; for ready

	inexact atomic.Bool // it refuses to listen for FTP data at exactly the address that is announced
	room    chan struct{}
	log     *slog.Logger
}

// asked is the place that the bastion is asked for, by the words of RFC 4254, section 7.1, as ssh(1) does.
func (f Forward) asked() place {
	switch f.Bind {
	case "":
		return place{"localhost", f.Port}
	case "*":
		return place{"", f.Port}
	}
	return place{f.Bind, f.Port}
}

// remoteEnd is what remote forwards need of an uplink.
type remoteEnd interface {
	Transport

	// listen asks the bastion to listen at a place, by a request that is tcpip-forward or has its form, and has the connections that come
	// there served. If the port is 0, the bastion chooses one; the place with the port is returned. The caller must call unlisten.
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
		room: make(chan struct{}, maxSessions), log: cfg.Logger().With("target", f.Target()),
	}
	if err := r.listen(); err != nil {
		return "", err
	}
	return r.ready(), nil
}

func (r *remote) listen() (err error) {
	asked, request, word := r.asked(), "tcpip-forward", ""
	if r.toCulvertd() {
		request, word = requestFTP, "ftp/"
	}
	r.at, err = r.bastion.listen(r.ctx, request, asked, r.serve)
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
	if !r.Kind.ftp() {
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
		r.log.Error("a connection was refused: there are too many at once", "most", maxSessions)
		return
	}
	if r.Kind.ftp() {
		r.serveFTP(a)
	} else {
		r.servePlain(a)
	}
}

func (r *remote) servePlain(a *arrival) {
	r.log.Debug("connection accepted by the bastion", "from", a.origin)
	local, err := r.dial(netip.Addr{}, r.Target())
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
	var count relay.Counters
	err = relay.Join(r.ctx, channel, local, &count)
	logEnd(r.ctx, r.log, "connection", err, &count)
}

// dial connects to an address that is reached from here, from a local address if that is valid.
func (r *remote) dial(from netip.Addr, to string) (*relay.TCP, error) {
	return relay.Dial(r.ctx, from, to, r.cfg.ConnectTimeout)
}
