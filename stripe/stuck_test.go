package stripe

import (
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// frozen attaches a stripe whose connection carries nothing, in neither direction, and isn't broken.
func (s *Stream) frozen() *fake {
	f := s.attach(false)
	f.said = nil // so that a request waits until the end
	return f
}

// isClosed reports whether we have closed f.
func (f *fake) isClosed() bool {
	select {
	case <-f.closed:
		return true
	default:
		return false
	}
}

// blocks counts the blocks that come over a stripe.
func (f *fake) blocks(n *atomic.Int64) {
	for {
		if _, _, err := f.block(); err != nil {
			return
		}
		n.Add(1)
	}
}

func TestWhatIsOnAStuckStripeGoesOverAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newFakeStream()
		stuck := s.frozen()
		if _, err := s.Write(make([]byte, blockSize)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // it is given to the only one that there is
		var got atomic.Int64
		go s.attach(false).blocks(&got)
		if _, err := s.Write(make([]byte, blockSize)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(stuckAfter + time.Second)
		synctest.Wait()
		if got := got.Load(); got != 1 || stuck.isClosed() {
			t.Errorf("before the time for an answer is over: %d blocks, want 1, and the stripe is closed: %t", got, stuck.isClosed())
		}
		time.Sleep(stuckAfter)
		synctest.Wait()
		if got := got.Load(); got != 2 || !stuck.isClosed() || s.Stripes() != 1 {
			t.Errorf("got %d blocks over the other, want 2; the stuck one is closed: %t; %d live, want 1", got, stuck.isClosed(), s.Stripes())
		}
		s.peer(ackRequest, ack{Taken: 2 * blockSize, Limit: 2*blockSize + firstDistance})
		if err := s.CloseWrite(); err != nil {
			t.Errorf("the end: %v", err)
		}
		s.Abort()
	})
}

// A consumer that has stopped reading is no fault of the stripes, and nothing is sent twice for it.
func TestStripesThatAnswerAreKeptWhileNothingIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newFakeStream()
		var got atomic.Int64
		go s.attach(false).blocks(&got)
		go s.attach(false).blocks(&got)
		if _, err := s.Write(make([]byte, 4*blockSize)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * stuckAfter)
		synctest.Wait()
		if n := got.Load(); n != 4 || s.Stripes() != 2 {
			t.Errorf("%d blocks were sent, want 4, and %d stripes live, want 2", n, s.Stripes())
		}
		s.Abort()
	})
}

// If nobody answers, the line has a pause, and what goes on after it is better than nothing.
func TestStripesAreKeptWhileNoneAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newFakeStream()
		first, second := s.frozen(), s.frozen()
		go s.Write(make([]byte, 2*blockSize))
		time.Sleep(20 * stuckAfter)
		synctest.Wait()
		if first.isClosed() || second.isClosed() || s.Stripes() != 2 {
			t.Errorf("%d stripes live, want 2", s.Stripes())
		}
		for _, f := range []*fake{first, second} {
			if _, _, err := f.block(); err != nil && err != io.EOF {
				t.Errorf("after the pause: %v", err)
			}
		}
		s.Abort()
	})
}

// On a slow line an answer takes its time, as it comes behind what is under way, and another stripe may have had less of that. What is on the one that holds
// everything up goes over the other as well, but it lives.
func TestStripeOfASlowLineIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newFakeStream()
		var got atomic.Int64
		slow := s.frozen()
		go slow.blocks(&got)
		if _, err := s.Write(make([]byte, blockSize)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second) // which is what a block takes
		s.peer(ackRequest, ack{Taken: blockSize, Limit: blockSize + firstDistance})
		go s.attach(false).blocks(&got)
		if _, err := s.Write(make([]byte, 2*blockSize)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if n := got.Load(); slow.isClosed() || n > 5 {
			t.Errorf("while the line may still carry what is under way: %d blocks were sent of 3, want two twice at most; the stripe is closed: %t", n, slow.isClosed())
		}
		time.Sleep(slowest)
		synctest.Wait()
		if !slow.isClosed() {
			t.Errorf("after %v, the stripe is not closed", slowest)
		}
		s.Abort()
	})
}
