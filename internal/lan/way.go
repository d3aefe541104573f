package lan

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// Way is what packets meet on a line, in either direction. The zero value is a short line on which nothing is lost.
type Way struct {
	Delay time.Duration // after which a packet arrives that waits for no others: half of the round trip

	Loss  float64 // the part of all packets that is lost, by a generator that always begins alike
	Rate  int     // how many bytes go in a second; 0 is as many as come
	Queue int     // how many bytes wait for their turn at most, as there is a Rate: what comes then is lost. If 0, as many as go in 100 ms

	Bad     int     // each so many-th TCP connection, as they begin, is on a bad path; 0 is none
	BadLoss float64 // the part of its packets that is lost besides
	BadRate int     // how many bytes of it go in a second; what comes beyond is lost, and doesn't wait. 0 is as many as come
}

// usualQueue is for how long packets wait in a queue whose length is not said.
const usualQueue = 100 * time.Millisecond

// policed is how many bytes of a connection on a bad path may come at once, whatever its rate.
const policed = 64 << 10

// ParseWay reads a round trip, and what else there is to say, as in "50ms,loss=0.1%,rate=20M,queue=256K,bad=4,badloss=5%,badrate=1M". A rate is of bits in a second,
// a queue of bytes.
func ParseWay(text string) (w Way, err error) {
	rtt, others, _ := strings.Cut(text, ",")
	whole, err := time.ParseDuration(rtt)
	if err != nil || whole < 0 {
		return w, fmt.Errorf("%q is no round trip, such as 50ms", rtt)
	}
	w.Delay = whole / 2
	for part := range strings.SplitSeq(others, ",") {
		name, value, _ := strings.Cut(part, "=")
		switch name {
		case "":
		case "loss":
			w.Loss, err = parsePart(value)
		case "rate":
			w.Rate, err = parseSize(value, 8)
		case "queue":
			w.Queue, err = parseSize(value, 1)
		case "bad":
			w.Bad, err = parseSize(value, 1)
		case "badloss":
			w.BadLoss, err = parsePart(value)
		case "badrate":
			w.BadRate, err = parseSize(value, 8)
		default:
			err = fmt.Errorf("%q is none of loss, rate, queue, bad, badloss and badrate", name)
		}
		if err != nil {
			return Way{}, fmt.Errorf("%s: %w", part, err)
		}
	}
	return w, nil
}

// parsePart reads a part of all, in percent or not.
func parsePart(s string) (float64, error) {
	number, percent := strings.CutSuffix(s, "%")
	p, err := strconv.ParseFloat(number, 64)
	if percent {
		p /= 100
	}
	if err != nil || !(p >= 0 && p <= 1) {
		return 0, fmt.Errorf("%q is no part of all, such as 0.1%%", s)
	}
	return p, nil
}

// parseSize reads a number that may end in K, M or G, of things of which a byte has so many.
func parseSize(s string, each int) (int, error) {
	number, times := s, 1
	for i, unit := range []string{"K", "M", "G"} {
		if n, ok := strings.CutSuffix(s, unit); ok {
			number = n
			times = []int{1e3, 1e6, 1e9}[i]
		}
	}
	n, err := strconv.ParseFloat(number, 64)
	if n *= float64(times) / float64(each); err != nil || !(n >= 1 && n <= 1e12) {
		return 0, fmt.Errorf("%q is no number, such as 20M", s)
	}
	return int(n), nil
}

// plain reports whether a packet may be as large as TCP hands it over: nobody counts them.
func (w Way) plain() bool { return w.Loss == 0 && w.Rate == 0 && w.Bad == 0 }

// direction is one of a line. It is used by one goroutine.
type direction struct {
	Way
	flows  *flows
	random *rand.Rand
	free   time.Time        // when all that waits for the rate will have gone
	police map[flow]*tokens // of the connections on bad paths
}

// newDirection returns the direction of this number, of a line whose connections are those of flows.
func (w Way) newDirection(number uint64, f *flows) *direction {
	if w.Queue == 0 {
		w.Queue = int(float64(w.Rate) * usualQueue.Seconds())
	}
	return &direction{Way: w, flows: f, random: rand.New(rand.NewPCG(number, 0)), police: make(map[flow]*tokens)}
}

// meet returns when a packet arrives that is sent now, or false if it is lost. None arrives before one that was sent earlier.
func (d *direction) meet(now time.Time, packet []byte) (due time.Time, arrives bool) {
	if d.lost(d.Loss) || d.Bad > 0 && !d.passesBadPath(now, packet) {
		return due, false
	}
	if d.Rate == 0 {
		return now.Add(d.Delay), true
	}
	size := float64(len(packet) - virtioHeader)
	if d.free.Before(now) {
		d.free = now
	}
	if waiting := d.free.Sub(now).Seconds() * float64(d.Rate); waiting > 0 && waiting+size > float64(d.Queue) {
		return due, false
	}
	d.free = d.free.Add(time.Duration(size / float64(d.Rate) * float64(time.Second)))
	return d.free.Add(d.Delay), true
}

// lost draws a lot.
func (d *direction) lost(part float64) bool { return part > 0 && d.random.Float64() < part }

// passesBadPath reports whether a packet isn't on a bad path, or comes through it.
func (d *direction) passesBadPath(now time.Time, packet []byte) bool {
	f, ok := flowOf(packet)
	if !ok || d.flows.number(f)%d.Bad != 0 {
		return true
	}
	if d.lost(d.BadLoss) {
		return false
	}
	if d.BadRate == 0 {
		return true
	}
	t := d.police[f]
	if t == nil {
		t = &tokens{at: now, left: policed}
		d.police[f] = t
	}
	return t.spend(now, d.BadRate, len(packet)-virtioHeader)
}

// tokens is what a connection may still send.
type tokens struct {
	at   time.Time
	left float64 // then, in bytes
}

func (t *tokens) spend(now time.Time, rate, n int) bool {
	t.left = min(t.left+now.Sub(t.at).Seconds()*float64(rate), policed)
	t.at = now
	if t.left < float64(n) {
		return false
	}
	t.left -= float64(n)
	return true
}
