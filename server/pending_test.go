package server

import (
	"cmp"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// slowPending is the obvious way to do what pending does: it looks at every place each time.
type slowPending []*slowPlace

type slowPlace struct {
	source    netip.Prefix
	since     time.Time
	arrival   int
	exchanged bool
}

func (s slowPending) of(network netip.Prefix) (all []*slowPlace) {
	for _, p := range s {
		if fair(p.source) == network {
			all = append(all, p)
		}
	}
	return all
}

// bySpeed puts those first whose key exchange isn't over, and then the older ones.
func bySpeed(a, b *slowPlace) int {
	if a.exchanged != b.exchanged {
		if b.exchanged {
			return -1
		}
		return 1
	}
	return a.arrival - b.arrival
}

// dispensable is the text of pending's doc comment, word for word.
func (s slowPending) dispensable(newcomer netip.Prefix, now time.Time) *slowPlace {
	firsts := make(map[netip.Prefix]*slowPlace)
	most := 0
	for _, p := range s {
		network := s.of(fair(p.source))
		most = max(most, len(network))
	}
	for _, p := range s {
		if network := s.of(fair(p.source)); len(network) == most {
			firsts[fair(p.source)] = slices.MinFunc(network, bySpeed)
		}
	}
	if most >= len(s.of(newcomer))+2 {
		return slices.MinFunc(slices.Collect(maps.Values(firsts)), func(a, b *slowPlace) int { return cmp.Compare(a.arrival, b.arrival) })
	}
	for _, p := range s {
		if !p.exchanged && now.Sub(p.since) > tooLong && !slices.ContainsFunc(s, func(o *slowPlace) bool { return !o.exchanged && o.arrival < p.arrival }) {
			return p
		}
	}
	return nil
}

func (s slowPending) count(source netip.Prefix) (n int) {
	for _, p := range s {
		if p.source == source {
			n++
		}
	}
	return n
}

func (s *slowPending) leave(p *slowPlace) {
	*s = slices.DeleteFunc(*s, func(o *slowPlace) bool { return o == p })
}

func (s *slowPending) admit(sh *sharing, addr netip.Addr, random int, now time.Time, arrival int) (p, out *slowPlace, reason string) {
	source := sh.blocks.source(addr)
	if sh.perSource > 0 && s.count(source) >= sh.perSource {
		return nil, nil, refusedPerSource
	}
	if sh.startups.refuses(len(*s), random) {
		if out = s.dispensable(fair(source), now); out == nil {
			return nil, nil, refusedStartups
		}
		s.leave(out)
	}
	p = &slowPlace{source: source, since: now, arrival: arrival}
	*s = append(*s, p)
	return p, out, ""
}

func TestPendingAgreesWithASlowTable(t *testing.T) {
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 2))
		share := &sharing{startups: Startups{1 + random.IntN(5), random.IntN(101), 5 + random.IntN(20)}, perSource: random.IntN(6), blocks: blocks{31, 62 + random.IntN(6)}}
		fast, slow, now := newPending(), slowPending{}, time.Now()
		var pairs []pair
		address := func() netip.Addr {
			if random.IntN(2) == 0 {
				return netip.AddrFrom4([4]byte{192, 0, 2, byte(min(random.IntN(9), random.IntN(9)))})
			}
			return netip.AddrFrom16([16]byte{0x20, 1, 7: byte(random.IntN(4)), 8: byte(random.IntN(4)) << 6})
		}
		for step := range 400 {
			now = now.Add(time.Duration(random.IntN(3000)) * time.Millisecond)
			i := 0
			if len(pairs) > 0 {
				i = random.IntN(len(pairs))
			}
			switch what := random.IntN(10); {
			case what < 6 || len(pairs) == 0:
				addr, dice := address(), random.IntN(100)
				got, gotOut, gotReason := fast.admit(share, addr, dice, now)
				want, wantOut, wantReason := slow.admit(share, addr, dice, now, step)
				if gotReason != wantReason || (got == nil) != (want == nil) || !samePlace(pairs, gotOut, wantOut) {
					t.Fatalf("seed %d, step %d, %v: got %+v, out %+v, %q; want %+v, out %+v, %q", seed, step, addr, got, gotOut, gotReason, want, wantOut, wantReason)
				}
				pairs = slices.DeleteFunc(pairs, func(p pair) bool { return p.fast == gotOut })
				if got != nil {
					pairs = append(pairs, pair{got, want})
				}
			case what < 8:
				fast.exchanged(pairs[i].fast)
				pairs[i].slow.exchanged = true
			default:
				fast.leave(pairs[i].fast)
				fast.leave(pairs[i].fast) // which is no other than once
				slow.leave(pairs[i].slow)
				pairs = slices.Delete(pairs, i, i+1)
			}
			if fast.places != len(slow) || fast.places > share.startups.Full {
				t.Fatalf("seed %d, step %d: %d places, want %d, and no more than %d", seed, step, fast.places, len(slow), share.startups.Full)
			}
		}
		for _, p := range pairs {
			fast.leave(p.fast)
		}
		if fast.places+len(fast.held)+len(fast.networks)+len(fast.most)+fast.slow.Len() != 0 {
			t.Errorf("seed %d: something is left: %+v", seed, fast)
		}
	}
}

