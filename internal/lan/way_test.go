package lan

import (
	"encoding/binary"
	"strings"
	"testing"
	"time"
)

func TestWayIsRead(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Way{
		"50ms":                         {Delay: 25 * time.Millisecond},
		"0s,loss=0.01":                 {Loss: 0.01},
		"50ms,loss=0.1%,rate=20M":      {Delay: 25 * time.Millisecond, Loss: 0.001, Rate: 2_500_000},
		"1ms,rate=1.5G,queue=250K":     {Delay: 500 * time.Microsecond, Rate: 187_500_000, Queue: 250_000},
		"1ms,bad=4,badloss=5%":         {Delay: 500 * time.Microsecond, Bad: 4, BadLoss: 0.05},
		"1ms,bad=3,badrate=80K":        {Delay: 500 * time.Microsecond, Bad: 3, BadRate: 10_000},
		"1ms,loss=100%,bad=1,queue=10": {Delay: 500 * time.Microsecond, Loss: 1, Bad: 1, Queue: 10},
	} {
		if got, err := ParseWay(text); err != nil || got != want {
			t.Errorf("%q: got %+v, %v; want %+v", text, got, err, want)
		}
	}
	for text, why := range map[string]string{
		"":                "no round trip",
		"50":              "no round trip",
		"-1s":             "no round trip",
		"1s,loss":         "loss: \"\" is no part",
		"1s,loss=2":       "no part of all",
		"1s,badloss=NaN":  "no part of all",
		"1s,rate=0":       "no number",
		"1s,rate=7":       "no number",
		"1s,rate=fast":    "no number",
		"1s,queue=1e300G": "no number",
		"1s,jitter=1ms":   `"jitter" is none of loss`,
	} {
		if _, err := ParseWay(text); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: got %v, want %s", text, err, why)
		}
	}
}

// segment is a packet of TCP from a port to another, with so many bytes behind the virtio_net_hdr.
func segment(from, to uint16, size int) []byte {
	p := make([]byte, virtioHeader+size)
	ip := p[virtioHeader:]
	ip[0], ip[9] = 4<<4|5, 6
	copy(ip[12:], []byte{10, 0, 0, byte(from), 10, 0, 0, byte(to)})
	binary.BigEndian.PutUint16(ip[20:], from)
	binary.BigEndian.PutUint16(ip[22:], to)
	return p
}

// arrivals sends n packets, one after each interval, and returns after what time each that isn't lost arrives.
func arrivals(d *direction, n int, interval time.Duration, packet []byte) (all []time.Duration) {
	began := time.Unix(0, 0)
	for i := range n {
		now := began.Add(time.Duration(i) * interval)
		if due, ok := d.meet(now, packet); ok {
			all = append(all, due.Sub(now))
		}
	}
	return all
}

func TestLossIsAsLargeAsSaidAndAlwaysTheSame(t *testing.T) {
	t.Parallel()
	w := Way{Delay: time.Second, Loss: 0.01}
	got := arrivals(w.newDirection(1, newFlows()), 100_000, 0, segment(1, 2, 1500))
	again := arrivals(w.newDirection(1, newFlows()), 100_000, 0, segment(1, 2, 1500))
	if lost := 100_000 - len(got); lost < 800 || lost > 1200 || len(again) != len(got) {
		t.Errorf("%d and %d packets were lost of 100000, want about 1000, twice the same", lost, 100_000-len(again))
	}
	if got[0] != w.Delay {
		t.Errorf("it took %v, want %v", got[0], w.Delay)
	}
}

// TestRateHasPacketsWaitUntilTheQueueIsFull sends twice as much as goes over the line.
func TestRateHasPacketsWaitUntilTheQueueIsFull(t *testing.T) {
	t.Parallel()
	const sent = 10_000
	w := Way{Delay: time.Second, Rate: 1_000_000, Queue: 100_000}
	got := arrivals(w.newDirection(1, newFlows()), sent, 500*time.Microsecond, segment(1, 2, 1000))
	if n := len(got); n < sent/2 || n > sent/2+w.Queue/1000+1 {
		t.Errorf("%d of %d packets arrive, want half, and a queue", n, sent)
	}
	if first, most := got[0], got[len(got)-1]; first != w.Delay+time.Millisecond || most > w.Delay+101*time.Millisecond || most < w.Delay+95*time.Millisecond {
		t.Errorf("the first packet took %v, the last one %v: want a second, and a queue of 100 ms at the end", first, most)
	}
}

// TestEachFourthConnectionIsOnTheBadPath sends on eight connections, in both directions.
func TestEachFourthConnectionIsOnTheBadPath(t *testing.T) {
	t.Parallel()
	const sent = 1000
	w := Way{Bad: 4, BadRate: 100_000}
	connections := newFlows()
	there, back := w.newDirection(0, connections), w.newDirection(1, connections)
	for n := uint16(1); n <= 8; n++ {
		up := len(arrivals(there, sent, time.Millisecond, segment(100+n, 2, 1000)))
		down := len(arrivals(back, sent, time.Millisecond, segment(2, 100+n, 1000)))
		want := sent
		if n%4 == 0 {
			want = sent/10 + policed/1000
		}
		if up < want || up > want+1 || down < want || down > want+1 {
			t.Errorf("connection %d: %d packets there and %d back of %d, want %d", n, up, down, sent, want)
		}
	}
}

func TestBadPathLosesMore(t *testing.T) {
	t.Parallel()
	d := Way{Bad: 1, BadLoss: 0.5}.newDirection(0, newFlows())
	if n := len(arrivals(d, 1000, 0, segment(1, 2, 100))); n < 400 || n > 600 {
		t.Errorf("%d of 1000 packets arrive, want half", n)
	}
	udp := segment(1, 2, 100)
	udp[virtioHeader+9] = 17
	if n := len(arrivals(d, 1000, 0, udp)); n != 1000 {
		t.Errorf("%d of 1000 packets arrive that are of no TCP connection, want all", n)
	}
}

func FuzzFlowIsTheSameFromBothEnds(f *testing.F) {
	f.Add(segment(1, 2, 40))
	f.Add(append(make([]byte, virtioHeader), append([]byte{6 << 4, 0, 0, 0, 0, 4, 6, 64}, make([]byte, 36)...)...))
	f.Fuzz(func(t *testing.T, packet []byte) {
		of, ok := flowOf(packet)
		if !ok {
			return
		}
		turned := append([]byte(nil), packet...)
		ip := turned[virtioHeader:]
		at, size, tcp := 12, 4, 4*int(ip[0]&15)
		if ip[0]>>4 == 6 {
			at, size, tcp = 8, 16, 40
		}
		if tcp < at+2*size {
			t.Skip() // the ports are said to be where the addresses are
		}
		swap(ip[at:], size)
		swap(ip[tcp:], 2)
		if back, ok := flowOf(turned); !ok || back != of {
			t.Errorf("from one end %q, from the other %q, %t", of, back, ok)
		}
	})
}

// swap exchanges the first two parts of a size.
func swap(b []byte, size int) {
	for i := range size {
		b[i], b[size+i] = b[size+i], b[i]
	}
}
