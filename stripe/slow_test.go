package stripe

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// fill writes as much as there may be under way, and more, which waits.
func (s *Stream) fill() {
	go s.Write(make([]byte, firstDistance+blockSize))
	synctest.Wait()
}

// atLimit is how many blocks fill has under way.
const atLimit = firstDistance / blockSize

func TestWhatIsOnASlowStripeGoesOverAnotherWhenTheSenderWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newFakeStream()
		var slow, fast atomic.Int64
		first := s.frozen()
		if _, err := s.Write(make([]byte, blockSize)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // it is given to the only one that there is, who gives no sign of life
		go first.blocks(&slow)
		go s.attach(false).blocks(&fast)
		s.fill()
		on := slow.Load()
		time.Sleep(time.Second)
		synctest.Wait()
		if got, want := fast.Load(), int64(atLimit); got != want || first.isClosed() {
			t.Errorf("got %d blocks over the fast one, want all %d; the slow one is closed: %t", got, want, first.isClosed())
		}
		s.peer(ackRequest, ack{Taken: atLimit * blockSize, Limit: atLimit*blockSize + firstDistance})
		s.fill()
		if got := slow.Load(); got != on {
			t.Errorf("%d more blocks went over the slow one, want it to rest", got-on)
		}
		s.Abort()
	})
}

// TestSlowStripeIsUsedAgain has it answer when it has carried all that it had.
func TestSlowStripeIsUsedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newFakeStream()
		var slow, fast atomic.Int64
		first := s.frozen()
		if _, err := s.Write(make([]byte, blockSize)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		go first.blocks(&slow)
		other := s.attach(false)
		go other.blocks(&fast)
		s.fill()
		time.Sleep(time.Second)
		synctest.Wait()
		s.mu.Lock()
		st, next := s.stripes[0], s.out.next
		rested := st.resting
		st.asked, st.ch.(*fake).said = time.Time{}, make(chan request, 100) // it answers from now on
		s.mu.Unlock()
		s.peer(ackRequest, ack{Taken: next, Limit: next + firstDistance})
		time.Sleep(leastRest + 2*stuckAfter)
		s.mu.Lock()
		if !rested || st.resting {
			t.Errorf("it rested: %t, want true; it rests still: %t", rested, st.resting)
		}
		s.mu.Unlock()
		on := slow.Load()
		go s.Write(make([]byte, atLimit/2*blockSize))
		synctest.Wait()
		if slow.Load() == on {
			t.Error("nothing goes over the slow one any more")
		}
		s.Abort()
	})
}

// TestReserveCarriesWhileAllOthersRest has nobody but the reserve answer.
func TestReserveCarriesWhileAllOthersRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newFakeStream()
		var slow, reserve atomic.Int64
		first := s.frozen()
		go first.blocks(&slow)
		go s.attach(true).blocks(&reserve)
		s.fill()
		if got := reserve.Load(); got != 0 {
			t.Errorf("%d blocks went over the reserve, want none as long as another carries them", got)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if got, want := reserve.Load(), int64(atLimit); got != want {
			t.Errorf("%d blocks went over the reserve, want all %d", got, want)
		}
		s.Abort()
	})
}

// A consumer that has stopped reading is no fault of the stripes.
func TestNothingIsSentTwiceWhileTheSenderWaitsForTheConsumer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newFakeStream()
		var got atomic.Int64
		go s.attach(false).blocks(&got)
		go s.attach(false).blocks(&got)
		s.fill()
		time.Sleep(10 * stuckAfter)
		synctest.Wait()
		if n := got.Load(); n != atLimit || s.Stripes() != 2 {
			t.Errorf("%d blocks were sent, want %d, and %d stripes live, want 2", n, atLimit, s.Stripes())
		}
		s.Abort()
	})
}

// TestPauseOfAStripeGrows has one that is slow each time that it is used.
func TestPauseOfAStripeGrows(t *testing.T) {
	t.Parallel()
	var st stripe
	now := time.Unix(1000, 0)
	for _, want := range []time.Duration{leastRest, 2 * leastRest, 4 * leastRest} {
		st.rest(now)
		if st.pause != want || !st.until.Equal(now.Add(want)) {
			t.Errorf("it rests for %v, want %v", st.pause, want)
		}
		now = st.until.Add(time.Second)
	}
	for range 10 {
		st.rest(now)
		now = st.until
	}
	if st.pause != mostRest {
		t.Errorf("it rests for %v at last, want %v", st.pause, mostRest)
	}
	if st.rest(now.Add(3 * mostRest)); st.pause != leastRest {
		t.Errorf("after a good while it rests for %v, want %v", st.pause, leastRest)
	}
}
