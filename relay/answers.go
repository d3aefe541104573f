package relay

import (
	"sync"

	"golang.org/x/crypto/ssh"
)

// maxAnswers is how many answers to requests on one channel may wait until they can be sent. An honest peer has asked for one, or a few.
const maxAnswers = 64

// answers sends the answers to the requests on one channel, in their order. Whoever handles the requests must not wait until an answer is sent: x/crypto/ssh queues 16
// of them for each channel, of up to 256 KiB each, so that a peer that asks much and reads no answers would have twice as much memory held as its windows allow.
type answers struct {
	mu      sync.Mutex
	queue   []answer
	sending bool // by a goroutine, while there is something to send
	lost    bool // there were too many: there are no more on this channel, as they have an order
}

type answer struct {
	to *ssh.Request
	ok bool
}

// give answers r, if it wants that. The request has no payload any more.
func (a *answers) give(r *ssh.Request, ok bool) {
	if !r.WantReply {
		return
	}
	r.Type, r.Payload = "", nil
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.lost = a.lost || len(a.queue) == maxAnswers; a.lost {
		return
	}
	a.queue = append(a.queue, answer{r, ok})
	if !a.sending {
		a.sending = true
		go a.send() // ends with the connection at the latest
	}
}

func (a *answers) send() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(a.queue) > 0 {
		next := a.queue[0]
		a.queue = a.queue[1:]
		a.mu.Unlock()
		_ = next.to.Reply(next.ok, nil) // a failing reply means a dying connection; Read reports it
		a.mu.Lock()
	}
	a.queue, a.sending = nil, false
}

// Refuse refuses the requests on a channel until they end. It is [ssh.DiscardRequests] for a peer that may read no answers.
func Refuse(reqs <-chan *ssh.Request) {
	var a answers
	for r := range reqs {
		a.give(r, false)
	}
}
