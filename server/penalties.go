package server

import (
	"container/heap"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/culvert-ssh/culvert/policy"
)

// Penalties is PerSourcePenalties: for how long a source is refused after each kind of misbehaviour. The times of one source add
// up. The zero value penalises nobody.
type Penalties struct {
	Enabled                                                               bool
	Crash, AuthFail, InvalidUser, NoAuth, GraceExceeded, RefuseConnection time.Duration

	Min, Max                     time.Duration // a source is refused once more than Min adds up, and for Max at most
	MaxSources4, MaxSources6     int           // that are remembered
	DenyOverflow4, DenyOverflow6 bool          // if so many are, everybody is refused; else the one that ends first is forgotten
}

// The classes of misbehaviour, by their names in PerSourcePenalties.
const (
	classCrash         = "crash"
	classAuthFail      = "authfail"
	classInvalidUser   = "invaliduser"
	classNoAuth        = "noauth"
	classGraceExceeded = "grace-exceeded"
	classRefused       = "refuseconnection"
)

// of returns the penalty for one misbehaviour, zero if there is none.
func (p *Penalties) of(class string) time.Duration {
	switch class {
	case classCrash:
		return p.Crash
	case classAuthFail:
		return p.AuthFail
	case classInvalidUser:
		return p.InvalidUser
	case classNoAuth:
		return p.NoAuth
	case classGraceExceeded:
		return p.GraceExceeded
	case classRefused:
		return p.RefuseConnection
	}
	return 0
}

func (p *Penalties) check() error {
	if p.Enabled && (p.Max <= 0 || p.MaxSources4 < 1 || p.MaxSources6 < 1) {
		return errors.New("server: PerSourcePenalties: max, max-sources4 and max-sources6 are required")
	}
	return nil
}

// penaltyRules are all that decides on penalties.
type penaltyRules struct {
	Penalties
	blocks blocks
	exempt policy.AddressList // PerSourcePenaltyExemptList
}

// blocks is PerSourceNetBlockSize: how many leading bits of an address make the source.
type blocks struct{ bits4, bits6 int }

func (b blocks) check() error {
	if b.bits4 < 0 || b.bits4 > 32 || b.bits6 < 0 || b.bits6 > 128 {
		return fmt.Errorf("server: PerSourceNetBlockSize %d:%d makes no sense", b.bits4, b.bits6)
	}
	return nil
}

// source returns the network that addr is counted under.
func (b blocks) source(addr netip.Addr) netip.Prefix {
	bits := b.bits6
	if addr = addr.Unmap(); addr.Is4() {
		bits = b.bits4
	}
	source, err := addr.Prefix(bits)
	if err != nil { // bits are checked, and so are addresses
		return netip.PrefixFrom(addr.WithZone(""), addr.BitLen())
	}
	return source
}

// Penalised is a source with a penalty.
type Penalised struct {
	Source netip.Prefix
	Class  string        // of its last misbehaviour
	Left   time.Duration // until it is forgotten
	Active bool          // it is refused; else its penalties are remembered and don't count yet
}

// penaltyStore remembers penalties. Bastions that stand side by side could share one.
type penaltyStore interface {
	// penalise adds the penalty for a misbehaviour. If there is none for it, ok is false.
	penalise(rules *penaltyRules, addr netip.Addr, class string, now time.Time) (p Penalised, ok bool)

	// refuses tells whether addr is refused now, and why.
	refuses(rules *penaltyRules, addr netip.Addr, now time.Time) (class string, refused bool)

	// list returns who has penalties, those first that last longest; forget takes away those of a source that contains addr.
	list(now time.Time) []Penalised
	forget(addr netip.Addr) bool
}

// classOverflow is why everybody is refused when too many are penalised.
const classOverflow = "too many penalised addresses"

// penaltyTable is a penaltyStore in memory. It has no clock and no lock.
type penaltyTable struct{ v4, v6 penaltyFamily }

// penaltyFamily is the part of an address family.
type penaltyFamily struct {
	sources map[netip.Prefix]*penalty
	next    penaltyHeap // the one that ends first is on top
}

type penalty struct {
	source netip.Prefix
	class  string
	until  time.Time
	active bool
	index  int // in next
}

