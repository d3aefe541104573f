package stripe

import (
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"
)

const mib = 1 << 20

func TestShareLeavesAsMuchToOthers(t *testing.T) {
	b := NewBudget(100, 40)
	first, second, third := b.Share(), b.Share(), b.Share()
	for _, step := range []struct {
		name  string
		share *Share
		n     int64
		want  bool
	}{
		{"more than a share", first, 41, false},
		{"a share", first, 40, true},
		{"more than a share by little", first, 1, false},
		{"half of what is left", second, 30, true},
		{"more than is left to others", second, 1, false},
		{"half of the rest", third, 15, true},
		{"more than half of the rest", third, 1, false},
	} {
		if got := step.share.draw(step.n); got != step.want {
			t.Errorf("%s: draw(%d) is %t, want %t", step.name, step.n, got, step.want)
		}
	}
	first.giveBack(40)
	if !second.draw(10) {
		t.Error("what was given back is not there")
	}
	var none *Budget
	if none.Share().draw(1) {
		t.Error("there is something without a budget")
	}
}

// left is how much of a budget nobody has.
func (b *Budget) left() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.free
}

func TestSenderHoldsWhatTheBudgetHas(t *testing.T) {
	for name, tt := range map[string]struct{ budget, want int64 }{
		"none":                {0, 2 * mib},
		"less than the limit": {6 * mib, 5 * mib}, // as it leaves to others what it has
		"more than the limit": {100 * mib, 16 * mib},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, _ := newFakeStream()
				b := NewBudget(tt.budget, tt.budget)
				s.cfg.Share = b.Share()
				s.attach(false).count()
				if _, err := s.Write(make([]byte, 1)); err != nil {
					t.Fatal(err)
				}
				go s.Write(make([]byte, 64*mib))
				synctest.Wait()
				s.peer(ackRequest, ack{Taken: 1, Limit: 1 + maxDistance}) // and never takes anything again
				synctest.Wait()
				if held := int64(s.out.next - s.out.taken); held > tt.want || held < tt.want-2*blockSize {
					t.Errorf("%d bytes are held, want what fits in %d", held, tt.want)
				}
				if free := b.left(); tt.budget-free > tt.want-firstDistance {
					t.Errorf("%d bytes are drawn, want %d at most", tt.budget-free, tt.want-firstDistance)
				}
				before := s.out.next
				s.peer(ackRequest, ack{Taken: 1 + mib, Limit: 1 + mib + maxDistance})
				synctest.Wait()
				if more := s.out.next - before; more < mib-3*blockSize {
					t.Errorf("%d bytes were sent after an ack of %d", more, mib)
				}
				s.Abort()
				if free := b.left(); free != tt.budget {
					t.Errorf("after the end, %d bytes of %d are there", free, tt.budget)
				}
			})
		})
	}
}

func TestSenderGivesBackWhatWasTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newFakeStream()
		b := NewBudget(100*mib, 100*mib)
		s.cfg.Share = b.Share()
		s.attach(false).count()
		s.Write(make([]byte, 1))
		s.peer(ackRequest, ack{Taken: 0, Limit: maxDistance})
		s.Write(make([]byte, 10*mib))
		synctest.Wait()
		if drawn := 100*mib - b.left(); drawn < 8*mib {
			t.Fatalf("%d bytes are drawn for 10 MiB", drawn)
		}
		s.peer(ackRequest, ack{Taken: 9 * mib, Limit: 9*mib + maxDistance})
		if free := b.left(); free != 100*mib {
			t.Errorf("%d bytes are drawn for 1 MiB, want none", 100*mib-free)
		}
		s.Abort()
	})
}

// incoming is a stream that receives.
type incoming struct {
	*Stream
	t    *testing.T
	next uint64 // what has come
	last ack    // what was said
}

func newIncoming(t *testing.T, share *Share) *incoming {
	s, primary := newFakeStream()
	s.cfg.Share = share
	in := &incoming{Stream: s, t: t}
	s.peer(fromRequest, from{0})
	s.striped = true
	go func() {
		for {
			select {
			case r := <-primary.said:
				m, err := parse[ack](r.name, r.payload)
				if err != nil || m.Limit < in.last.Limit || m.Taken < in.last.Taken {
					t.Errorf("%s %+v, %v, after %+v", r.name, m, err, in.last)
				}
				in.last = m
			case <-primary.closed:
				return
			}
		}
	}()
	return in
}

// comes has so many blocks come.
func (in *incoming) comes(blocks int) {
	in.t.Helper()
	for range blocks {
		b := newBlock(maxLength)
		b.header = header{in.next, maxLength}
		if err := errors.Join(in.expect(b.header), in.arrive(b)); err != nil {
			in.t.Fatal(err)
		}
		in.next = b.end()
	}
}

// takes has the consumer take so many blocks, after a pause each.
func (in *incoming) takes(blocks int, pause time.Duration) {
	in.t.Helper()
	for range blocks {
		time.Sleep(pause)
		if _, err := in.Read(make([]byte, maxLength)); err != nil {
			in.t.Fatal(err)
		}
	}
}

// flows has so many blocks come, and be taken at once.
func (in *incoming) flows(blocks int) {
	for range blocks {
		in.comes(1)
		in.takes(1, time.Millisecond)
	}
	synctest.Wait()
}

func TestReceiverRaisesTheLimitWithRoomInHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const all = 40 * mib
		b := NewBudget(all, all)
		share := b.Share()
		first, second := newIncoming(t, share), newIncoming(t, share)
		first.flows(256)
		second.flows(256)
		for name, tt := range map[string]struct {
			in   *incoming
			want uint64
		}{"the first": {first, maxDistance}, "the second": {second, 8 * mib}} { // 14 and 6 MiB beyond; 14 of each are more than half
			if got := tt.in.last.Limit - tt.in.last.Taken; got != tt.want {
				t.Errorf("%s stream may have %d bytes under way, want %d", name, got, tt.want)
			}
		}
		if drawn := all - b.left(); drawn != 20*mib {
			t.Errorf("%d bytes are drawn, want %d", drawn, 20*mib)
		}
		second.Abort()
		if drawn := all - b.left(); drawn != 14*mib {
			t.Errorf("without the second, %d bytes are drawn, want %d", drawn, 14*mib)
		}
		// The end is known: what would have come behind it isn't needed.
		first.comes(16)
		(*extension)(first.Stream).EndOfData(first.next)
		if drawn := all - b.left(); drawn > 3*mib {
			t.Errorf("with 4 MiB to the end, %d bytes are drawn", drawn)
		}
		first.takes(16, 0)
		if _, err := first.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("got %v, want the end", err)
		}
		first.Abort()
		if free := b.left(); free != all {
			t.Errorf("after the end, %d bytes of %d are there", free, all)
		}
	})
}

func TestReceiverLowersTheDistanceForAConsumerThatLags(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const all = 40 * mib
		b := NewBudget(all, all)
		in := newIncoming(t, b.Share())
		in.flows(256)
		for range 500 {
			for in.next+maxLength <= in.last.Limit {
				in.comes(1) // as much as may
			}
			in.takes(1, time.Second)
			synctest.Wait()
		}
		if in.in.distance != firstDistance || b.left() != all {
			t.Errorf("the distance is %d, and %d bytes are drawn; want %d and none", in.in.distance, all-b.left(), firstDistance)
		}
		in.Abort()
	})
}
