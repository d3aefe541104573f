package activity

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/culvert-ssh/culvert/relay"
)

const (
	// sampleEvery is how often the counters are looked at while something is counted.
	sampleEvery = time.Second

	// keptEnded is how many transfers a Snapshot tells of that have ended.
	keptEnded = 20
)

// Board has the meters of one process. The zero Board is ready to use, and a nil one keeps nothing.
type Board struct {
	// OnEnd is told of each transfer that ends, by the one who ends it. It must be set before anything is counted. If nil, nobody is told.
	OnEnd func(Ended)

	mu      sync.Mutex
	tunnels []*TunnelMeter
	ended   []Ended
	series  map[*series]bool // those that are sampled
	wake    chan struct{}    // closed when there is one again; nil if nobody waits
	ids     int64
}

// Tunnel begins to count what goes through t, of which the bytes and connections mean nothing here. Who asks for the same once more is given
// the same meter: a forward may have several sockets. The caller must call Close.
func (b *Board) Tunnel(t Tunnel) *TunnelMeter {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	t = Tunnel{Link: t.Link, Kind: t.Kind, FTP: t.FTP, Listen: t.Listen, Target: t.Target}
	for _, m := range b.tunnels {
		if m.is(t) {
			m.users++
			return m
		}
	}
	m := &TunnelMeter{board: b, tunnel: t, users: 1}
	b.tunnels = append(b.tunnels, m)
	return m
}

// Snapshot returns what runs now.
func (b *Board) Snapshot() Snapshot {
	s := Snapshot{At: time.Now(), Tunnels: []Tunnel{}}
	if b == nil {
		return s
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.tunnels {
		s.Tunnels = append(s.Tunnels, m.shown())
	}
	s.Ended = slices.Clone(b.ended)
	return s
}

// Run samples the counters until ctx is done: without it, no rate is known. While nothing is counted, it sleeps.
func (b *Board) Run(ctx context.Context) {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		idle := b.sample(time.Now())
		if idle == nil {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-idle:
			tick.Reset(sampleEvery)
		}
	}
}

// sample looks at all counters. If there are none, it returns what is closed when there is one.
func (b *Board) sample(now time.Time) (idle <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for s := range b.series {
		s.sample(now)
	}
	if len(b.series) > 0 {
		return nil
	}
	if b.wake == nil {
		b.wake = make(chan struct{})
	}
	return b.wake
}

// watch begins to sample a counter. It needs b.mu.
func (b *Board) watch(count *relay.Counters, now time.Time) *series {
	s := newSeries(count, now)
	if b.series == nil {
		b.series = make(map[*series]bool)
	}
	b.series[s] = true
	if b.wake != nil {
		close(b.wake)
		b.wake = nil
	}
	return s
}

// end keeps a transfer that has ended for a while. It needs b.mu.
func (b *Board) end(e Ended) {
	if len(b.ended) == keptEnded {
		b.ended = slices.Delete(b.ended, 0, 1)
	}
	b.ended = append(b.ended, e)
}

// next needs b.mu.
func (b *Board) next() int64 {
	b.ids++
	return b.ids
}
