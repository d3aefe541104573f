// Package relay joins two byte streams: half-close is kept, an abort is never
// mistaken for an end, and every byte is counted.
//
// It knows TCP connections and SSH channels. It does not dial, listen, decide or
// log, and it knows nothing of what the bytes mean.
package relay

import (
	"errors"
	"io"
)

// Stream is one bidirectional byte stream that can be closed one way at a time.
//
// Read returns io.EOF only if the peer said that its data is complete: a TCP FIN,
// or, on an SSH channel, what [Channel] takes for one. Any other end is a different
// error, and the bytes read before it are a part, not a whole.
//
// A Stream has one owner, who calls Close or Abort; handing a Stream to [Join] hands
// the ownership over.
type Stream interface {
	io.Reader
	io.Writer

	// CloseWrite says that everything was written and the data is complete.
	CloseWrite() error

	// Close releases the stream after both directions have ended. It is no abort: to a peer
	// that only reads, it is the end of data.
	Close() error

	// Abort ends both directions at once, in such a way that the peer can't take
	// it for an end of data: a TCP reset, an SSH channel closed without a word.
	// It may be called at any time, from any goroutine, more than once, and it
	// unblocks Read and Write: those of a TCP connection at once, those of an SSH channel
	// when the peer has confirmed the close (RFC 4254, section 5.3) or the SSH
	// connection ends, because until then the channel and its window are still there.
	Abort()
}

// ErrAborted is what Read returns at an end that the peer did not declare clean.
var ErrAborted = errors.New("stream aborted")

// ErrTransportLost is what Read returns when the SSH connection under a channel is
// gone, so that nobody can tell an end of data from a loss. It matches
// [ErrAborted] as well.
var ErrTransportLost error = &wrapped{"SSH connection lost", ErrAborted}

// wrapped is a constant error that is also another one.
type wrapped struct {
	text string
	is   error
}

func (w *wrapped) Error() string { return w.text }
func (w *wrapped) Unwrap() error { return w.is }
