package stripe

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/relay"
)

// peer says something on the primary channel.
func (s *Stream) peer(name string, numbers ...any) {
	var payload []byte
	for _, m := range numbers {
		payload = append(payload, ssh.Marshal(m)...)
	}
	(*extension)(s).Request(name, payload)
}

// count counts the bytes that come over a stripe, until it is closed.
func (f *fake) count() <-chan int {
	total := make(chan int, 1)
	go func() {
		n := 0
		for {
			_, data, err := f.block()
			n += len(data)
			if err != nil {
				total <- n
				return
			}
		}
	}()
	return total
}

func TestSenderStopsAtTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newFakeStream()
		first, second := s.attach(false), s.attach(false)
		a, b := first.count(), second.count()
		written := make(chan int)
		go func() {
			n, _ := s.Write(make([]byte, 3*firstDistance))
			written <- n
		}()
		synctest.Wait()
		if next := s.out.next; next > firstDistance || next < firstDistance-blockSize {
			t.Errorf("%d bytes were sent without an ack, want what fits in %d", next, firstDistance)
		}
		s.peer(ackRequest, ack{Taken: firstDistance / 2, Limit: firstDistance + firstDistance/2})
		synctest.Wait()
		want := firstDistance + firstDistance/2
		if kept := len(s.out.kept); kept > firstDistance/blockSize+1 {
			t.Errorf("%d blocks are kept", kept)
		}
		s.Abort()
		if n := <-written; n > want || n < want-blockSize {
			t.Errorf("%d bytes were sent after an ack, want what fits in %d", n, want)
		}
		if got := <-a + <-b; got > want {
			t.Errorf("%d bytes went over the stripes, want %d at most", got, want)
		}
	})
}

func TestSmallWritesDontFillTheMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newFakeStream()
		stripe := s.attach(false)
		stripe.count()
		go func() {
			for {
				if _, err := s.Write([]byte("x")); err != nil {
					return
				}
			}
		}()
		synctest.Wait()
		size := 0
		for _, b := range s.out.kept {
			size += len(b.buf)
		}
		if len(s.out.kept) > maxBlocks || size > maxBlocks*smallest {
			t.Errorf("%d blocks and %d bytes are kept, want %d and %d at most", len(s.out.kept), size, maxBlocks, maxBlocks*smallest)
		}
		s.Abort()
	})
}

func TestReserveCarriesOnlyWhatNobodyElseCan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newFakeStream()
		reserve := s.attach(true)
		go s.primaryDrained()
		if _, err := s.Write(make([]byte, 10)); err != nil || s.out != nil {
			t.Fatalf("with a reserve alone: %v, and it has changed over: %t", err, s.out != nil)
		}
		side := s.attach(false)
		if _, err := s.Write(make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		h, _, err := side.block()
		if err != nil || h != (header{10, 100}) {
			t.Fatalf("the side connection carried %v, %v", h, err)
		}
		synctest.Wait()
		side.Close()
		again, _, err := reserve.block()
		if err != nil || again != h {
			t.Errorf("after its death the reserve carried %v, %v, want %v", again, err, h)
		}
		side = s.attach(false)
		if _, err := s.Write(make([]byte, 50)); err != nil {
			t.Fatal(err)
		}
		if h, _, err := side.block(); err != nil || h != (header{110, 50}) {
			t.Errorf("another side connection carried %v, %v", h, err)
		}
		s.Abort()
	})
}

// primaryDrained takes what is written to the primary channel.
func (s *Stream) primaryDrained() {
	buf := make([]byte, 1<<10)
	for {
		if _, err := s.primary.(*fake).fromUs.r.Read(buf); err != nil {
			return
		}
	}
}

