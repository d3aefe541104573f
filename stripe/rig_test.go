package stripe_test

import (
	"crypto/ed25519"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/relay"
	"github.com/culvert-ssh/culvert/stripe"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// line is an SSH connection over loopback. The client's end of the TCP connection can be cut.
type line struct {
	client, server         ssh.Conn
	clientWire, serverWire *relay.Wire
	tcp                    net.Conn
}

func (l *line) cut() { l.tcp.Close() }

// rig is a client and a server with a first connection and side connections.
type rig struct {
	t     testing.TB
	key   ssh.Signer
	first *line

	mu      sync.Mutex
	streams map[stripe.Token]*stripe.Stream // the server's
	opened  chan *stripe.Stream             // those that the server has accepted
	config  stripe.Config                   // the server's, but for what the rig sets
	under   func(net.Conn) net.Conn         // what is put under the client's end of a connection; nil for nothing
	wg      sync.WaitGroup
}

func newRig(t testing.TB) *rig {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, key: signer, streams: make(map[stripe.Token]*stripe.Stream), opened: make(chan *stripe.Stream, 16)}
	t.Cleanup(r.wg.Wait)
	r.first = r.connect()
	return r
}

// connect makes one more connection.
func (r *rig) connect() *line {
	r.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.t.Fatal(err)
	}
	defer l.Close()
	dialled, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		r.t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		r.t.Fatal(err)
	}
	if r.under != nil {
		dialled = r.under(dialled)
	}
	c := &line{tcp: dialled, clientWire: relay.NewWire(dialled), serverWire: relay.NewWire(accepted)}
	server := make(chan error, 1)
	go func() {
		cfg := &ssh.ServerConfig{NoClientAuth: true}
		cfg.AddHostKey(r.key)
		conn, chans, reqs, err := ssh.NewServerConn(c.serverWire, cfg)
		if err == nil {
			c.server = conn
			r.wg.Go(func() { ssh.DiscardRequests(reqs) })
			r.wg.Go(func() { r.serve(c, chans) })
		}
		server <- err
	}()
	conn, chans, reqs, err := ssh.NewClientConn(c.clientWire, "x", &ssh.ClientConfig{HostKeyCallback: ssh.FixedHostKey(r.key.PublicKey())})
	if err := errors.Join(err, <-server); err != nil {
		r.t.Fatal(err)
	}
	c.client = conn
	r.wg.Go(func() { ssh.DiscardRequests(reqs) })
	r.wg.Go(func() {
		for range chans {
		}
	})
	r.t.Cleanup(func() { conn.Close(); accepted.Close() })
	return c
}

// serve is the server's side of a connection.
func (r *rig) serve(c *line, chans <-chan ssh.NewChannel) {
	for nc := range chans {
		if nc.ChannelType() != stripe.ChannelType {
			ch, reqs, err := nc.Accept()
			if err != nil {
				continue
			}
			r.opened <- r.accepted(c, ch, reqs)
			continue
		}
		token, _ := stripe.ParseToken(nc.ExtraData())
		r.mu.Lock()
		s := r.streams[token]
		r.mu.Unlock()
		if s == nil {
			nc.Reject(ssh.Prohibited, "no such stream")
			continue
		}
		if ch, reqs, err := nc.Accept(); err == nil {
			s.Attach(ch, reqs, c == r.first, nil)
		}
	}
}

// accepted makes a stream of the server's end of a channel.
func (r *rig) accepted(c *line, ch ssh.Channel, reqs <-chan *ssh.Request) *stripe.Stream {
	cfg := r.config
	cfg.ChannelConfig = relay.ChannelConfig{Wire: c.serverWire, EndOfData: true}
	made := make(chan *stripe.Stream, 1)
	cfg.Ask = func(t stripe.Token) bool {
		s := <-made
		r.mu.Lock()
		defer r.mu.Unlock()
		r.streams[t] = s
		return true
	}
	s := stripe.New(ch, reqs, cfg)
	made <- s
	return s
}

// open opens a stream, and returns both of its ends.
func (r *rig) open(cfg stripe.Config) (client, server *stripe.Stream) {
	r.t.Helper()
	ch, reqs, err := r.first.client.OpenChannel("direct-tcpip", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	cfg.ChannelConfig = relay.ChannelConfig{Wire: r.first.clientWire, EndOfData: true}
	client = stripe.New(ch, reqs, cfg)
	server = <-r.opened
	r.t.Cleanup(func() { client.Abort(); server.Abort() })
	return client, server
}

// attach attaches a stripe on c to a stream of the client's.
func (r *rig) attach(s *stripe.Stream, t stripe.Token, c *line) {
	r.t.Helper()
	if err := r.tryAttach(s, t, c); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) tryAttach(s *stripe.Stream, t stripe.Token, c *line) error {
	ch, reqs, err := c.client.OpenChannel(stripe.ChannelType, t.Payload())
	if err != nil {
		return err
	}
	return s.Attach(ch, reqs, c == r.first, nil)
}

// striped opens a stream with stripes on so many side connections, which it returns.
func (r *rig) striped(n int) (client, server *stripe.Stream, sides []*line) {
	r.t.Helper()
	client, server = r.open(stripe.Config{})
	token, err := client.Offer()
	if err != nil {
		r.t.Fatal(err)
	}
	for range n {
		side := r.connect()
		sides = append(sides, side)
		r.attach(client, token, side)
	}
	return client, server, sides
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}
