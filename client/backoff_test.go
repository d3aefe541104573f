package client

import (
	"testing"
	"time"
)

func TestBackoffDoublesUpToItsMost(t *testing.T) {
	for name, test := range map[string]struct {
		random float64
		waited bool
		want   []time.Duration
	}{
		"the shortest": {0, false, []time.Duration{0, 500, 1000, 2000, 4000, 8000, 16000, 30000, 30000}},
		"the longest":  {0.999999, false, []time.Duration{0, 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000}},
		"waited for":   {0.5, true, []time.Duration{0, 750, 1500, 3000, 3750, 3750}},
	} {
		b := backoff{random: func() float64 { return test.random }}
		for i, want := range test.want {
			if got := b.delay(test.waited).Round(10 * time.Millisecond); got != want*time.Millisecond {
				t.Errorf("%s, after %d failures: got %v, want %v", name, i, got, want*time.Millisecond)
			}
			b.failed()
		}
	}
}

func TestBackoffHasNoOverflow(t *testing.T) {
	b := backoff{failures: 1 << 30, random: func() float64 { return 0 }}
	if got := b.delay(false); got != mostDelay/2 {
		t.Errorf("got %v, want %v", got, mostDelay/2)
	}
}

func TestBackoffForgetsOnlyAfterASteadyConnection(t *testing.T) {
	b := backoff{failures: 5, random: func() float64 { return 0 }}
	if b.recovered(steady - 1); b.failures != 5 {
		t.Errorf("a connection that was short-lived: got %d failures, want 5", b.failures)
	}
	if b.recovered(steady); b.delay(false) != 0 {
		t.Errorf("after a steady connection: got a delay of %v, want none", b.delay(false))
	}
}
