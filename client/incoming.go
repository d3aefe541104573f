package client

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/relay"
	"github.com/culvert-ssh/culvert/sshconfig"
)

// maxEarly bounds the connections that the bastion offers before it has said which port it has chosen.
const maxEarly = 64

// forwardedTCPIP is the extra data of a "forwarded-tcpip" channel open (RFC 4254, section 7.2).
type forwardedTCPIP struct {
	Host       string
	Port       uint32
	Origin     string
	OriginPort uint32
}

// forwardedStreamlocal is the extra data of a "forwarded-streamlocal@openssh.com" channel open (OpenSSH's PROTOCOL, section 2.4).
type forwardedStreamlocal struct {
	Path     string
	Reserved string
}

// arrival is a connection that the bastion has accepted. Whoever serves it accepts or refuses it.
type arrival struct {
	offer
	at     place
	origin netip.AddrPort // whose connection it is, as the bastion says; not valid if it says no address
}

// shownFrom is who has connected, as far as that is known.
func (a *arrival) shownFrom() string {
	if !a.origin.IsValid() {
		return ""
	}
	return a.origin.String()
}

// offer is what can be done about an arrival.
type offer interface {
	// accept takes the connection. The caller owns the stream.
	accept() (relay.Stream, error)
	// refuse has the bastion end it.
	refuse(reason ssh.RejectionReason, text string)
}

// channelOffer is a channel that the bastion wants to open.
type channelOffer struct {
	ssh.NewChannel
	made maker
}

func (o channelOffer) accept() (relay.Stream, error) {
	ch, reqs, err := o.Accept()
	if err != nil {
		return nil, fmt.Errorf("accept a channel: %w", err)
	}
	return o.made(ch, reqs), nil
}

// refuse fails only on a dying connection.
func (o channelOffer) refuse(reason ssh.RejectionReason, text string) { _ = o.Reject(reason, text) }

// incoming is what the bastion may offer connections for. Everything else is refused.
type incoming struct {
	mu     sync.Mutex
	closed bool
	serve  map[place]func(*arrival)
	asking map[string]*asking // by host: the bastion is to choose a port
	early  int                // arrivals that wait for one of asking
	wg     sync.WaitGroup     // of those that are served
}

// asking are the requests for a port of the bastion's choice on one host. The first connection to it may be offered before the answer
// is read.
type asking struct {
	count   int
	settled chan struct{} // closed when one of them has its answer
}

// put has the connections that come to at served. It reports false if somebody else's do.
func (t *incoming) put(at place, serve func(*arrival)) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, taken := t.serve[at]; taken || t.closed {
		return false
	}
	if t.serve == nil {
		t.serve = make(map[place]func(*arrival))
	}
	t.serve[at] = serve
	return true
}

// expectTries is how many ports are tried in the place of one that is taken.
const expectTries = 1000

// expect is [remoteEnd.expect].
func (c *connection) expect(at place, serve func(*arrival)) (place, error) {
	return c.incoming.expect(at, serve)
}

// forget is [remoteEnd.forget].
func (c *connection) forget(at place) { c.incoming.remove(at) }

// expect is put for a connection that nobody was asked to listen for, but that a bastion which reads FTP names by a port of ours. If at is
// taken, as two FTP servers may announce the same port, it is the next place that isn't.
func (t *incoming) expect(at place, serve func(*arrival)) (place, error) {
	for range expectTries {
		if t.put(at, serve) {
			return at, nil
		}
		if at.port++; at.port < 1024 {
			at.port = 1024
		}
	}
	return place{}, fmt.Errorf("no port from %d on is free to name a data connection by", at.port)
}

// remove has connections that come to at refused. Those that were taken go on.
func (t *incoming) remove(at place) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.serve, at)
}

// ask says that a port of host is asked for. The caller must call settle once the answer is here, and has been put.
func (t *incoming) ask(host string) (settle func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.asking == nil {
		t.asking = make(map[string]*asking)
	}
	a := t.asking[host]
	if a == nil {
		a = &asking{settled: make(chan struct{})}
		t.asking[host] = a
	}
	a.count++
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		close(a.settled)
		a.settled = make(chan struct{})
		if a.count--; a.count == 0 {
			delete(t.asking, host)
		}
	}
}

// find returns who serves at; or nil, and what to wait for if that may change.
func (t *incoming) find(at place) (serve func(*arrival), settled <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, nil
	}
	if serve = t.serve[at]; serve != nil {
		return serve, nil
	}
	if a := t.asking[at.host]; a != nil {
		return nil, a.settled
	}
	return nil, nil
}

// enter counts somebody who serves, and who must call t.wg.Done. It reports false once t is closed.
func (t *incoming) enter() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed {
		t.wg.Add(1)
	}
	return !t.closed
}

// close refuses what comes from now on, and returns when all that is served has ended.
func (t *incoming) close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.wg.Wait()
}

