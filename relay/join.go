package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/culvert-ssh/culvert/processors"
)

// Counters are the bytes that a Join has moved so far; they may be read while it runs.
type Counters struct {
	AToB, BToA atomic.Int64
}

// Join moves bytes between a and b until both directions have ended, and owns both streams. It
// returns nil if both ended cleanly; both are then closed. At the first error, or when
// ctx is done, both are aborted, and the error tells the cause.
//
// If count is nil, nobody is told how many bytes there were.
func Join(ctx context.Context, a, b Stream, count *Counters) error {
	if count == nil {
		count = new(Counters)
	}
	abort := func() { AbortAll(a, b) }
	stop := context.AfterFunc(ctx, abort)
	defer stop()

	var (
		wg    sync.WaitGroup
		once  sync.Once
		half  atomic.Bool // one direction has ended cleanly
		first error
		panik any
	)
	direction := func(dst, src Stream, n *atomic.Int64, name string) {
		defer wg.Done()
		fail := func(err error, p any) {
			once.Do(func() {
				first, panik = &DirectionError{Direction: name, Err: err}, p
				abort()
			})
		}
		defer func() {
			if p := recover(); p != nil { // our caller's to deal with, and its goroutine's
				fail(nil, fmt.Sprintf("%v\n%s", p, debug.Stack()))
			}
		}()
		if err := pump(dst, src, n, &half); err != nil {
			fail(err, nil)
		}
	}
	wg.Add(2)
	go direction(b, a, &count.AToB, "up")
	direction(a, b, &count.BToA, "down")
	wg.Wait()

	if panik != nil {
		panic(panik)
	}
	if first != nil {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		return first
	}
	if !stop() { // ctx ended us after both directions had ended: nothing was lost
		return nil
	}
	return errors.Join(a.Close(), b.Close())
}

// AbortAll aborts streams, beside each other: to abort an SSH channel may take as long as its peer
// doesn't read, and the reset of a TCP connection must not wait for that.
func AbortAll(streams ...Stream) {
	var wg sync.WaitGroup
	for _, s := range streams {
		wg.Go(s.Abort)
	}
	wg.Wait()
}

// DirectionError is the error that ended a Join, with the direction that met it first.
type DirectionError struct {
	Direction string // "up", from a to b, or "down": a is where the client is
	Err       error
}

func (e *DirectionError) Error() string { return e.Direction + ": " + e.Err.Error() }
func (e *DirectionError) Unwrap() error { return e.Err }

// pump copies from src to dst until the end of src, and then ends dst's direction. half says whether the other one has ended.
func pump(dst, src Stream, n *atomic.Int64, half *atomic.Bool) error {
	if err := move(dst, src, n); err != io.EOF {
		return err
	}
	if f, ok := dst.(finisher); ok && half.Load() {
		return f.Finish()
	}
	if err := dst.CloseWrite(); err != nil {
		return err
	}
	half.Store(true)
	return nil
}

// finisher is a Stream that can say in one piece that its data is complete and that it is closed.
type finisher interface {
	// Finish is CloseWrite and, if that succeeds and it can, Close, whose error is left to Close.
	Finish() error
}

// move copies until src returns an error. It holds as little as src lets it while there is nothing to read.
func move(dst, src Stream, n *atomic.Int64) error {
	if l, ok := src.(lender); ok {
		return pass(dst, l, n)
	}
	if a, ok := src.(awaiter); ok && a.Await() {
		return passAwaited(dst, a, n)
	}
	return drain(dst, src, n)
}

// drain copies until src returns an error.
//
// It waits for data with a small buffer of its own and takes a large one from the pool
// only while reads fill it.
func drain(dst, src Stream, n *atomic.Int64) error {
	idle := make([]byte, idleSize)
	for {
		m, err := src.Read(idle)
		if m > 0 {
			if werr := write(dst, idle[:m], n); werr != nil {
				return werr
			}
		}
		if err == nil && m == len(idle) {
			err = burst(dst, src, n)
		}
		if err != nil {
			return err
		}
	}
}

// burst copies with a large buffer until a read brings little.
func burst(dst, src Stream, n *atomic.Int64) error {
	buf := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(buf)
	for {
		m, err := src.Read(buf[:])
		if m > 0 {
			if werr := write(dst, buf[:m], n); werr != nil {
				return werr
			}
		}
		if err != nil {
			return err
		}
		if m < idleSize {
			return nil
		}
	}
}

func write(dst Stream, p []byte, n *atomic.Int64) error {
	m, err := dst.Write(p)
	n.Add(int64(m))
	processors.Moved(m)
	return err
}
