package server

import (
	"container/heap"
	"container/list"
	"net/netip"
	"time"
)

// tooLong is how long the key exchange of a connection may take before its place goes to a newcomer who would find none otherwise.
const tooLong = 10 * time.Second

// fairBits is the longest prefix that counts as one network when places are shared out: whoever has one IPv6 address has all of its /64.
const fairBits = 64

// pending is who is connected and not authenticated. It decides who may come, and who must go for it. It has no clock and no lock.
//
// Where sshd refuses a newcomer at random (MaxStartups), the newcomer gets the place of somebody else if that makes things more even: of
// a connection from the network that holds the most places, if that network holds two more than the newcomer's. So one network that
// takes all places stops nobody else; and those who are evenly many don't push each other out, or nobody would get through. Many networks
// that hold one place each, and don't go on, lose it after tooLong.
type pending struct {
	places   int
	held     map[netip.Prefix]int      // places of each source, for PerSourceMaxStartups
	networks map[netip.Prefix]*network // for the sharing out
	most     networkHeap               // the one with most places is on top
	slow     *list.List                // places whose key exchange isn't over, oldest first
	arrivals uint64
}

// network is where places are shared out to.
type network struct {
	prefix          netip.Prefix
	slow, exchanged *list.List // places before and after the end of their key exchange, oldest first
	index           int        // in pending.most
}

// place is the place of one connection.
type place struct {
	source  netip.Prefix
	network *network // nil if the place is no longer held
	since   time.Time
	arrival uint64
	slow    *list.Element // in pending.slow; nil once the key exchange is over
	own     *list.Element // in a list of its network

	putOut func() // ends the connection; nil until there is one
}

// sharing is what pending needs to know to admit somebody.
type sharing struct {
	startups  Startups
	perSource int // PerSourceMaxStartups; if zero, there is no limit
	blocks    blocks
}

func newPending() *pending {
	return &pending{held: make(map[netip.Prefix]int), networks: make(map[netip.Prefix]*network), slow: list.New()}
}

// Why a connection is refused.
const (
	refusedStartups  = "MaxStartups"
	refusedPerSource = "PerSourceMaxStartups"
)

// admit gives a place to a connection from addr, perhaps that of another, which must be put out. Or it returns
// no place and why. The random number is from 0 to 99.
func (p *pending) admit(s *sharing, addr netip.Addr, random int, now time.Time) (admitted, out *place, reason string) {
	source := s.blocks.source(addr)
	if s.perSource > 0 && p.held[source] >= s.perSource {
		return nil, nil, refusedPerSource
	}
	if s.startups.refuses(p.places, random) {
		if out = p.dispensable(fair(source), now); out == nil {
			return nil, nil, refusedStartups
		}
		p.leave(out)
	}
	p.arrivals++
	admitted = &place{since: now, arrival: p.arrivals}
	admitted.slow = p.slow.PushBack(admitted)
	p.settle(admitted, source)
	return admitted, out, ""
}

// fair returns the network that shares places with others.
func fair(source netip.Prefix) netip.Prefix {
	return netip.PrefixFrom(source.Addr(), min(source.Bits(), fairBits)).Masked()
}

// dispensable returns the place that a newcomer from that network should have, or nil.
func (p *pending) dispensable(newcomer netip.Prefix, now time.Time) *place {
	if len(p.most) == 0 {
		return nil
	}
	has := 0
	if n := p.networks[newcomer]; n != nil {
		has = n.places()
	}
	if p.most[0].places() > has+1 {
		return p.most[0].first()
	}
	if oldest := p.slow.Front(); oldest != nil && now.Sub(oldest.Value.(*place).since) > tooLong {
		return oldest.Value.(*place)
	}
	return nil
}

// exchanged tells that the key exchange of a connection is over.
func (p *pending) exchanged(pl *place) {
	if pl.slow == nil || pl.network == nil {
		return
	}
	source := pl.source
	p.unsettle(pl)
	p.slow.Remove(pl.slow)
	pl.slow = nil
	p.settle(pl, source)
}

// leave gives a place back. It does nothing for one that was given back.
func (p *pending) leave(pl *place) {
	if pl.network == nil {
		return
	}
	p.unsettle(pl)
	if pl.slow != nil {
		p.slow.Remove(pl.slow)
		pl.slow = nil
	}
}

// settle counts a place for its source and network.
func (p *pending) settle(pl *place, source netip.Prefix) {
	prefix := fair(source)
	n := p.networks[prefix]
	if n == nil {
		n = &network{prefix: prefix, slow: list.New(), exchanged: list.New()}
		p.networks[prefix] = n
		n.index = -1
	}
	pl.source, pl.network = source, n
	pl.own = insert(n.list(pl), pl)
	p.held[source]++
	p.places++
	if n.index < 0 {
		heap.Push(&p.most, n)
	}
	heap.Fix(&p.most, n.index)
}

// insert keeps a list in the order of arrival. Nearly always the place is its last.
func insert(l *list.List, pl *place) *list.Element {
	for e := l.Back(); e != nil; e = e.Prev() {
		if e.Value.(*place).arrival < pl.arrival {
			return l.InsertAfter(pl, e)
		}
	}
	return l.PushFront(pl)
}

func (p *pending) unsettle(pl *place) {
	n := pl.network
	n.list(pl).Remove(pl.own)
	pl.network = nil
	p.places--
	if p.held[pl.source]--; p.held[pl.source] == 0 {
		delete(p.held, pl.source)
	}
	heap.Fix(&p.most, n.index)
	if n.places() == 0 {
		heap.Remove(&p.most, n.index)
		delete(p.networks, n.prefix)
	}
}

func (n *network) list(pl *place) *list.List {
	if pl.slow != nil {
		return n.slow
	}
	return n.exchanged
}

func (n *network) places() int { return n.slow.Len() + n.exchanged.Len() }

// first returns the place that the network loses first: the oldest that hasn't got as far as others.
func (n *network) first() *place {
	for _, l := range []*list.List{n.slow, n.exchanged} {
		if e := l.Front(); e != nil {
			return e.Value.(*place)
		}
	}
	return nil
}

// networkHeap is a heap for package container/heap. Of networks with as many places, the one comes first whose first place is the oldest.
type networkHeap []*network

func (h networkHeap) Len() int { return len(h) }

func (h networkHeap) Less(i, j int) bool {
	a, b := h[i], h[j]
	if a.places() != b.places() {
		return a.places() > b.places()
	}
	if a.places() == 0 {
		return false
	}
	return a.first().arrival < b.first().arrival
}

func (h networkHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *networkHeap) Push(x any) {
	n := x.(*network)
	n.index = len(*h)
	*h = append(*h, n)
}

func (h *networkHeap) Pop() any {
	last := len(*h) - 1
	n := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return n
}
