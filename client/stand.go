package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/culvert-ssh/culvert/login"
)

// Standing is the forwards of one Config that stand by themselves: their local ports are open all the time, and the SSH connection is there
// when somebody uses one.
type Standing struct {
	cfg       *Config
	link      *link
	logins    *logins // in its place, if each FTP login has an SSH connection of its own
	listeners []*listener
	leftOut   []ForwardStatus // what could not be listened for

	remotes []*standingRemote

	sessions sync.WaitGroup // all that goes over the link
	cut      context.CancelFunc
	keeping  sync.WaitGroup // the link itself
	letGo    context.CancelFunc
}

// Stand opens the local ports of cfg. A port that can't be opened is logged and left out, as its status says, unless
// ExitOnForwardFailure is set. The SSH connection is made when a connection comes, or at once if there are remote forwards. The caller must
// call Close.
func Stand(cfg *Config) (*Standing, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	ctx, cut := context.WithCancel(context.Background())
	listeners, leftOut, err := listenAll(ctx, cfg)
	if err == nil && len(listeners)+len(cfg.RemoteForwards) == 0 {
		err = errNoForward
	}
	if err != nil {
		cut()
		return nil, err
	}
	s := &Standing{cfg: cfg, listeners: listeners, leftOut: leftOut, cut: cut}
	for _, f := range cfg.RemoteForwards {
		s.remotes = append(s.remotes, &standingRemote{Forward: f})
	}
	s.link = newLink(linkConfig{
		name:    cfg.Dialled(),
		connect: func(ctx context.Context) (uplink, error) { return connectUplink(ctx, cfg) },
		passing: func(err error) bool { return errors.Is(err, login.ErrUnreachable) },
		arrived: s.serveRemotes,
		always:  len(cfg.RemoteForwards) > 0,
		idle:    cfg.IdleTimeout, patience: cfg.QueueTimeout,
		log: cfg.Logger(),
	}, rand.Float64)
	kept, letGo := context.WithCancel(context.Background())
	s.letGo = letGo
	s.keeping.Go(func() { s.link.run(kept) })
	if cfg.LoginForSSH.any() {
		s.logins = newLogins(cfg)
		serveAll(ctx, cfg, listeners, s.logins, &s.sessions)
	} else {
		serveAll(ctx, cfg, listeners, s.link, &s.sessions)
	}
	return s, nil
}

// Login makes the SSH connection now, if there is none, and returns why it can't be made. Connections that come with FTP logins
// are not made beforehand.
func (s *Standing) Login(ctx context.Context) error {
	if s.logins != nil {
		return nil
	}
	return s.link.login(ctx)
}

// Close ends everything, and returns when it has ended: FTP clients are told so, what is being carried is reset.
func (s *Standing) Close() {
	s.cut()
	// What is reset waits for the bastion to confirm it, and a silent one wouldn't.
	late := time.AfterFunc(partingTimeout, func() {
		s.letGo()
		if s.logins != nil {
			s.logins.end()
		}
	})
	s.sessions.Wait()
	late.Stop()
	s.letGo()
	if s.logins != nil {
		s.logins.close()
	}
	s.keeping.Wait()
}

// standingRemote is a remote forward, which the bastion is asked for anew whenever there is an SSH connection.
type standingRemote struct {
	Forward
	mu     sync.Mutex
	ready  string // what a person needs to use it; empty if it can't be used
	failed error  // why it can't
}

// remoteRetry is how long a refusal to listen counts. A bastion may take as long to notice that the connection before this one has broken,
// and its port is used until then.
const remoteRetry = 15 * time.Second

// serveRemotes has the bastion listen for all remote forwards, and asks again where it refuses. It returns when ctx is done.
func (s *Standing) serveRemotes(ctx context.Context, up uplink) {
	left := slices.Clone(s.remotes)
	for len(left) > 0 {
		left = slices.DeleteFunc(left, func(r *standingRemote) bool { return r.listen(ctx, s.cfg, up) })
		select {
		case <-ctx.Done():
		case <-up.Done():
			<-ctx.Done()
		case <-time.After(remoteRetry):
			continue
		}
		break
	}
	<-ctx.Done()
	for _, r := range s.remotes {
		r.set("", nil)
	}
}

// listen reports whether the bastion listens.
func (r *standingRemote) listen(ctx context.Context, cfg *Config, up uplink) bool {
	ready, err := up.Remote(ctx, cfg, r.Forward)
	if ctx.Err() != nil {
		return false
	}
	r.set(ready, err)
	if err != nil {
		cfg.Logger().Error("a forward is not there, and will be asked for again", "err", err, "in", remoteRetry)
		return false
	}
	cfg.Tell(ready)
	return true
}

func (r *standingRemote) set(ready string, failed error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ready, r.failed = ready, failed
}

// errNoForward is the error of a Config of which nothing is left to be served.
var errNoForward = errors.New("no forward could be set up")

// readyLines are what a person needs to use the listeners.
func readyLines(listeners []*listener, cfg *Config) (lines []string) {
	for _, l := range listeners {
		if l.first && !l.Private {
			lines = append(lines, l.ready(l.Addr(), cfg.Network))
		}
	}
	return lines
}
