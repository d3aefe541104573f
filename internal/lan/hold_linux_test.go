package lan

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// packets is read as a TUN device is: a packet each time, some of them after a while.
type packets struct {
	rand *rand.Rand
	sent []sent
	left int
}

type sent struct {
	at   time.Time
	data []byte
}

func (p *packets) Read(b []byte) (int, error) {
	if p.left == 0 {
		return 0, io.EOF
	}
	p.left--
	if p.rand.IntN(3) == 0 {
		time.Sleep(time.Duration(p.rand.IntN(20)) * time.Millisecond)
	}
	data := make([]byte, 4+p.rand.IntN(packetMax-4))
	binary.BigEndian.PutUint32(data, uint32(p.left))
	p.sent = append(p.sent, sent{time.Now(), data})
	return copy(b, data), nil
}

// target takes packets, and loses some.
type target struct {
	got  []sent
	fail func(n int) error
}

func (c *target) Write(b []byte) (int, error) {
	if err := c.fail(len(c.got)); err != nil {
		c.got = append(c.got, sent{})
		return 0, err
	}
	c.got = append(c.got, sent{time.Now(), bytes.Clone(b)})
	return len(b), nil
}

// after is a way on which nothing happens.
func after(delay time.Duration) meeting { return Way{Delay: delay}.newDirection(1, newFlows()).meet }

func sleepVirtually(due time.Time) { time.Sleep(time.Until(due)) }

// TestHeldPacketsComeWholeInOrderAndNotBeforeTheirTime has room for all that is under way.
func TestHeldPacketsComeWholeInOrderAndNotBeforeTheirTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const delay = 30 * time.Millisecond
		from := &packets{rand: rand.New(rand.NewPCG(1, 2)), left: 2000}
		to := &target{fail: func(n int) error {
			if n%7 == 3 {
				return syscall.EIO
			}
			return nil
		}}
		if err := hold(from, to, 64<<20, after(delay), sleepVirtually); !errors.Is(err, io.EOF) {
			t.Errorf("got %v, want the end of what is read", err)
		}
		if len(to.got) != len(from.sent) {
			t.Fatalf("%d packets came of %d", len(to.got), len(from.sent))
		}
		for i, want := range from.sent {
			if i%7 == 3 {
				continue // lost
			}
			if got := to.got[i]; !bytes.Equal(got.data, want.data) {
				t.Fatalf("packet %d is another one", i)
			} else if took := got.at.Sub(want.at); took != delay {
				t.Fatalf("packet %d took %v, want %v", i, took, delay)
			}
		}
	})
}

// TestHeldBytesAreBounded has room for a few packets only: further ones aren't read before these are gone.
func TestHeldBytesAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const room, delay = 4 * packetMax, time.Second
		from := &packets{rand: rand.New(rand.NewPCG(3, 4)), left: 500}
		to := &target{fail: func(int) error { return nil }}
		if err := hold(from, to, room, after(delay), sleepVirtually); !errors.Is(err, io.EOF) {
			t.Errorf("got %v, want the end of what is read", err)
		}
		if len(to.got) != len(from.sent) {
			t.Fatalf("%d packets came of %d", len(to.got), len(from.sent))
		}
		for i := range from.sent {
			if !bytes.Equal(to.got[i].data, from.sent[i].data) {
				t.Fatalf("packet %d is another one", i)
			}
			under := 0
			for j := i; j >= 0 && to.got[j].at.After(from.sent[i].at); j-- {
				under += len(from.sent[j].data)
			}
			if under > room {
				t.Fatalf("%d bytes were under way with packet %d, want %d at most", under, i, room)
			}
		}
	})
}

// TestHoldEndsWithTheFarSide has the far side break: what is wrong with it is told, and nothing hangs.
func TestHoldEndsWithTheFarSide(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		from := &packets{rand: rand.New(rand.NewPCG(5, 6)), left: 1 << 20}
		to := &target{fail: func(n int) error {
			if n == 10 {
				return broken
			}
			return nil
		}}
		if err := hold(from, to, 4*packetMax, after(time.Millisecond), sleepVirtually); !errors.Is(err, broken) {
			t.Errorf("got %v, want what broke", err)
		}
		if len(to.got) != 11 {
			t.Errorf("%d packets were delivered, want none after the one that failed", len(to.got)-11)
		}
	})
}
