package channels_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/audit"
	"github.com/culvert-ssh/culvert/channels"
	"github.com/culvert-ssh/culvert/policy"
	"github.com/culvert-ssh/culvert/relay"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bastion is a channels.Conn behind a real SSH connection on loopback, without the server around it.
type bastion struct {
	t      *testing.T
	client ssh.Conn
	audit  *journal
	policy atomic.Pointer[policy.Policy] // that decides
	served chan *channels.Conn
	offers atomic.Pointer[chan ssh.NewChannel] // where channels go that the bastion opens; if nil, they are refused
}

// conn is the bastion's side of the connection.
func (b *bastion) conn() *channels.Conn {
	c := <-b.served
	b.served <- c
	return c
}

// change exchanges the policy.
func (b *bastion) change(p *policy.Policy) {
	b.policy.Store(p)
	b.conn().Recheck()
}

// journal is an audit log that can be asked.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
	full error // what Write fails with

	writes int // that it has taken
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.full != nil {
		return 0, j.full
	}
	j.writes++
	return j.text.Write(p)
}

func (j *journal) fill(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.full = err
}

// event returns the last event of a name, or nil.
func (j *journal) event(name string) map[string]any { return j.find(name, "") }

// find returns the last event of a name and, unless that is empty, of a request, or nil.
func (j *journal) find(name, request string) (last map[string]any) {
	for _, e := range j.all(name) {
		if request == "" || e["request"] == request {
			last = e
		}
	}
	return last
}

// all returns the events of a name, oldest first.
func (j *journal) all(name string) (found []map[string]any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for line := range strings.Lines(j.text.String()) {
		var e map[string]any
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			panic(fmt.Sprintf("audit line %q: %v", line, err))
		}
		if e["event"] == name {
			found = append(found, e)
		}
	}
	return found
}

// wait returns the next event of a name that isn't there yet when asked too early.
func (j *journal) wait(t *testing.T, name string) map[string]any {
	t.Helper()
	return j.waitFor(t, name, "")
}

// waitFor is wait for the event of a request.
func (j *journal) waitFor(t *testing.T, name, request string) map[string]any {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if e := j.find(name, request); e != nil {
			return e
		}
	}
	t.Fatalf("no audit event %q came %s", name, request)
	return nil
}

// permit makes a policy of PermitOpen and DenyOpen words, on lines 1 and 2.
func permit(t *testing.T, open, deny string) *policy.Policy {
	t.Helper()
	words := func(s string) []policy.OpenPattern {
		var all []policy.OpenPattern
		for _, w := range strings.Fields(s) {
			p, err := policy.ParseOpenPattern(w)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, p)
		}
		return all
	}
	return &policy.Policy{Global: policy.Rules{
		AllowTCPForwarding: &policy.Line[policy.Forwarding]{Value: policy.ForwardAll},
		PermitOpen:         &policy.Line[[]policy.OpenPattern]{Source: "sshd_config:1", Value: words(open)},
		DenyOpen:           []policy.Line[[]policy.OpenPattern]{{Source: "sshd_config:2", Value: words(deny)}},
		FTPDataTimeout:     &policy.Line[time.Duration]{Value: time.Minute},
	}}
}

// newBastion starts a bastion for alice. Change may change its configuration.
func newBastion(t *testing.T, p *policy.Policy, change func(*channels.Config)) *bastion {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	b := &bastion{t: t, audit: &journal{}, served: make(chan *channels.Conn, 1)}
	b.policy.Store(p)
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		b.serve(c, signer, change)
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn, chans, reqs, err := ssh.NewClientConn(c, "bastion", &ssh.ClientConfig{
		User: "alice", HostKeyCallback: ssh.FixedHostKey(signer.PublicKey()),
	})
	if err != nil {
		t.Fatal(err)
	}
	b.client = conn
	go ssh.DiscardRequests(reqs)
	go func() {
		for nc := range chans {
			if to := b.offers.Load(); to != nil {
				*to <- nc
				continue
			}
			nc.Reject(ssh.Prohibited, "not now")
		}
	}()
	t.Cleanup(func() { conn.Close(); <-done })
	return b
}

