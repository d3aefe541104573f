package client

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/culvert-ssh/culvert/stripe"
)

// Stripes is how many SSH connections beside the first one a stream is spread over (Stripes). The zero value is none.
type Stripes int

// AutoStripes is as many as the line is worth, between culvert and culvertd alone.
const AutoStripes Stripes = -1

const (
	// longLine is the round trip from which on one connection holds a transfer back.
	longLine = 10 * time.Millisecond

	// earlyBytes is how much has gone in one direction before a stream on a long line is given stripes: files that are done by then
	// have no use for them.
	earlyBytes = 64 << 10

	// lineWindow is what one side connection has under way at most, in bytes (x/crypto/ssh), and lineRate what all of them together
	// should be able to carry, in bytes a second.
	lineWindow = 2 << 20
	lineRate   = 320 << 20

	// fewestStripes and mostStripes are bounds of what a long line is given.
	fewestStripes = 2
	mostStripes   = 8
)

// at is how many there are to be on a line with this round trip.
func (n Stripes) at(rtt time.Duration) int {
	switch {
	case n != AutoStripes:
		return int(n)
	case rtt < longLine:
		return 0
	}
	need := int(lineRate * rtt.Seconds() / lineWindow)
	return min(max(need, fewestStripes), mostStripes)
}

// setStripes takes auto, no, or a number, of which 1 is what there is without.
func setStripes(c *Config, value string) error {
	switch strings.ToLower(value) {
	case "auto":
		c.Stripes = AutoStripes
		return nil
	case "no":
		c.Stripes = 0
		return nil
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 || n > stripe.Max {
		return fmt.Errorf("%q is not auto, no, or a number from 1 to %d", value, stripe.Max)
	}
	c.Stripes = Stripes(n)
	if n == 1 {
		c.Stripes = 0
	}
	return nil
}