func newPenaltyTable() *penaltyTable {
	family := func() penaltyFamily { return penaltyFamily{sources: make(map[netip.Prefix]*penalty)} }
	return &penaltyTable{v4: family(), v6: family()}
}

// family returns the part for addr, and what is to be done when it is full.
func (t *penaltyTable) family(rules *penaltyRules, addr netip.Addr) (f *penaltyFamily, limit int, denyOverflow bool) {
	if addr.Unmap().Is4() {
		return &t.v4, rules.MaxSources4, rules.DenyOverflow4
	}
	return &t.v6, rules.MaxSources6, rules.DenyOverflow6
}

func (t *penaltyTable) penalise(rules *penaltyRules, addr netip.Addr, class string, now time.Time) (Penalised, bool) {
	d := rules.of(class)
	if !rules.Enabled || d <= 0 || rules.exempt.Contains(addr) {
		return Penalised{}, false
	}
	f, limit, denyOverflow := t.family(rules, addr)
	f.expire(now)
	if denyOverflow && len(f.sources) >= limit {
		return Penalised{}, false
	}
	source := rules.blocks.source(addr)
	p := f.sources[source]
	if p == nil {
		p = &penalty{source: source, until: now}
		f.sources[source] = p
		heap.Push(&f.next, p)
	}
	p.class = class
	p.until = p.until.Add(d)
	if latest := now.Add(rules.Max); p.until.After(latest) {
		p.until = latest
	}
	p.active = p.active || p.until.Sub(now) > rules.Min
	heap.Fix(&f.next, p.index)
	for len(f.sources) > limit {
		f.drop(f.next[0])
	}
	return p.shown(now), true
}

func (t *penaltyTable) refuses(rules *penaltyRules, addr netip.Addr, now time.Time) (string, bool) {
	if !rules.Enabled || rules.exempt.Contains(addr) {
		return "", false
	}
	f, limit, denyOverflow := t.family(rules, addr)
	f.expire(now)
	if denyOverflow && len(f.sources) >= limit {
		return classOverflow, true
	}
	if p := f.sources[rules.blocks.source(addr)]; p != nil && p.active {
		return p.class, true
	}
	return "", false
}

func (t *penaltyTable) list(now time.Time) []Penalised {
	var all []Penalised
	for _, f := range []*penaltyFamily{&t.v4, &t.v6} {
		f.expire(now)
		for _, p := range f.next {
			all = append(all, p.shown(now))
		}
	}
	slices.SortFunc(all, func(a, b Penalised) int {
		if a.Left != b.Left {
			return int(max(-1, min(1, b.Left-a.Left)))
		}
		return a.Source.Compare(b.Source)
	})
	return all
}

func (t *penaltyTable) forget(addr netip.Addr) (found bool) {
	addr = addr.Unmap().WithZone("")
	for _, f := range []*penaltyFamily{&t.v4, &t.v6} {
		for _, p := range slices.Clone(f.next) {
			if p.source.Contains(addr) { // perhaps of another PerSourceNetBlockSize than today's
				f.drop(p)
				found = true
			}
		}
	}
	return found
}

// expire forgets what has ended.
func (f *penaltyFamily) expire(now time.Time) {
	for len(f.next) > 0 && f.next[0].until.Before(now) {
		f.drop(f.next[0])
	}
}

func (f *penaltyFamily) drop(p *penalty) {
	heap.Remove(&f.next, p.index)
	delete(f.sources, p.source)
}

func (p *penalty) shown(now time.Time) Penalised {
	return Penalised{Source: p.source, Class: p.class, Left: p.until.Sub(now), Active: p.active}
}

// penaltyHeap is a heap for package container/heap.
type penaltyHeap []*penalty

func (h penaltyHeap) Len() int { return len(h) }

func (h penaltyHeap) Less(i, j int) bool {
	if a, b := h[i], h[j]; !a.until.Equal(b.until) {
		return a.until.Before(b.until)
	}
	return h[i].source.Compare(h[j].source) < 0
}

func (h penaltyHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *penaltyHeap) Push(x any) {
	p := x.(*penalty)
	p.index = len(*h)
	*h = append(*h, p)
}

func (h *penaltyHeap) Pop() any {
	last := len(*h) - 1
	p := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return p
}
