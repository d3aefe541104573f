package stripe_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/culvert-ssh/culvert/relay"
	"github.com/culvert-ssh/culvert/stripe"
)

// halting is a connection that reads in pieces, and has pauses.
type halting struct {
	net.Conn
	mu  sync.Mutex
	rnd *rand.Rand
}

func (h *halting) Read(p []byte) (int, error) {
	h.mu.Lock()
	n, pause := 1+h.rnd.IntN(1<<(4+h.rnd.IntN(13))), h.rnd.IntN(200) == 0
	h.mu.Unlock()
	if pause {
		time.Sleep(time.Millisecond)
	}
	return h.Conn.Read(p[:min(n, len(p))])
}

// drive writes data in pieces and ends the direction.
func drive(s *stripe.Stream, data []byte, rnd *rand.Rand) error {
	for len(data) > 0 {
		n := min(len(data), 1+rnd.IntN(1<<(4+rnd.IntN(15))))
		if _, err := s.Write(data[:n]); err != nil {
			return err
		}
		data = data[n:]
	}
	return s.CloseWrite()
}

// drain reads to the end, by pieces, and calls at at each.
func drain(s *stripe.Stream, rnd *rand.Rand, at func(n int)) ([]byte, error) {
	var got []byte
	buf := make([]byte, 256<<10)
	for {
		n, err := s.Read(buf[:1+rnd.IntN(len(buf))])
		got = append(got, buf[:n]...)
		at(n)
		if err == io.EOF {
			return got, nil
		}
		if err != nil {
			return got, err
		}
	}
}

// world is one stream under strikes.
type world struct {
	*rig
	client, server *stripe.Stream
	token          stripe.Token
	rnd            *rand.Rand

	mu    sync.Mutex
	sides []*line
	moved atomic.Int64
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{rig: newRig(t), rnd: rand.New(rand.NewPCG(seed, 0))}
	var conns uint64
	w.under = func(c net.Conn) net.Conn {
		conns++
		return &halting{Conn: c, rnd: rand.New(rand.NewPCG(seed, conns))}
	}
	w.client, w.server = w.open(stripe.Config{})
	var err error
	if w.token, err = w.client.Offer(); err != nil {
		t.Fatal(err)
	}
	for range 1 + w.rnd.IntN(4) {
		w.add()
	}
	if w.rnd.IntN(2) == 0 {
		w.attach(w.client, w.token, w.first)
	}
	return w
}

// add attaches one more side connection.
func (w *world) add() {
	side := w.connect()
	if err := w.tryAttach(w.client, w.token, side); err != nil {
		side.client.Close() // the stream is over, or has enough
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sides = append(w.sides, side)
}

// cutOne cuts a side connection, and reports whether there was one.
func (w *world) cutOne() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.sides) == 0 {
		return false
	}
	w.sides[0].cut()
	w.sides = w.sides[1:]
	return true
}

// strikes calls do each time that so many bytes more have moved, until stop is closed.
func (w *world) strikes(every int64, stop <-chan struct{}, do func()) (at func(int), done <-chan struct{}) {
	due, ended := make(chan struct{}, 1), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-due:
				do()
			case <-stop:
				return
			}
		}
	}()
	return func(n int) {
		if now := w.moved.Add(int64(n)); now/every != (now-int64(n))/every {
			select {
			case due <- struct{}{}:
			default:
			}
		}
	}, ended
}

// run moves data both ways, and strikes. It returns what came up and down.
func (w *world) run(up, down []byte, every int64, do func()) (gotUp, gotDown []byte, errs []error) {
	stop := make(chan struct{})
	at, struck := w.strikes(every, stop, do)
	errs = make([]error, 4)
	seeds := [4]uint64{w.rnd.Uint64(), w.rnd.Uint64(), w.rnd.Uint64(), w.rnd.Uint64()}
	rnd := func(i int) *rand.Rand { return rand.New(rand.NewPCG(seeds[i], 0)) }
	var wg sync.WaitGroup
	wg.Go(func() { errs[0] = drive(w.client, up, rnd(0)) })
	wg.Go(func() { errs[1] = drive(w.server, down, rnd(1)) })
	wg.Go(func() { gotUp, errs[2] = drain(w.server, rnd(2), at) })
	wg.Go(func() { gotDown, errs[3] = drain(w.client, rnd(3), at) })
	wg.Wait()
	close(stop)
	<-struck
	return gotUp, gotDown, errs
}

const modelRuns = 12

func TestStreamSurvivesTheDeathOfItsStripes(t *testing.T) {
	for seed := range uint64(modelRuns) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, seed)
			up, down := random(w.rnd.IntN(3<<20)), random(w.rnd.IntN(3<<20))
			gotUp, gotDown, errs := w.run(up, down, 300<<10, func() {
				w.add()
				w.cutOne()
			})
			if err := errors.Join(errs...); err != nil || !bytes.Equal(gotUp, up) || !bytes.Equal(gotDown, down) {
				t.Errorf("%d of %d bytes came up, %d of %d down, errors %q", len(gotUp), len(up), len(gotDown), len(down), errs)
			}
		})
	}
}

func TestEndOfThePrimaryIsTheEndOfAll(t *testing.T) {
	for name, strike := range map[string]func(w *world){
		"the first connection is cut": func(w *world) { w.first.cut() },
		"the client aborts":           func(w *world) { w.client.Abort() },
		"the server aborts":           func(w *world) { w.server.Abort() },
		"the server closes":           func(w *world) { w.server.Close() },
		"the client closes":           func(w *world) { w.client.Close() },
	} {
		for seed := range uint64(4) {
			t.Run(fmt.Sprint(name, " ", seed), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, seed)
				// Neither direction can be complete when the first byte of its second half comes.
				up, down := random(8<<20), random(8<<20)
				_, _, errs := w.run(up, down, 100<<10+w.rnd.Int64N(4<<20), func() { strike(w) })
				for i, err := range errs {
					if !errors.Is(err, relay.ErrAborted) {
						t.Errorf("%s: got %v, want %v", [...]string{"write up", "write down", "read up", "read down"}[i], err, relay.ErrAborted)
					}
				}
				<-w.client.Done()
				<-w.server.Done()
			})
		}
	}
}
