package activity

import (
	"time"

	"github.com/culvert-ssh/culvert/relay"
)

const (
	// keptRates is how many seconds a spark line can show.
	keptRates = 30

	// smoothed is how many of them make the present rate: fewer jump about, more lag behind.
	smoothed = 3
)

// series is what one pair of counters has shown over the last seconds.
type series struct {
	count *relay.Counters
	at    time.Time // of the last look
	moved int64     // bytes both ways by then
	rates []int64   // at most keptRates, the newest at the end
}

func newSeries(count *relay.Counters, now time.Time) *series {
	return &series{count: count, at: now, moved: total(count)}
}

func total(count *relay.Counters) int64 { return count.AToB.Load() + count.BToA.Load() }

// sample looks at the counters. A look shortly after the last one, or after the beginning, would show chance.
func (s *series) sample(now time.Time) {
	passed := now.Sub(s.at)
	if passed < sampleEvery/2 {
		return
	}
	moved := total(s.count)
	if len(s.rates) == keptRates {
		copy(s.rates, s.rates[1:])
		s.rates = s.rates[:keptRates-1]
	}
	s.rates = append(s.rates, perSecond(moved-s.moved, passed))
	s.at, s.moved = now, moved
}

// rate is the present one.
func (s *series) rate() int64 {
	last := s.rates[max(0, len(s.rates)-smoothed):]
	if len(last) == 0 {
		return 0
	}
	sum := int64(0)
	for _, r := range last {
		sum += r
	}
	return sum / int64(len(last))
}

func perSecond(bytes int64, in time.Duration) int64 {
	if in <= 0 {
		return 0
	}
	return int64(float64(bytes) / in.Seconds())
}
