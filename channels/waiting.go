package channels

import (
	"sync"
	"sync/atomic"

	"golang.org/x/crypto/ssh"
)

const (
	// maxWaiting is how many channel opens of one connection may be in hand at once, those that are about
	// to be refused included. A client that sends opens and doesn't read the refusals
	// would otherwise pile up a goroutine for each.
	maxWaiting = 1024

	// maxWaitingBytes is how long these may be together, in bytes. Honest ones have some hundred each, and x/crypto/ssh
	// takes 256 KiB.
	maxWaitingBytes = 1 << 20
)

// inHand are the channel opens that have no answer yet.
type inHand struct{ opens, bytes atomic.Int64 }

// take counts one, until answered is called, which may be called again, and reports whether there aren't too many.
func (h *inHand) take(nc ssh.NewChannel) (answered func(), ok bool) {
	size := int64(len(nc.ChannelType()) + len(nc.ExtraData()))
	opens, bytes := h.opens.Add(1), h.bytes.Add(size)
	return sync.OnceFunc(func() {
		h.opens.Add(-1)
		h.bytes.Add(-size)
	}), opens <= maxWaiting && bytes <= maxWaitingBytes
}

// waiting is a channel that has no answer yet.
type waiting struct {
	ssh.NewChannel
	answered func()
}

func (w *waiting) Accept() (ssh.Channel, <-chan *ssh.Request, error) {
	defer w.answered()
	return w.NewChannel.Accept()
}

func (w *waiting) Reject(reason ssh.RejectionReason, text string) error {
	defer w.answered()
	return w.NewChannel.Reject(reason, text)
}
