package relay

import (
	"errors"
	"runtime"
	"sync/atomic"
	"syscall"
)

// WithLastWord returns s as a stream to whose peer nothing needs to be said after its own end. It is for connections on which
// somebody has a last word when all that counts was said, as in TLS (close_notify, tickets): the peer may have closed by then, and the
// reset that answers must not undo what was complete.
//
// A reset tells itself once, to Read or to Write, and after that Read returns io.EOF whether the data was complete or not. Linux says which: to a
// connection whose peer had ended before, it is EPIPE, and otherwise ECONNRESET. Only the former is forgiven, and elsewhere nothing.
func WithLastWord(s Stream) Stream { return &lastWord{Stream: s} }

type lastWord struct {
	Stream
	gone atomic.Bool // the peer has ended and takes nothing any more
}

func (l *lastWord) Write(p []byte) (int, error) {
	if l.gone.Load() {
		return len(p), nil
	}
	n, err := l.Stream.Write(p)
	if errors.Is(err, syscall.EPIPE) && runtime.GOOS == "linux" {
		l.gone.Store(true)
		return len(p), nil
	}
	return n, err
}

func (l *lastWord) CloseWrite() error {
	if l.gone.Load() {
		return nil
	}
	return l.Stream.CloseWrite()
}
