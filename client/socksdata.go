package client

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/culvert-ssh/culvert/control"
	"github.com/culvert-ssh/culvert/ftp"
	"github.com/culvert-ssh/culvert/relay"
)

// dataNames are the ports by which FTP clients will ask a SOCKS listener for their data connections. Nobody listens at them: they are
// names, chosen by chance, so that a server can't make a connection that is meant for somebody else its own.
type dataNames struct {
	first, last uint16 // what they are chosen from; if last is 0, all from 1024

	mu      sync.Mutex
	waiting map[uint16]*namedData
}

// sessionNames is what one FTP session has its data connections asked for by.
type sessionNames struct {
	*dataNames
	host string     // by which the client asked for its control connection
	hop  netip.Addr // where it reaches the SOCKS listener
	seen netip.Addr // what it takes for its server's address
}

func (n *dataNames) session(host string, hop netip.Addr) *sessionNames {
	s := &sessionNames{dataNames: n, host: host, hop: hop, seen: hop}
	if a, err := netip.ParseAddr(host); err == nil {
		s.seen = a
	} else if !hop.Is4() {
		s.seen = loopback4 // a name may be that of anything, and only an address of IPv4 can be told by 227
	}
	return s
}

// address is what the client is told in a 227. Some clients ask for that, some for the host of their control connection, and some
// end if the two differ. Where the host is a name, it is what the server says: a client may take the way around the proxy to an address
// of its own machine.
func (s *sessionNames) address(end ftp.Endpoint) netip.Addr {
	if _, err := netip.ParseAddr(s.host); err != nil && end.Announced.Is4() && end.Announced.IsGlobalUnicast() {
		return end.Announced
	}
	return s.seen
}

// expect begins to wait for the owner to ask for the data connection to end, and returns what it is told.
func (s *sessionNames) expect(end ftp.Endpoint, server serverSide, owner control.Owner, log *slog.Logger) (*namedData, netip.AddrPort, error) {
	at := s.address(end)
	d := &namedData{
		serverSide: server, names: s.dataNames, owner: owner, log: log,
		hosts: []string{s.host, at.String(), s.hop.String()},
		came:  make(chan handed, 1), withdrawn: make(chan struct{}),
	}
	if err := s.put(d); err != nil {
		return nil, netip.AddrPort{}, err
	}
	return d, netip.AddrPortFrom(at, d.port), nil
}

// put gives d a port.
func (n *dataNames) put(d *namedData) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.waiting == nil {
		n.waiting = make(map[uint16]*namedData)
	}
	first, last := 1024, 65535
	if n.last != 0 {
		first, last = int(n.first), int(n.last)
	}
	for range expectTries {
		d.port = uint16(first + rand.IntN(last-first+1))
		if n.waiting[d.port] == nil {
			n.waiting[d.port] = d
			return nil
		}
	}
	return errors.New("no port is free to name a data connection by")
}

// remove reports whether d was still waited for.
func (n *dataNames) remove(d *namedData) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.waiting[d.port] != d {
		return false
	}
	delete(n.waiting, d.port)
	return true
}

// claim returns the data connection that a client asks for from the address from, which is then waited for no more. It is nil if it asks for
// something else. Whether the client is the right one is what accepts says.
func (n *dataNames) claim(host string, port uint16, from netip.AddrPort, accepts func(control.Owner) error) *namedData {
	n.mu.Lock()
	d := n.waiting[port]
	n.mu.Unlock()
	if d == nil || !d.isCalled(host) {
		return nil
	}
	if err := accepts(d.owner); err != nil {
		d.log.Warn("somebody else asked for a data connection, and is served as if there were none", "peer", from, "err", err)
		return nil
	}
	if !n.remove(d) {
		return nil
	}
	return d
}

// namedData is the data connection of a client in passive mode, which asks for it by SOCKS. It is a dataConnection.
type namedData struct {
	serverSide
	names *dataNames
	port  uint16
	hosts []string // the client may ask for the port of any of these
	owner control.Owner
	log   *slog.Logger

	came      chan handed
	withdrawn chan struct{} // closed if it is, and nobody had come
	unwanted  atomic.Bool   // it was to be withdrawn, whether somebody had come or not
}

// handed is the client's side.
type handed struct {
	local *relay.TCP
	reply func(err error) []byte // what it is told of what has become of its connection; if nil, nothing, and a failure is a reset
}

func (d *namedData) isCalled(host string) bool {
	for _, name := range d.hosts {
		if strings.EqualFold(name, host) {
			return true
		}
	}
	return false
}

// hand passes on the stream of a client that has asked for d, and the duty to answer it. Who has taken d must call it.
func (d *namedData) hand(client handed) { d.came <- client }

// granted tells the client that it is connected, if it hasn't been told. If it isn't after all, it is reset. On failure its stream is aborted.
func (h *handed) granted() error {
	if h.reply == nil {
		return nil
	}
	if _, err := h.local.Write(h.reply(nil)); err != nil {
		h.local.Abort()
		return err
	}
	h.reply = nil
	return nil
}

// failed tells the client that it isn't, and closes its connection.
func (h *handed) failed(why error) {
	if h.reply == nil {
		h.local.Abort()
		return
	}
	part(h.local, h.reply(why))
}

// begin has nothing to wait for: whose connection it is was found out before the client could use it.
func (d *namedData) begin(context.Context) {}

// end has nothing to say: a client in passive mode has connected itself, and sees how that has ended.
func (d *namedData) end(context.Context) error { return nil }

func (d *namedData) withdraw() {
	d.unwanted.Store(true)
	if d.names.remove(d) {
		close(d.withdrawn)
	}
}

// serve waits for the client, relays its connection, and returns when that has ended.
func (d *namedData) serve(ctx context.Context) {
	client, ok := d.wait(ctx)
	if !ok {
		d.drop()
		d.log.Debug("no data connection")
		return
	}
	// As one that connects to a listener, the client needn't wait for the bastion: it has a command to send meanwhile.
	if d.ahead == nil || !d.ahead.failed() {
		if err := client.granted(); err != nil {
			d.drop()
			d.log.Debug("no data connection", "err", err)
			return
		}
	}
	remote, err := d.take(ctx, relay.AddrPort(client.local.RemoteAddr()))
	if err != nil {
		level := slog.LevelError
		if ctx.Err() != nil || d.unwanted.Load() { // a bastion that has read the refusal of the transfer refuses its data, too
			level = slog.LevelDebug
		}
		d.log.Log(ctx, level, "a data connection was refused", "err", err)
		client.failed(err)
		return
	}
	if err := client.granted(); err != nil {
		remote.Abort()
		d.log.Debug("no data connection", "err", err)
		return
	}
	err = d.flow.join(ctx, client.local, remote)
	logEnd(ctx, d.log, "data connection", err, &d.flow.Counters)
}

// wait returns the client, or false if none comes.
func (d *namedData) wait(ctx context.Context) (client handed, ok bool) {
	late := time.NewTimer(endpointTimeout)
	defer late.Stop()
	select {
	case client = <-d.came:
		return client, true
	case <-d.withdrawn:
		return client, false
	case <-late.C:
	case <-ctx.Done():
	}
	if d.names.remove(d) {
		return client, false
	}
	select { // it was taken, or withdrawn, in the same moment
	case client = <-d.came:
		return client, true
	case <-d.withdrawn:
		return client, false
	}
}