// offered serves or refuses a channel that the bastion opens. It waits for nothing, as all else waits for it.
func (c *connection) offered(nc ssh.NewChannel) {
	a, err := c.parseArrival(nc)
	if err == errNoSuchChannel {
		_ = nc.Reject(ssh.Prohibited, "culvert accepts no such channels") // fails only on a dying connection
		return
	}
	if err != nil {
		c.log.Warn("a channel of the bastion was refused", "err", err)
		_ = nc.Reject(ssh.ConnectionFailed, "malformed request")
		return
	}
	c.log.Log(context.Background(), logDebug2, "channel offered", "type", nc.ChannelType(), "at", sshconfig.Printable(a.at.String()), "from", a.origin)
	serve, settled := c.incoming.find(a.at)
	if serve == nil && settled == nil || !c.incoming.enter() {
		c.unasked(a)
		return
	}
	go func() {
		defer c.incoming.wg.Done()
		if serve == nil {
			serve = c.waitFor(a.at, settled)
		}
		if serve == nil {
			c.unasked(a)
			return
		}
		serve(a)
	}()
}

func (c *connection) unasked(a *arrival) {
	c.log.Warn("a channel of the bastion was refused: nobody asked for it", "at", sshconfig.Printable(a.at.String()), "from", a.origin)
	a.refuse(ssh.Prohibited, "nobody asked for this")
}

// waitFor returns who serves at, once it is known. It is nil if nobody does.
func (c *connection) waitFor(at place, settled <-chan struct{}) (serve func(*arrival)) {
	t := &c.incoming
	t.mu.Lock()
	t.early++
	tooMany := t.early > maxEarly
	t.mu.Unlock()
	defer func() {
		t.mu.Lock()
		t.early--
		t.mu.Unlock()
	}()
	for serve == nil && settled != nil && !tooMany {
		<-settled
		serve, settled = t.find(at)
	}
	return serve
}

var errNoSuchChannel = errors.New("no such channel is accepted")

func (c *connection) parseArrival(nc ssh.NewChannel) (*arrival, error) {
	switch nc.ChannelType() {
	case "forwarded-tcpip":
		return c.parseTCPIP(nc)
	case "forwarded-streamlocal@openssh.com":
		var m forwardedStreamlocal
		if err := ssh.Unmarshal(nc.ExtraData(), &m); err != nil {
			return nil, fmt.Errorf("parse forwarded-streamlocal: %w", err)
		}
		return &arrival{offer: channelOffer{nc, c.foreign}, at: place{socket: m.Path}}, nil
	}
	return nil, errNoSuchChannel
}

func (c *connection) parseTCPIP(nc ssh.NewChannel) (*arrival, error) {
	var m forwardedTCPIP
	if err := ssh.Unmarshal(nc.ExtraData(), &m); err != nil {
		return nil, fmt.Errorf("parse forwarded-tcpip: %w", err)
	}
	if m.Port > 65535 || m.OriginPort > 65535 {
		return nil, errors.New("parse forwarded-tcpip: a port is out of range")
	}
	a := &arrival{offer: channelOffer{nc, c.offeredStream}, at: place{host: m.Host, port: uint16(m.Port)}}
	if from, err := netip.ParseAddr(m.Origin); err == nil {
		a.origin = netip.AddrPortFrom(from.Unmap(), uint16(m.OriginPort))
	}
	return a, nil
}

// errNoListening is what listen's error matches when the bastion has refused.
var errNoListening = errors.New("the bastion refuses to listen")

// listen is [remoteEnd.listen].
func (c *connection) listen(ctx context.Context, request string, at place, serve func(*arrival)) (place, error) {
	if at.open() {
		defer c.incoming.ask(at.host)()
	} else if !c.incoming.put(at, serve) {
		return place{}, fmt.Errorf("%s is listened on already", at)
	}
	port, err := c.askToListen(ctx, request, at)
	switch {
	case err != nil && !at.open():
		c.incoming.remove(at)
		fallthrough
	case err != nil:
		return place{}, err
	case !at.open():
		return at, nil
	}
	at.port = port
	if !c.incoming.put(at, serve) {
		return place{}, fmt.Errorf("the bastion chose port %d, which is listened on already", port)
	}
	return at, nil
}

// askToListen returns the port that is listened on.
func (c *connection) askToListen(ctx context.Context, request string, at place) (uint16, error) {
	ok, reply, err := c.request(ctx, globalRequest{
		name: request, payload: at.payload(), timeout: openTimeout,
		late: func(ok bool, reply []byte) {
			if port, err := at.bound(reply); ok && err == nil {
				at.port = port
				c.cancelListen(at)
			}
		},
	})
	if err != nil {
		return 0, err
	}
	if !ok {
		return 0, errNoListening
	}
	return at.bound(reply)
}

// unlisten is [remoteEnd.unlisten].
func (c *connection) unlisten(at place) {
	c.incoming.remove(at)
	c.cancelListen(at)
}

// cancelListen waits for no answer: there is nothing to be done about a refusal, and what is offered meanwhile is refused.
func (c *connection) cancelListen(at place) {
	name := "cancel-tcpip-forward"
	if at.socket != "" {
		name = "cancel-streamlocal-forward@openssh.com"
	}
	_, _, _ = c.ssh.SendRequest(name, false, at.payload()) // fails only on a dead connection
}
