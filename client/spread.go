package client

import (
	"context"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/relay"
	"github.com/culvert-ssh/culvert/stripe"
)

// spreadTimeout is how long an open waits for stripes that are asked for by their number.
const spreadTimeout = 10 * time.Second

// budget is the memory of all streams with stripes, in bytes, whatever tunnels they are of. One SSH connection gets half of it: four long transfers at once.
var budget = stripe.NewBudget(128<<20, 64<<20)

// stream makes a stream of a channel that is carried for somebody: one that may be spread, if the line is worth it.
func (c *connection) stream(ctx context.Context, ch ssh.Channel, reqs <-chan *ssh.Request) relay.Stream {
	s := c.sides
	if !s.mayCarryStripes() || !c.channel.EndOfData {
		return c.plain(ch, reqs)
	}
	cfg := stripe.Config{ChannelConfig: c.channel, Share: s.share, Died: func(*stripe.Stream) { s.leave(func() {}) }}
	if s.asked == AutoStripes {
		cfg.After = earlyBytes
		cfg.Crossed = func(str *stripe.Stream) { s.goes(func() { s.spread(str, func() {}) }) }
		return stripe.New(ch, reqs, cfg)
	}
	str := stripe.New(ch, reqs, cfg)
	all := make(chan struct{})
	s.goes(func() { s.spread(str, sync.OnceFunc(func() { close(all) })) })
	late := time.NewTimer(spreadTimeout)
	defer late.Stop()
	select {
	case <-all:
	case <-late.C:
	case <-ctx.Done():
	case <-c.done:
	}
	return str
}

// offeredStream is stream for a channel that the bastion has opened.
func (c *connection) offeredStream(ch ssh.Channel, reqs <-chan *ssh.Request) relay.Stream {
	return c.stream(context.Background(), ch, reqs)
}

// mayCarryStripes reports whether there may be stripes, as far as that is known.
func (s *sides) mayCarryStripes() bool {
	if s == nil {
		return false
	}
	select {
	case <-s.agreed:
		return s.key != nil && s.most > 0
	default:
		return true
	}
}

// spread gives a stream its stripes, and others in the place of those that end, until it has ended itself. It calls enough when the stream has
// as many as it is to have, or as there are to be had now.
func (s *sides) spread(str *stripe.Stream, enough func()) {
	defer enough()
	if !s.known() || s.key == nil {
		return
	}
	s.leave(func() { s.users++ })
	defer s.leave(func() { s.users--; s.lastUsed = time.Now() })
	s.need()
	token, err := str.Offer()
	if err != nil {
		s.log.Debug("a stream is not spread", "err", err)
		return
	}
	x := &spreading{sides: s, Stream: str, token: token, on: make(map[*side]bool), attached: make(chan error)}
	x.run(enough)
}

// spreading is a stream that is given stripes.
type spreading struct {
	*sides
	*stripe.Stream
	token    stripe.Token
	on       map[*side]bool // the side connections that have one of its stripes, or have refused one
	attached chan error     // what has become of each stripe that was opened
}

// run gives the stream its stripes.
func (x *spreading) run(enough func()) {
	opening, reserved := 0, false
	ctx, cancel := context.WithCancel(x.ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	open := func(c *connection, reserve bool) {
		opening++
		wg.Go(func() {
			err := x.attach(ctx, c, reserve)
			select {
			case x.attached <- err:
			case <-ctx.Done():
			}
		})
	}
	defer x.letGo()
	for {
		next, changed, more := x.choose()
		for _, side := range next {
			open(side.connection, false)
		}
		if opening == 0 && !more {
			enough()
		}
		select {
		case <-changed:
		case err := <-x.attached:
			if opening--; err == nil && !reserved {
				reserved = true
				open(x.first, true)
			}
		case <-x.Done():
			return
		case <-ctx.Done():
			return
		}
	}
}

// choose takes the side connections that the stream is to be on besides, those with the fewest stripes first. Of many streams at once each is
// on some. more says that others are being made.
func (x *spreading) choose() (next []*side, changed <-chan struct{}, more bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for side := range x.on {
		if hasEnded(side) {
			delete(x.on, side)
		}
	}
	want := x.most
	if x.asked == AutoStripes {
		want = (x.most + x.users - 1) / x.users
	}
	for len(x.on) < want {
		side := leastOf(x.there, x.on)
		if side == nil {
			break
		}
		side.load++
		x.on[side] = true
		next = append(next, side)
	}
	return next, x.changed, len(x.on) < want && x.making > 0
}

// letGo gives up what was chosen.
func (x *spreading) letGo() {
	x.leave(func() {
		for side := range x.on {
			side.load--
		}
	})
}

// attach opens a stripe on c.
func (x *spreading) attach(ctx context.Context, c *connection, reserve bool) error {
	ch, reqs, err := c.openChannel(ctx, "a stripe", stripe.ChannelType, x.token.Payload())
	if err == nil {
		err = x.Attach(ch, reqs, reserve)
	}
	if err != nil {
		c.log.Debug("a stream has one stripe less", "err", err)
	}
	return err
}
