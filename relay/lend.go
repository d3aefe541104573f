package relay

import (
	"io"
	"sync"
	"sync/atomic"
)

// bufferSize is how much one direction holds while it moves data, and while the other side takes none. Four SSH packets of 32 KiB
// are one system call on the TCP side.
const bufferSize = 128 << 10

// idleSize is how much a direction holds while nothing moves, if it must hold something: a parked connection
// must cost next to nothing.
const idleSize = 1 << 10

var (
	buffers      = sync.Pool{New: func() any { return new([bufferSize]byte) }}
	smallBuffers = sync.Pool{New: func() any { return new([idleSize]byte) }}
)

// loan is a buffer with what was read. The zero loan has none.
type loan struct {
	large *[bufferSize]byte // nil if there is none
	small *[idleSize]byte   // likewise
	n     int
}

// take returns a large buffer to read into. The caller must call keep.
func (l *loan) take() []byte {
	l.large = buffers.Get().(*[bufferSize]byte)
	return l.large[:]
}

// keep says that n bytes were read. What is little moves to a buffer of its size: whoever it is for may not take it for a long time.
func (l *loan) keep(n int) {
	l.n = n
	if n > idleSize {
		return
	}
	if n > 0 {
		l.small = smallBuffers.Get().(*[idleSize]byte)
		copy(l.small[:], l.large[:n])
	}
	buffers.Put(l.large)
	l.large = nil
}

// data is what was read. It is the caller's until it calls giveBack.
func (l *loan) data() []byte {
	switch {
	case l.large != nil:
		return l.large[:l.n]
	case l.small != nil:
		return l.small[:l.n]
	}
	return nil
}

// giveBack ends the loan, if there is one. It must be called before the next take.
func (l *loan) giveBack() {
	if l.large != nil {
		buffers.Put(l.large)
	}
	if l.small != nil {
		smallBuffers.Put(l.small)
	}
	*l = loan{}
}

// lender is a Stream that takes a buffer once there is something to read.
type lender interface {
	// lend reads. The data is the caller's until it calls giveBack, which it must before it reads again.
	lend(*borrower) ([]byte, error)
}

// pass copies what src lends, until that returns an error.
func pass(dst Stream, src lender, n *atomic.Int64) error {
	var b borrower
	defer b.giveBack() // whatever fails
	for {
		p, err := src.lend(&b)
		if err != nil {
			return err
		}
		if err := write(dst, p, n); err != nil {
			return err
		}
		b.giveBack()
	}
}

// awaiter is a Stream that may be able to wait until there is something to read.
type awaiter interface {
	io.Reader

	// Await returns once Read would return at once, with whatever. It reports false, and hasn't waited, if it can't wait.
	Await() bool
}

// passAwaited copies what src has when it has something, until that returns an error. The first wait is over.
func passAwaited(dst Stream, src awaiter, n *atomic.Int64) error {
	var l loan
	defer l.giveBack() // whatever fails
	for {
		m, err := src.Read(l.take())
		l.keep(m)
		if m > 0 {
			if werr := write(dst, l.data(), n); werr != nil {
				return werr
			}
		}
		if err != nil {
			return err
		}
		l.giveBack()
		src.Await()
	}
}
