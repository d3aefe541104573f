package client

import (
	"context"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/relay"
	"github.com/culvert-ssh/culvert/stripe"
)

const (
	// spreadTimeout is how long an open waits for stripes that are asked for by their number.
	spreadTimeout = 10 * time.Second

	// lightStreams is how many streams have stripes because they have crossed earlyBytes once. A bastion lets stripe.MaxStreams, and the rest of them is
	// left to heavy ones: a pool of connections to a database would have all otherwise, for as long as it stands.
	lightStreams = 12

	// stripeTries is how often a stripe is opened on one side connection where it is refused, or ends soon, again and again. The delays before them come to
	// a quarter of a minute.
	stripeTries = 5
)

// Budget is memory for streams with stripes.
type Budget = stripe.Budget

// NewBudget returns what all tunnels of a process should share: 128 MiB. One SSH connection gets half of it, which is four long transfers at once.
func NewBudget() *Budget { return stripe.NewBudget(128<<20, 64<<20) }

// stream makes a stream of a channel that is carried for somebody: one that may be spread, if the line is worth it.
func (c *connection) stream(ctx context.Context, ch ssh.Channel, reqs <-chan *ssh.Request) relay.Stream {
	s := c.sides
	if use := s.use(); use != useUnknown && use != useStripes || !c.channel.EndOfData {
		return c.plain(ch, reqs)
	}
	x := &spreading{sides: s}
	cfg := stripe.Config{ChannelConfig: c.channel, Share: s.share, Moved: x.moved}
	if s.asked == AutoStripes {
		cfg.After = earlyBytes
		cfg.Crossed = func(str *stripe.Stream) { s.goes(func() { x.spread(str, func() {}) }) }
		return stripe.New(ch, reqs, cfg)
	}
	str := stripe.New(ch, reqs, cfg)
	all := make(chan struct{})
	s.goes(func() { x.spread(str, sync.OnceFunc(func() { close(all) })) })
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

// spreading is a stream that is given stripes, or may be.
type spreading struct {
	user
	*sides
	*stripe.Stream // nil until there is something to do
	token          stripe.Token
	reserve        *side         // the first connection, as one that has a stripe as well
	settled        chan struct{} // has something in it when a seat is another's or nobody's; nil before
}

// moved takes note of bytes that have moved. Whoever moves again after a while, or more than was thought, may be due more stripes.
func (x *spreading) moved(bytes uint64) {
	if x.move(bytes) {
		x.leave(func() {})
	}
}

// spread gives the stream its stripes, and others in the place of those that end, until it has ended itself. It calls enough when the stream has
// as many as it is to have, or as there are to be had now.
func (x *spreading) spread(str *stripe.Stream, enough func()) {
	defer enough()
	x.Stream = str
	if !x.known() || x.key == nil {
		return
	}
	x.starts()
	if !x.admitted(enough) {
		return
	}
	defer x.part(&x.user)
	x.need()
	var err error
	if x.token, err = str.Offer(); err != nil {
		x.log.Debug("a stream is not spread", "err", err)
		return
	}
	x.reserve = &side{connection: x.first}
	x.run(enough)
}

// admitted waits until the stream is one of those that may have stripes, and reports false if it has ended.
func (x *spreading) admitted(enough func()) bool {
	for now := true; ; now = false {
		x.mu.Lock()
		most := stripe.MaxStreams
		if x.asked == AutoStripes && !x.isHeavy() {
			most = lightStreams
		}
		admitted := len(x.users) < most && (now || x.moves(time.Now()))
		if admitted {
			x.join(&x.user)
		}
		changed := x.changed
		x.mu.Unlock()
		if admitted {
			return true
		}
		enough()
		select {
		case <-changed:
		case <-x.Done():
			return false
		case <-x.ctx.Done():
			return false
		}
	}
}

// run has stripes opened. It sleeps while nothing has changed, but to try again where one was refused or has ended, and to see who has become quiet while
// the stream moves and has fewer than there could be.
func (x *spreading) run(enough func()) {
	ctx, cancel := context.WithCancel(x.ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	x.settled = make(chan struct{}, 1)
	for {
		p := x.choose()
		for _, side := range p.next {
			wg.Go(func() { x.attach(ctx, side) })
		}
		if !p.more {
			enough()
		}
		if !x.wait(ctx, p) {
			return
		}
	}
}

// wait returns when the plan is to be made anew, and reports false if the stream has ended.
func (x *spreading) wait(ctx context.Context, p plan) bool {
	var again <-chan time.Time
	if p.after > 0 {
		late := time.NewTimer(p.after)
		defer late.Stop()
		again = late.C
	}
	select {
	case <-p.changed:
	case <-x.settled:
	case <-again:
	case <-x.Done():
		return false
	case <-ctx.Done():
		return false
	}
	return true
}

// attach opens a stripe on a side connection, in the seat that it has there.
func (x *spreading) attach(ctx context.Context, at *side) {
	ch, reqs, err := at.openChannel(ctx, "a stripe", stripe.ChannelType, x.token.Payload())
	if err == nil {
		x.sit(at) // before it can end
		err = x.Attach(ch, reqs, at == x.reserve, func() { x.lose(at) })
	}
	if err != nil {
		x.log.Debug("a stream has one stripe less", "err", err)
		x.lose(at)
	}
}

// settle does something with s.mu held that only the stream itself has to know.
func (x *spreading) settle(do func()) {
	x.mu.Lock()
	do()
	x.mu.Unlock()
	select {
	case x.settled <- struct{}{}:
	default:
	}
}

// sit takes note that there is a stripe.
func (x *spreading) sit(at *side) {
	x.settle(func() {
		if seat := x.on[at]; seat != nil {
			seat.since = time.Now()
		}
	})
}

// lose takes note that there is none, or none any more.
func (x *spreading) lose(at *side) {
	x.settle(func() {
		if seat := x.on[at]; seat != nil {
			seat.leave(time.Now())
		}
	})
}
