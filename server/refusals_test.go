package server

import (
	"net/netip"
	"testing"

	"github.com/culvert-ssh/culvert/audit"
)

func refusalOf(n int) (netip.Prefix, audit.ConnectionRefused) {
	addr := netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
	return netip.PrefixFrom(addr, 32), audit.ConnectionRefused{Client: netip.AddrPortFrom(addr, 1024), Reason: "MaxStartups"}
}

func TestManyRefusalsAreFewEvents(t *testing.T) {
	r := newRefusals()
	source, e := refusalOf(1)
	at := 0
	for range 10_000 {
		if r.add(source, e) {
			at++
		}
	}
	if at != 1 {
		t.Errorf("put on record at once: got %d, want the first", at)
	}
	if got := r.due(); len(got) != 1 || got[0].Count != 9_999 || got[0].Client != e.Client || got[0].Reason != e.Reason {
		t.Errorf("due: got %+v, want 9999 of %v", got, e)
	}
	if got := r.due(); len(got) != 0 || !r.idle() {
		t.Errorf("an interval later: got %+v, want nothing left", got)
	}
	if !r.add(source, e) {
		t.Error("the next one is not put on record at once")
	}
}

func TestNoRefusalIsLost(t *testing.T) {
	r := newRefusals()
	var (
		events     int
		recorded   int
		add        = func(e audit.ConnectionRefused) { events, recorded = events+1, recorded+max(1, e.Count) }
		refused    = 20 * maxRefusedSources
		perEachSet = 2 * maxRefusedSources
	)
	for n := range refused {
		source, e := refusalOf(n % perEachSet)
		if r.add(source, e) {
			add(e)
		}
	}
	for _, e := range r.due() {
		add(e)
	}
	if most := 2*maxRefusedSources + 1; recorded != refused || events > most {
		t.Errorf("got %d refusals in %d events, want %d in %d at most", recorded, events, refused, most)
	}
	if len(r.due()) != 0 || !r.idle() {
		t.Error("something is left")
	}
}

func TestRefusalsAreCountedWhenTheServerStops(t *testing.T) {
	b := newBastion(t)
	b.cfg.MaxStartups = Startups{1, 100, 1}
	b.start()
	b.events.waitFor(b.connect())
	for range 5 {
		gone(t, b.connect())
	}
	b.events.wait("connection.refused", "reason", "MaxStartups")
	if err := b.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	total := 0
	b.events.each("connection.refused", func(e event) {
		n, _ := e["count"].(float64)
		total += max(1, int(n))
	})
	if total != 5 || b.events.count("connection.refused") != 2 {
		t.Errorf("got %d refusals in %d events, want 5 in 2", total, b.events.count("connection.refused"))
	}
}