func TestStreamWithoutStripesWaitsForOne(t *testing.T) {
	for name, late := range map[string]time.Duration{"in time": patience - time.Second, "too late": patience + time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, _ := newFakeStream()
				side := s.attach(false)
				ended := make(chan error, 1)
				go func() {
					if _, err := s.Write(make([]byte, 100)); err != nil {
						ended <- err
						return
					}
					ended <- s.CloseWrite()
				}()
				synctest.Wait()
				side.Close()
				time.Sleep(late)
				if late > patience {
					if err := <-ended; !errors.Is(err, relay.ErrAborted) || !strings.Contains(err.Error(), errNoStripe.Error()) {
						t.Errorf("got %v, want %v for want of a stripe", err, relay.ErrAborted)
					}
					return
				}
				if h, _, err := s.attach(false).block(); err != nil || h != (header{0, 100}) {
					t.Errorf("the new stripe carried %v, %v", h, err)
				}
				time.Sleep(2 * patience)
				s.peer(ackRequest, ack{Taken: 100, Limit: 100 + firstDistance})
				if err := <-ended; err != nil {
					t.Errorf("the end of what was taken: %v", err)
				}
				s.Abort()
			})
		})
	}
}

func TestEndWaitsUntilAllWasTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, primary := newFakeStream()
		side := s.attach(false)
		side.count()
		if _, err := s.Write(make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- s.CloseWrite() }()
		synctest.Wait()
		select {
		case err := <-ended:
			t.Fatalf("CloseWrite returned %v before anything was taken", err)
		default:
		}
		for _, want := range []string{fromRequest, relay.EndOfDataRequest} {
			if got := <-primary.said; got.name != want {
				t.Errorf("the sender said %q, want %q", got.name, want)
			}
		}
		s.peer(ackRequest, ack{Taken: 99, Limit: 99 + firstDistance})
		s.Abort()
		if err := <-ended; !errors.Is(err, relay.ErrAborted) {
			t.Errorf("aborted one byte before the end, CloseWrite returned %v, want %v", err, relay.ErrAborted)
		}
	})
}

func TestReceiverRaisesTheLimitForAConsumerThatKeepsUp(t *testing.T) {
	for name, tt := range map[string]struct {
		pause time.Duration // between blocks
		want  uint64
	}{
		"fast": {time.Millisecond, maxDistance},
		"slow": {time.Second, firstDistance},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, primary := newFakeStream()
				s.cfg.Share = NewBudget(1<<30, 1<<30).Share()
				go func() {
					for range primary.said {
					}
				}()
				defer close(primary.said)
				s.peer(fromRequest, from{0})
				s.striped = true
				for next := uint64(0); next < 64<<20; {
					b := newBlock(maxLength)
					b.header = header{next, maxLength}
					if err := errors.Join(s.expect(b.header), s.arrive(b)); err != nil {
						t.Fatal(err)
					}
					next = b.end()
					if _, err := s.Read(make([]byte, maxLength)); err != nil {
						t.Fatal(err)
					}
					time.Sleep(tt.pause)
				}
				if s.in.distance != tt.want {
					t.Errorf("the distance is %d, want %d", s.in.distance, tt.want)
				}
				s.Abort()
			})
		})
	}
}

func TestWhatIsTakenIsSaidWhileNothingComes(t *testing.T) {
	for name, wait := range map[string]func(s *Stream){
		"Read":  func(s *Stream) { s.Read(make([]byte, 1)) },
		"Await": func(s *Stream) { s.Await() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, primary := newFakeStream()
				s.peer(fromRequest, from{0})
				s.striped = true
				b := newBlock(100)
				b.header = header{0, 100}
				if err := errors.Join(s.expect(b.header), s.arrive(b)); err != nil {
					t.Fatal(err)
				}
				if _, err := s.Read(make([]byte, 100)); err != nil {
					t.Fatal(err)
				}
				waited := make(chan struct{})
				go func() {
					wait(s)
					close(waited)
				}()
				time.Sleep(2 * lateAck)
				select {
				case got := <-primary.said:
					if m, err := parse[ack](got.name, got.payload); err != nil || m.Taken != 100 {
						t.Errorf("the sender was told %+v, %v, want that 100 bytes were taken", m, err)
					}
				default:
					t.Error("the sender was told nothing")
				}
				select {
				case <-waited:
					t.Error("it returned with nothing to read")
				default:
				}
				s.Abort()
				<-waited
			})
		})
	}
}
