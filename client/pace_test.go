package client

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestStreamMovesIfItHasMovedEnoughLately(t *testing.T) {
	for name, test := range map[string]struct {
		bytes uint64
		every time.Duration
		times int
		rest  time.Duration // after the last
		want  bool
	}{
		"never":                     {},
		"a transfer":                {bytes: 32 << 10, every: time.Second, times: 20, want: true},
		"a transfer with a pause":   {bytes: 32 << 10, every: time.Second, times: 20, rest: quiet - 2*time.Second, want: true},
		"a transfer that has stood": {bytes: 32 << 10, every: time.Second, times: 20, rest: quiet + 2*time.Second},
		"one answer":                {bytes: earlyBytes, times: 1, want: true},
		"a terminal":                {bytes: 200, every: 100 * time.Millisecond, times: 300},
		"a line that is slow":       {bytes: 1 << 10, every: time.Second, times: 90},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var p pace
				for range test.times {
					time.Sleep(test.every)
					p.move(test.bytes)
				}
				time.Sleep(test.rest)
				if got := p.moves(time.Now()); got != test.want {
					t.Errorf("got %v, want %v", got, test.want)
				}
			})
		})
	}
}

func TestStreamIsNewsWhenItMovesAgainAndWhenItIsHeavy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pace
		news := 0
		move := func(times int, bytes uint64) {
			for range times {
				if p.move(bytes) {
					news++
				}
				time.Sleep(time.Millisecond)
			}
		}
		for _, step := range []struct {
			rest  time.Duration
			times int
			bytes uint64
			news  int
			heavy bool
		}{
			{times: 10, bytes: earlyBytes, news: 1},
			{rest: 2 * quiet, times: 1, bytes: 100, news: 1},
			{times: 10, bytes: earlyBytes, news: 2},
			{rest: 2 * quiet, times: 1, bytes: earlyBytes, news: 3},
			{times: muchBytes / earlyBytes, bytes: earlyBytes, news: 4, heavy: true},
			{times: muchBytes / earlyBytes, bytes: earlyBytes, news: 4, heavy: true},
		} {
			time.Sleep(step.rest)
			move(step.times, step.bytes)
			if news != step.news || p.isHeavy() != step.heavy {
				t.Errorf("after %+v: got %d times news, heavy %v", step, news, p.isHeavy())
			}
		}
	})
}
