package client

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"github.com/culvert-ssh/culvert/control"
	"github.com/culvert-ssh/culvert/redirect"
	"github.com/culvert-ssh/culvert/relay"
)

// serveRedirected carries one connection that the packet filter has sent here: a control connection, or the data connection that is announced on
// one, by a port of those that the rules have redirected.
func (s *serving) serveRedirected(ctx context.Context, conn *net.TCPConn) {
	local, from := relay.NewTCP(conn), relay.AddrPort(conn.RemoteAddr())
	log := s.cfg.Logger().With("from", from)
	to, err := redirect.Original(conn)
	if err != nil {
		refused(ctx, log, err)
		part(local, goodbye(err))
		return
	}
	log = log.With("target", to)
	accepts := func(o control.Owner) error { return o.AcceptsFrom(from, to) }
	if d := s.names.claim(to.Addr().String(), to.Port(), from, accepts); d != nil {
		d.hand(handed{local: local})
		return
	}
	if redirect.DataPort(to.Port()) {
		local.Abort()
		log.Warn("a connection was reset: no data connection is announced there")
		return
	}
	answered, err := s.greeting.await(to)
	if err != nil {
		refused(ctx, log, err)
		part(local, goodbye(err))
		return
	}
	defer answered()
	f := Forward{Kind: FTP, Host: to.Addr().String(), HostPort: to.Port()}
	client := ftpClient{conn: conn, local: local, asked: to}
	one, end, err := s.admit(ctx, f, &client, log)
	if err != nil {
		return
	}
	defer end()
	x, err := one.newFTPSession(f, client, log)
	if err != nil {
		return
	}
	server, err := x.connect(ctx)
	if err != nil {
		part(local, client.refusal(err))
		return
	}
	x.names = one.names.session(f.Host, x.hop)
	x.run(ctx, &answering{server, answered})
}

// goodbye is what an FTP client is told that waits for a greeting.
func goodbye(why error) []byte { return ftpClient{}.refusal(why) }

// maxUnanswered is how many control connections to one server may wait for its greeting. Where a bastion's own connection to the server is
// redirected here as well, each of them makes another.
const maxUnanswered = 64

// unanswered counts the control connections on which the server has said nothing yet.
type unanswered struct {
	mu sync.Mutex
	to map[netip.AddrPort]int
}

// await counts one. The caller must call answered when the server says something, or ends; it may do so more than once.
func (u *unanswered) await(server netip.AddrPort) (answered func(), err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.to == nil {
		u.to = make(map[netip.AddrPort]int)
	}
	if u.to[server] >= maxUnanswered {
		return nil, fmt.Errorf("%d connections wait for %s to say something: if the bastion runs on this machine, its own connections must not be redirected to culvert (culvert redirect print --user)",
			maxUnanswered, server)
	}
	u.to[server]++
	return sync.OnceFunc(func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		if u.to[server]--; u.to[server] == 0 {
			delete(u.to, server)
		}
	}), nil
}

// answering is a stream that tells of the first that it says.
type answering struct {
	relay.Stream
	answered func()
}

func (a *answering) Read(p []byte) (int, error) {
	n, err := a.Stream.Read(p)
	a.answered()
	return n, err
}
