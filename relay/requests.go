package relay

import (
	"sync"

	"golang.org/x/crypto/ssh"
)

// teller is an SSH channel that tells of requests.
type teller interface {
	OnRequests(some func()) // has some called in a goroutine of its own when there may be some, or their end
	RequestsEnd() bool      // no more come; so it says before a reader meets an EOF that comes of a close
}

// requests are what the peer says in channel requests. Where the SSH library can say when there are some, as ours can
// (patches/64-requests.patch), nobody waits for them: a channel has few, and most of them at its end.
type requests struct {
	from  <-chan *ssh.Request
	cfg   *ChannelConfig
	mu    sync.Mutex // held while they are taken, unless somebody waits
	heard endState   // in them
	ended sync.Once

	answers answers

	teller teller             // nil where somebody waits
	asked  chan chan endState // where somebody does: a reader that has met EOF asks him
	gone   chan struct{}      // likewise: closed when they have ended, and heard is valid then
}

// endState is what the peer has said so far about the end of its data.
type endState struct {
	said   bool   // EndOfDataRequest came
	bytes  uint64 // with this count
	closed bool   // no more requests: the channel was closed, or the connection died
}

// hear answers the requests on ch from now on. What it starts for that ends with the channel.
func (q *requests) hear(ch ssh.Channel) {
	if t, able := ch.(teller); able {
		q.teller = t
		t.OnRequests(q.some)
		return
	}
	q.asked, q.gone = make(chan chan endState), make(chan struct{})
	go q.wait()
}

// said returns what the peer has said before an EOF that a reader has met: that is in q.from already, because x/crypto/ssh queues packets
// in their order.
func (q *requests) said() endState {
	if q.teller != nil {
		return q.take()
	}
	answer := make(chan endState, 1)
	select {
	case q.asked <- answer:
		return <-answer
	case <-q.gone:
		return q.heard
	}
}

// some is called when there may be some, perhaps several times at once.
func (q *requests) some() {
	if q.take().closed {
		q.end()
	}
}

// take handles those that there are.
func (q *requests) take() endState {
	q.mu.Lock()
	defer q.mu.Unlock()
	ended := q.teller.RequestsEnd() // before looking for what came until then
	q.drain()
	q.heard.closed = q.heard.closed || ended
	return q.heard
}

// wait handles those that come, until they have ended. It owns q.heard.
func (q *requests) wait() {
	for !q.heard.closed {
		select {
		case r, ok := <-q.from:
			q.handle(r, ok)
		case answer := <-q.asked:
			q.drain()
			answer <- q.heard
		}
	}
	q.end()
	close(q.gone)
}

func (q *requests) drain() {
	for !q.heard.closed {
		select {
		case r, ok := <-q.from:
			q.handle(r, ok)
		default:
			return
		}
	}
}

func (q *requests) end() {
	if q.cfg.Extension != nil {
		q.ended.Do(q.cfg.Extension.Closed)
	}
}

func (q *requests) handle(r *ssh.Request, ok bool) {
	if !ok {
		q.heard.closed = true
		return
	}
	known := false
	if r.Type == EndOfDataRequest && q.cfg.EndOfData {
		var m endOfData
		if ssh.Unmarshal(r.Payload, &m) == nil && !q.heard.said {
			q.heard.said, q.heard.bytes, known = true, m.Bytes, true
			if q.cfg.Extension != nil {
				q.cfg.Extension.EndOfData(m.Bytes)
			}
		}
	} else if q.cfg.Extension != nil {
		known = q.cfg.Extension.Request(r.Type, r.Payload)
	}
	q.answers.give(r, known)
}
