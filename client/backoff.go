package client

import "time"

// The time between two attempts to connect begins with the least and doubles, up to the most. While somebody waits for the connection, it
// is shorter: a person looks at a standing program, and there is one at a time. A connection that has lived for steady has shown that all is
// well again.
const (
	leastDelay   = time.Second
	waitingDelay = 5 * time.Second
	mostDelay    = time.Minute
	steady       = time.Minute
)

// backoff says how long to wait before the next attempt. The zero value has had no failure.
type backoff struct {
	failures int
	// random returns a number from 0 to 1, but for 1, by which delays are spread: what has lost its connections together should
	// not come back together.
	random func() float64
	part   float64 // of the present delay; the last that random has returned
}

// failed counts a failure.
func (b *backoff) failed() {
	b.failures++
	b.part = b.random()
}

// recovered is called when a connection ends that has lived for so long.
func (b *backoff) recovered(lived time.Duration) {
	if lived >= steady {
		b.failures = 0
	}
}

// delay is how long to wait after the last failure: between half of what its number comes to and the whole.
func (b *backoff) delay(waited bool) time.Duration {
	if b.failures == 0 {
		return 0
	}
	most := mostDelay
	if waited {
		most = waitingDelay
	}
	d := most
	if n := b.failures - 1; n < 16 { // more would overflow some day
		d = min(leastDelay<<n, most)
	}
	return d/2 + time.Duration(b.part*float64(d/2))
}
