package stripe

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// What has gone over stripes is told when it was handed on: a consumer that has stopped moves nothing.
func TestStreamTellsOfWhatHasMoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newFakeStream()
		var moved, crossed atomic.Int64
		s.cfg.After = 100
		s.cfg.Crossed = func(*Stream) { crossed.Add(1) }
		s.cfg.Moved = func(n uint64) { moved.Add(int64(n)) }
		want := func(after string, n int64) {
			t.Helper()
			time.Sleep(2 * lateAck)
			synctest.Wait()
			if got := moved.Load(); got != n {
				t.Errorf("after %s: got %d bytes, want %d", after, got, n)
			}
		}
		s.count(99, 99)
		want("less than Crossed waits for", 0)
		s.count(150, 51)
		want("the crossing", 51)
		if crossed.Load() != 1 {
			t.Errorf("it crossed %d times, want once", crossed.Load())
		}
		var got atomic.Int64
		side := s.attach(false)
		go side.blocks(&got)
		if _, err := s.Write(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
		want("what nobody has taken", 51)
		s.peer(ackRequest, ack{Taken: 600, Limit: firstDistance})
		want("an ack of a part", 651)
		s.peer(ackRequest, ack{Taken: 600, Limit: firstDistance})
		want("one that says the same", 651)
		s.peer(fromRequest, from{})
		s.striped = true
		block := make([]byte, headerSize+500)
		header{length: 500}.put(block)
		if _, err := side.toUs.w.Write(block); err != nil {
			t.Fatal(err)
		}
		want("what came and isn't read", 651)
		read := make(chan int)
		go func() {
			n, _ := s.Read(make([]byte, 500))
			read <- n
			n, _ = s.Read(make([]byte, 500)) // which says that it was handed on
			read <- n
		}()
		if n := <-read; n != 500 {
			t.Errorf("got %d bytes, want 500", n)
		}
		want("what was handed on", 1151)
		s.Abort()
		<-read
	})
}

func TestWhoeverAttachesAStripeIsToldThatItHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newFakeStream()
		var died [3]atomic.Int64
		var all []*fake
		for i := range died {
			f, reqs := newFake(), closedRequests()
			if err := s.Attach(f, reqs, false, func() { died[i].Add(1) }); err != nil {
				t.Fatal(err)
			}
			all = append(all, f)
		}
		want := func(when string, counts ...int64) {
			t.Helper()
			synctest.Wait()
			for i, n := range counts {
				if got := died[i].Load(); got != n {
					t.Errorf("%s: stripe %d has ended %d times, want %d", when, i, got, n)
				}
			}
		}
		all[1].Close()
		want("after the second has ended", 0, 1, 0)
		s.Abort()
		want("after the stream has", 0, 1, 0)
		if err := s.Attach(newFake(), closedRequests(), false, func() { t.Error("one that was never attached has ended") }); err == nil {
			t.Error("a stream that has ended takes a stripe")
		}
		synctest.Wait()
	})
}
