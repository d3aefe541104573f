package channels

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/audit"
	"github.com/culvert-ssh/culvert/relay"
	"github.com/culvert-ssh/culvert/stripe"
)

// stripesPerChannel is how many stripes there may be for each of MaxChannels, over all streams, those included that the client doesn't let go: each may
// hold a window, as a channel may.
const stripesPerChannel = 2

// AgreeOnStripes says that the client may ask for stripes from now on.
func (c *Conn) AgreeOnStripes() { c.striped.agreed.Store(true) }

// SaysEndOfData reports whether relay.EndOfDataRequest was agreed on.
func (c *Conn) SaysEndOfData() bool { return c.endOfData.Load() }

// striped are the streams of one connection that may have stripes, by their tokens. No other connection's are looked for anywhere, so that a token
// opens nothing but a part of what its own login has open.
type striped struct {
	agreed atomic.Bool
	slots  slots         // of stripes
	share  *stripe.Share // of the budget

	mu      sync.Mutex
	streams map[stripe.Token]*primary // some of which have ended
}

// put registers a stream, unless its token is another's or too many are registered.
func (s *striped) put(t stripe.Token, p *primary) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for other, has := range s.streams {
		if has.over() {
			delete(s.streams, other)
		}
	}
	if len(s.streams) == stripe.MaxStreams || s.streams[t] != nil {
		return false
	}
	if s.streams == nil {
		s.streams = make(map[stripe.Token]*primary)
	}
	s.streams[t] = p
	return true
}

// find returns the stream of a token, unless it has ended.
func (s *striped) find(t stripe.Token) *primary {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.streams[t]
	if p == nil || p.over() {
		return nil
	}
	return p
}

// primary is the SSH channel of a stream, which may get stripes.
type primary struct {
	*stripe.Stream
	of       *Conn
	made     sync.Mutex   // held until Stream is set: the client may be faster
	attached atomic.Int32 // stripes, over its time
}

func (c *Conn) newPrimary(ch ssh.Channel, reqs <-chan *ssh.Request, cfg relay.ChannelConfig) *primary {
	p := &primary{of: c}
	p.made.Lock()
	defer p.made.Unlock()
	p.Stream = stripe.New(ch, reqs, stripe.Config{ChannelConfig: cfg, Ask: p.ask, Share: c.striped.share})
	return p
}

// ask answers a client that wants stripes for the stream.
func (p *primary) ask(t stripe.Token) bool {
	p.made.Lock()
	defer p.made.Unlock()
	return p.of.striped.agreed.Load() && p.of.striped.put(t, p)
}

// over reports whether the stream, which was registered, has ended.
func (p *primary) over() bool {
	select {
	case <-p.Done():
		return true
	default:
		return false
	}
}

var (
	errNoStream    = errors.New("no stream of its login has this token")
	errNotStriped  = errors.New("a side connection carries stripes and nothing else")
	errManyStripes = fmt.Errorf("there are %d stripes for each of MaxChannels", stripesPerChannel)
)

// attach gives a channel to the stream that it says it is a stripe of. With an error it isn't open, and whoever called must refuse it.
func (c *Conn) attach(nc ssh.NewChannel, reserve bool) error {
	t, err := stripe.ParseToken(nc.ExtraData())
	if err != nil {
		return err
	}
	p := c.striped.find(t)
	switch {
	case p == nil:
		return errNoStream
	case !c.striped.slots.take():
		return errManyStripes
	}
	p.attached.Add(1) // before the client knows: the stream may end at once
	ch, reqs, err := nc.Accept()
	if err != nil {
		p.attached.Add(-1)
		c.striped.slots.give()
		return nil // the connection is gone, and with it whom to refuse it to
	}
	if err := p.Attach(ch, c.counted(reqs), reserve, nil); err != nil {
		p.attached.Add(-1)
		c.cfg.Log.Debug("a stripe came too late, or is one too many", "err", err)
	}
	return nil
}

// counted refuses the requests on a stripe, of which there are none, and gives its slot back when they have ended: then it is closed on both sides, or
// its connection is gone. Until then the client may have as much in it as its window allows, whatever became of the stream. What it returns ends then.
func (c *Conn) counted(reqs <-chan *ssh.Request) <-chan *ssh.Request {
	none := make(chan *ssh.Request)
	go func() {
		defer c.striped.slots.give()
		defer close(none)
		relay.Refuse(reqs)
	}()
	return none
}

// stripe serves a stripe on the first connection.
func (c *Conn) stripe(nc ssh.NewChannel) {
	if err := c.attach(nc, true); err != nil {
		code, text := stripeRefusal(err)
		c.refuse(nc, refusal{code: code, text: text, reason: err.Error()})
	}
}

// stripeRefusal is what the client sees of an error of attach.
func stripeRefusal(err error) (code ssh.RejectionReason, text string) {
	if err == errManyStripes {
		return ssh.ResourceShortage, "too many stripes"
	}
	return ssh.Prohibited, "not a stripe"
}

// SideConfig is what a Side needs. Every field is required.
type SideConfig struct {
	ID  audit.Conn
	Log *slog.Logger
	End func(reason error) // ends the side connection
}

// Side is the channels of one side connection: stripes of the streams of its first connection. It has no subject and no policy, so that there is
// nothing it could be asked for.
type Side struct {
	cfg      SideConfig
	first    *Conn
	requests atomic.Uint64
	waiting  inHand
}

// Side returns the channels of a side connection of c. There is nothing to be closed: stripes are their stream's, and end with their connection.
func (c *Conn) Side(cfg SideConfig) *Side { return &Side{cfg: cfg, first: c} }

// Serve serves one channel that the client asks for. It returns when the channel has its answer.
func (s *Side) Serve(nc ssh.NewChannel) {
	if !s.first.enter() {
		_ = nc.Reject(ssh.ConnectionFailed, "the connection ends") // which is why it may fail
		return
	}
	defer s.first.wg.Done()
	answered, ok := s.waiting.take(nc)
	defer answered()
	if !ok {
		s.cfg.Log.Warn("connection closed: too many channels asked for at once", "limit", maxWaiting, "bytes", maxWaitingBytes)
		s.cfg.End(errTooMany)
	}
	_ = s.first.asking.Wait(s.first.ctx) // at the end of the connection, what comes next fails
	err := errNotStriped
	if nc.ChannelType() == stripe.ChannelType {
		err = s.first.attach(nc, false)
	}
	if err != nil {
		s.refuse(nc, err)
	}
}

func (s *Side) refuse(nc ssh.NewChannel, why error) {
	request := fmt.Sprintf("%s-%d", s.cfg.ID.ID, s.requests.Add(1))
	kind := bounded(nc.ChannelType())
	e := audit.ChannelRefused{Conn: s.cfg.ID, Request: request, Type: kind, Reason: why.Error()}
	if err := s.first.cfg.Audit.Write(e); err != nil {
		s.cfg.Log.Error("connection closed: its audit event can't be written", "event", e.EventName(), "err", err)
		s.cfg.End(errNoRecord)
	}
	s.cfg.Log.Info("channel refused", "request", request, "type", kind, "reason", e.Reason)
	code, text := stripeRefusal(why)
	_ = nc.Reject(code, text+" (request "+request+")") // fails only on a dead connection
}