// pair is the same place in both tables.
type pair struct {
	fast *place
	slow *slowPlace
}

func samePlace(pairs []pair, fast *place, slow *slowPlace) bool {
	return fast == nil && slow == nil || slices.Contains(pairs, pair{fast, slow})
}

// flood admits so many connections from addr.
func flood(p *pending, s *sharing, addr netip.Addr, n int, now time.Time) {
	for range n {
		p.admit(s, addr, 0, now)
	}
}

var sshdSharing = &sharing{startups: Startups{10, 30, 100}, blocks: blocks{32, 128}}

func TestOneNetworkThatTakesAllPlacesStopsNobody(t *testing.T) {
	for _, attacker := range []func(n int) netip.Addr{
		func(int) netip.Addr { return netip.MustParseAddr("192.0.2.1") },
		func(n int) netip.Addr { // all of a /64
			return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 14: byte(n >> 8), 15: byte(n)})
		},
	} {
		p, now := newPending(), time.Now()
		for n := range 10_000 {
			flood(p, sshdSharing, attacker(n), 1, now)
		}
		if p.places < 10 {
			t.Fatalf("the attacker has %d places only", p.places)
		}
		flood(p, &sharing{startups: Startups{100, 100, 100}, blocks: blocks{32, 128}}, attacker(0), 100, now) // as bad as it gets
		for n := range 40 {
			got, out, reason := p.admit(sshdSharing, netip.AddrFrom4([4]byte{198, 51, 100, byte(n)}), 0, now)
			if got == nil || out == nil || out.network != nil {
				t.Fatalf("honest client %d: got %v, %v, %q, want the place of an attacker", n, got, out, reason)
			}
		}
	}
}

func TestEquallyManyDontPushEachOtherOut(t *testing.T) {
	p, now := newPending(), time.Now()
	for n := range 200 {
		flood(p, sshdSharing, netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}), 1, now)
	}
	newcomer := netip.MustParseAddr("198.51.100.1")
	if got, _, reason := p.admit(sshdSharing, newcomer, 0, now.Add(tooLong)); got != nil || reason != refusedStartups {
		t.Errorf("got %v, %q, want %q", got, reason, refusedStartups)
	}
	// But who takes too long for the key exchange goes.
	if got, out, _ := p.admit(sshdSharing, newcomer, 0, now.Add(tooLong+1)); got == nil || out == nil || out.arrival != 1 {
		t.Errorf("got %v, %v, want the place of the oldest", got, out)
	}
	for e := p.slow.Front(); e != nil; e = p.slow.Front() {
		p.exchanged(e.Value.(*place))
	}
	if got, _, reason := p.admit(sshdSharing, netip.MustParseAddr("198.51.100.2"), 0, now.Add(time.Hour)); got != nil {
		t.Errorf("got %v, %q, want nobody put out who is past the key exchange", got, reason)
	}
}

func TestPerSourceMaxStartups(t *testing.T) {
	s := &sharing{startups: Startups{10, 30, 100}, perSource: 2, blocks: blocks{24, 128}}
	p, now := newPending(), time.Now()
	flood(p, s, netip.MustParseAddr("192.0.2.1"), 5, now)
	if p.places != 2 {
		t.Errorf("got %d places, want 2", p.places)
	}
	for _, tt := range []struct{ addr, want string }{{"192.0.2.99", refusedPerSource}, {"192.0.3.1", ""}, {"2001:db8::1", ""}, {"2001:db8::2", ""}} {
		if _, _, reason := p.admit(s, netip.MustParseAddr(tt.addr), 0, now); reason != tt.want {
			t.Errorf("%s: got %q, want %q", tt.addr, reason, tt.want)
		}
	}
}
