package channels_test

import (
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/audit"
	"github.com/culvert-ssh/culvert/channels"
	"github.com/culvert-ssh/culvert/relay"
	"github.com/culvert-ssh/culvert/stripe"
)

// newStriping returns a bastion whose client may ask for stripes, and an address that may be opened.
func newStriping(t *testing.T, maxChannels int) (*bastion, netip.AddrPort) {
	t.Helper()
	at := echo(t, "127.0.0.1:0")
	b := newBastion(t, permit(t, at.String(), ""), func(c *channels.Config) { c.MaxChannels = maxChannels })
	if ok, _, err := b.client.SendRequest(relay.EndOfDataRequest, true, nil); !ok || err != nil {
		t.Fatalf("%s: got %v, %v", relay.EndOfDataRequest, ok, err)
	}
	b.conn().AgreeOnStripes()
	return b, at
}

// stripeable opens a channel to at and says whether stripes may be attached to it by t.
func (b *bastion) stripeable(at netip.AddrPort, t stripe.Token) (ssh.Channel, bool) {
	b.t.Helper()
	ch := b.mustOpen(at.Addr().String(), at.Port())
	ok, err := ch.SendRequest(stripe.Request, true, t.Payload())
	if err != nil {
		b.t.Fatal(err)
	}
	return ch, ok
}

// gone waits until n channels have ended.
func (b *bastion) gone(n int) {
	b.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); len(b.audit.all("channel.closed")) < n; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatalf("channels that ended: got %d, want %d", len(b.audit.all("channel.closed")), n)
		}
	}
}

func TestSoManyStreamsHaveStripesAtOnce(t *testing.T) {
	const most = 16
	b, at := newStriping(t, 40)
	var streams []ssh.Channel
	for i := range most {
		ch, ok := b.stripeable(at, stripe.NewToken())
		if !ok {
			t.Fatalf("stream %d may have no stripes, want %d that may", i+1, most)
		}
		streams = append(streams, ch)
	}
	for range 3 {
		if _, ok := b.stripeable(at, stripe.NewToken()); ok {
			t.Errorf("more than %d streams may have stripes", most)
		}
	}
	for i, ch := range streams {
		ch.Close()
		b.gone(i + 1)
		if _, ok := b.stripeable(at, stripe.NewToken()); !ok {
			t.Errorf("after %d have ended: another may have no stripes", i+1)
		}
	}
}

func TestTokenIsOneStreams(t *testing.T) {
	b, at := newStriping(t, 8)
	token := stripe.NewToken()
	first, ok := b.stripeable(at, token)
	if !ok {
		t.Fatal("no stripes")
	}
	if _, ok := b.stripeable(at, token); ok {
		t.Error("two streams have one token")
	}
	if ok, err := first.SendRequest(stripe.Request, true, stripe.NewToken().Payload()); ok || err != nil {
		t.Errorf("a second token for a stream: got %v, %v, want it refused", ok, err)
	}
}

// offered is a channel that a client asks for.
type offered struct {
	kind   string
	extra  []byte
	reqs   chan *ssh.Request // to be closed when the client has let the channel go
	closed atomic.Bool       // by the bastion
	reason string            // why it was refused
}

func (o *offered) ChannelType() string { return o.kind }
func (o *offered) ExtraData() []byte   { return o.extra }

func (o *offered) Accept() (ssh.Channel, <-chan *ssh.Request, error) {
	o.reqs = make(chan *ssh.Request)
	return &carrying{offered: o}, o.reqs, nil
}

func (o *offered) Reject(_ ssh.RejectionReason, text string) error {
	o.reason = text
	return nil
}

// carrying is the channel, on which nothing comes.
type carrying struct {
	ssh.Channel
	offered *offered
}

func (c *carrying) Read([]byte) (int, error) { return 0, io.EOF }

func (c *carrying) Close() error {
	c.offered.closed.Store(true)
	return nil
}

// A stripe counts until the client has let it go: until then it may be full, and nobody reads it.
func TestStripesCountUntilTheClientLetsThemGo(t *testing.T) {
	const most = 4
	b, at := newStriping(t, most/2)
	c := b.conn()
	side := c.Side(channels.SideConfig{
		ID: audit.Conn{ID: "c2", User: "alice"}, Log: slog.New(slog.DiscardHandler), End: func(error) {},
	})
	attach := func(t stripe.Token) *offered {
		o := &offered{kind: stripe.ChannelType, extra: t.Payload()}
		side.Serve(o)
		return o
	}
	token := stripe.NewToken()
	stream, ok := b.stripeable(at, token)
	if !ok {
		t.Fatal("no stripes")
	}
	var attached []*offered
	for range most {
		attached = append(attached, attach(token))
	}
	t.Cleanup(func() {
		for _, o := range attached {
			close(o.reqs)
		}
	})
	if o := attach(token); o.reqs != nil {
		t.Errorf("more than %d stripes were accepted", most)
	}
	if e := b.audit.event("channel.refused"); e["conn"] != "c2" || e["request"] != "c2-1" || e["type"] != stripe.ChannelType {
		t.Errorf("got %v, want the stripe of the side connection refused", e)
	}
	stream.Close()
	b.gone(1)
	if e := b.audit.event("channel.closed"); e["stripes"] != float64(most) {
		t.Errorf("got %v, want %d stripes", e, most)
	}
	for _, o := range attached {
		for deadline := time.Now().Add(10 * time.Second); !o.closed.Load(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("the stream has ended, and its stripes are open")
			}
		}
	}
	another := stripe.NewToken()
	if _, ok := b.stripeable(at, another); !ok {
		t.Fatal("no stripes for another stream")
	}
	if o := attach(another); o.reqs != nil {
		t.Error("a stripe was accepted, and none was let go")
	}
	close(attached[0].reqs)
	attached = attached[1:]
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if o := attach(another); o.reqs != nil {
			attached = append(attached, o)
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("a stripe was let go, and none is accepted")
		}
	}
}

// What comes on a side connection once the first has ended is refused.
func TestSideConnectionOfNobody(t *testing.T) {
	b, at := newStriping(t, 8)
	token := stripe.NewToken()
	if _, ok := b.stripeable(at, token); !ok {
		t.Fatal("no stripes")
	}
	c := b.conn()
	side := c.Side(channels.SideConfig{ID: audit.Conn{ID: "c2"}, Log: slog.New(slog.DiscardHandler), End: func(error) {}})
	b.client.Close()
	c.Close()
	o := &offered{kind: stripe.ChannelType, extra: token.Payload()}
	if side.Serve(o); o.reqs != nil || o.reason == "" {
		t.Errorf("got %+v, want it refused", o)
	}
}

// What can't be put on record ends the side connection.
func TestSideConnectionEndsWithoutARecord(t *testing.T) {
	b, _ := newStriping(t, 8)
	var ended atomic.Pointer[error]
	side := b.conn().Side(channels.SideConfig{
		ID: audit.Conn{ID: "c2"}, Log: slog.New(slog.DiscardHandler), End: func(reason error) { ended.Store(&reason) },
	})
	b.audit.fill(errors.New("disk full"))
	defer b.audit.fill(nil)
	side.Serve(&offered{kind: "session"})
	if ended.Load() == nil {
		t.Error("the side connection goes on")
	}
}