// withKey has alice log in with a key that narrows.
func withKey(c *channels.Config, rules *policy.KeyRules) {
	alice := c.Subject()
	alice.KeyRules = rules
	c.Subject = func() policy.Subject { return alice }
}

func (b *bastion) serve(c net.Conn, signer ssh.Signer, change func(*channels.Config)) {
	wire := relay.NewWire(c)
	sc := &ssh.ServerConfig{NoClientAuth: true}
	sc.AddHostKey(signer)
	conn, chans, reqs, err := ssh.NewServerConn(wire, sc)
	if err != nil {
		b.t.Error(err)
		return
	}
	subject := policy.Subject{
		User: "alice", Addr: netip.MustParseAddr("127.0.0.1"), LocalAddr: netip.MustParseAddrPort("127.0.0.1:2222"),
	}
	cfg := channels.Config{
		SSH: conn, Wire: wire, Subject: func() policy.Subject { return subject },
		Decide:    func(r policy.Request) policy.Decision { return b.policy.Load().Decide(r) },
		Permitted: b.policy.Load().Permitted(subject, time.Time{}),
		Audit:     audit.New(b.audit, time.Now), ID: audit.Conn{ID: "c1", User: "alice"},
		Log: slog.New(slog.DiscardHandler), Now: time.Now,
		MaxChannels: 8, MaxSessions: 2, ConnectTimeout: 5 * time.Second,
		Sessions: func() channels.Sessions { return channels.Sessions{PermitTTY: true} },
	}
	if change != nil {
		change(&cfg)
	}
	ours, err := channels.New(cfg)
	if err != nil {
		b.t.Error(err)
		return
	}
	b.served <- ours
	var wg sync.WaitGroup
	wg.Go(func() {
		for r := range reqs {
			ok, payload := ours.GlobalRequest(r)
			if r.WantReply {
				r.Reply(ok, payload)
			}
		}
	})
	for nc := range chans {
		wg.Go(func() { ours.Serve(nc) })
	}
	ours.Close()
	wg.Wait()
}

// open asks for a direct-tcpip channel.
func (b *bastion) open(host string, port uint16) (ssh.Channel, error) {
	ch, reqs, err := b.client.OpenChannel("direct-tcpip", ssh.Marshal(struct {
		Host  string
		Port  uint32
		From  string
		FPort uint32
	}{host, uint32(port), "127.0.0.1", 1}))
	if err != nil {
		return nil, err
	}
	go ssh.DiscardRequests(reqs)
	return ch, nil
}

// mustOpen is open for what must succeed.
func (b *bastion) mustOpen(host string, port uint16) ssh.Channel {
	b.t.Helper()
	ch, err := b.open(host, port)
	if err != nil {
		b.t.Fatalf("open %s:%d: %v", host, port, err)
	}
	return ch
}

// mustRefuse checks that a channel is refused with a code, and returns the audit event.
func (b *bastion) mustRefuse(host string, port uint16, code ssh.RejectionReason) map[string]any {
	b.t.Helper()
	_, err := b.open(host, port)
	var refused *ssh.OpenChannelError
	if !errors.As(err, &refused) || refused.Reason != code {
		b.t.Fatalf("open %s:%d: %v, want it refused with %v", host, port, err, code)
	}
	e := b.audit.event("channel.refused")
	if e == nil || !strings.Contains(refused.Message, "(request "+e["request"].(string)+")") {
		b.t.Errorf("the client was told %q, which doesn't find the audit event %v", refused.Message, e)
	}
	return e
}

// echo is a TCP server that sends back what it gets, and then its end.
func echo(t *testing.T, addr string) netip.AddrPort {
	t.Helper()
	return serveTCP(t, addr, func(c *net.TCPConn) {
		io.Copy(c, c)
		c.CloseWrite()
	})
}

// serveTCP accepts connections until the test ends.
func serveTCP(t *testing.T, addr string, serve func(c *net.TCPConn)) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				stop := context.AfterFunc(t.Context(), func() { c.Close() })
				defer stop()
				serve(c.(*net.TCPConn))
			})
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return l.Addr().(*net.TCPAddr).AddrPort()
}
