package server

import (
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/culvert-ssh/culvert/policy"
)

// sshdPenalties are the defaults of OpenSSH 10.
func sshdPenalties() Penalties {
	return Penalties{
		Enabled: true,
		Crash:   90 * time.Second, AuthFail: 5 * time.Second, InvalidUser: 5 * time.Second, NoAuth: time.Second,
		GraceExceeded: 10 * time.Second, RefuseConnection: 10 * time.Second,
		Min: 15 * time.Second, Max: 10 * time.Minute, MaxSources4: 65536, MaxSources6: 65536,
	}
}

// slowPenalties is the obvious way to do what a penaltyTable does, with sshd's srclimit.c in mind: everything is looked at each time.
type slowPenalties map[netip.Prefix]penalty

func (s slowPenalties) ofFamily(v4 bool) map[netip.Prefix]penalty {
	part := maps.Clone(s)
	maps.DeleteFunc(part, func(p netip.Prefix, _ penalty) bool { return p.Addr().Is4() != v4 })
	return part
}

func (s slowPenalties) expire(now time.Time) {
	maps.DeleteFunc(s, func(_ netip.Prefix, p penalty) bool { return p.until.Before(now) })
}

func (s slowPenalties) full(rules *penaltyRules, v4 bool) (deny, full bool, over int) {
	limit, deny := rules.MaxSources6, rules.DenyOverflow6
	if v4 {
		limit, deny = rules.MaxSources4, rules.DenyOverflow4
	}
	n := len(s.ofFamily(v4))
	return deny, n >= limit, n - limit
}

func (s slowPenalties) penalise(rules *penaltyRules, addr netip.Addr, class string, now time.Time) {
	s.expire(now)
	if rules.of(class) == 0 || rules.exempt.Contains(addr) {
		return
	}
	if deny, full, _ := s.full(rules, addr.Is4()); deny && full {
		return
	}
	source := rules.blocks.source(addr)
	p, known := s[source]
	if !known {
		p = penalty{source: source, until: now}
	}
	p.class, p.until = class, p.until.Add(rules.of(class))
	if p.until.Sub(now) > rules.Max {
		p.until = now.Add(rules.Max)
	}
	if p.until.Sub(now) > rules.Min {
		p.active = true
	}
	s[source] = p
	for _, _, over := s.full(rules, addr.Is4()); over > 0; over-- {
		first := slices.MinFunc(slices.Collect(maps.Values(s.ofFamily(addr.Is4()))), func(a, b penalty) int {
			if c := a.until.Compare(b.until); c != 0 {
				return c
			}
			return a.source.Compare(b.source)
		})
		delete(s, first.source)
	}
}

func (s slowPenalties) refuses(rules *penaltyRules, addr netip.Addr, now time.Time) (string, bool) {
	s.expire(now)
	if rules.exempt.Contains(addr) {
		return "", false
	}
	if deny, full, _ := s.full(rules, addr.Is4()); deny && full {
		return classOverflow, true
	}
	if p := s[rules.blocks.source(addr)]; p.active {
		return p.class, true
	}
	return "", false
}

func TestPenaltiesAgreeWithASlowTable(t *testing.T) {
	classes := []string{classCrash, classAuthFail, classInvalidUser, classNoAuth, classGraceExceeded, classRefused, "nonsense"}
	exempt, err := policy.ParseAddressList("192.0.2.3,2001:db8::/66")
	if err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 1))
		rules := &penaltyRules{Penalties: sshdPenalties(), blocks: blocks{30 + random.IntN(3), 60 + random.IntN(10)}, exempt: exempt}
		rules.MaxSources4, rules.MaxSources6 = 1+random.IntN(5), 1+random.IntN(5)
		rules.DenyOverflow4, rules.DenyOverflow6 = random.IntN(2) == 0, random.IntN(2) == 0
		table, slow, now := newPenaltyTable(), slowPenalties{}, time.Now()
		for step := range 500 {
			now = now.Add(time.Duration(random.IntN(8)) * time.Second)
			addr := netip.AddrFrom4([4]byte{192, 0, 2, byte(random.IntN(16))})
			if random.IntN(2) == 0 {
				addr = netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 7: byte(random.IntN(16)), 8: byte(random.IntN(4)) << 6})
			}
			class := classes[random.IntN(len(classes))]
			table.penalise(rules, addr, class, now)
			slow.penalise(rules, addr, class, now)
			gotClass, got := table.refuses(rules, addr, now)
			wantClass, want := slow.refuses(rules, addr, now)
			if got != want || gotClass != wantClass || len(table.list(now)) != len(slow) {
				t.Fatalf("seed %d, step %d, %v: got %v %q and %d sources, want %v %q and %d",
					seed, step, addr, got, gotClass, len(table.list(now)), want, wantClass, len(slow))
			}
		}
		for _, f := range []*penaltyFamily{&table.v4, &table.v6} {
			if len(f.next) != len(f.sources) {
				t.Errorf("seed %d: %d in the heap, %d in the map", seed, len(f.next), len(f.sources))
			}
		}
	}
}

func TestPenaltiesAddUpUntilTheyCount(t *testing.T) {
	rules := &penaltyRules{Penalties: sshdPenalties(), blocks: blocks{32, 128}}
	table, now, addr := newPenaltyTable(), time.Now(), netip.MustParseAddr("192.0.2.1")
	for n, want := range []bool{false, false, false, true, true} {
		p, ok := table.penalise(rules, addr, classAuthFail, now)
		if class, refused := table.refuses(rules, addr, now); !ok || p.Active != want || refused != want || refused && class != classAuthFail {
			t.Errorf("failure %d: got %+v, %v, refused %v, want %v", n+1, p, ok, refused, want)
		}
	}
	if _, refused := table.refuses(rules, addr, now.Add(24*time.Second)); !refused {
		t.Error("after 24 s: let in, want it refused for 25 s")
	}
	if _, refused := table.refuses(rules, addr, now.Add(26*time.Second)); refused {
		t.Error("after 26 s: still refused")
	}
	for range 1000 {
		table.penalise(rules, addr, classCrash, now)
	}
	if got := table.list(now); len(got) != 1 || got[0].Left != rules.Max {
		t.Errorf("after many crashes: got %v, want %v", got, rules.Max)
	}
	if _, refused := table.refuses(rules, netip.MustParseAddr("192.0.2.2"), now); refused {
		t.Error("its neighbour is refused")
	}
}

func TestPenaltiesAreForgotten(t *testing.T) {
	rules := &penaltyRules{Penalties: sshdPenalties(), blocks: blocks{24, 64}}
	table, now := newPenaltyTable(), time.Now()
	addr := netip.MustParseAddr("192.0.2.1")
	table.penalise(rules, addr, classCrash, now)
	if table.forget(netip.MustParseAddr("198.51.100.1")) {
		t.Error("a source without penalties was forgotten")
	}
	if !table.forget(netip.MustParseAddr("::ffff:192.0.2.77")) || table.forget(addr) {
		t.Error("want its network forgotten, once")
	}
	if _, refused := table.refuses(rules, addr, now); refused {
		t.Error("it is still refused")
	}
}

func TestNobodyIsPenalisedWithoutPenalties(t *testing.T) {
	rules := &penaltyRules{blocks: blocks{32, 128}}
	table, addr := newPenaltyTable(), netip.MustParseAddr("2001:db8::1")
	for range 100 {
		if p, ok := table.penalise(rules, addr, classCrash, time.Now()); ok {
			t.Fatalf("got %+v", p)
		}
	}
	if _, refused := table.refuses(rules, addr, time.Now()); refused {
		t.Error("somebody is refused")
	}
}
