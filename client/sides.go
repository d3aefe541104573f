package client

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"log/slog"
	mathrand "math/rand/v2"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/login"
	"github.com/culvert-ssh/culvert/stripe"
)

// sideIdle is how long side connections stay that nobody uses.
const sideIdle = 5 * time.Minute

// sides are the side connections of one SSH connection, the first. With a bastion of ours they carry the stripes of its streams
// (docs/protocol.md); with any other SSH server they are logins of their own, and each carries whole streams. They are made when they
// are needed, one alone before the others, as it may be refused; they are made again when they break off, and end with the first. Whatever is in their
// way, the first does without. A nil *sides has none.
type sides struct {
	asked  Stripes
	login  func(ctx context.Context, key ssh.Signer, word string) (*login.Conn, error) // makes one
	alive  func(*connection)                                                           // keeps it alive
	log    *slog.Logger
	random func() float64
	idle   time.Duration // how long they stay that nobody uses
	denial time.Duration // how long the first refusal of one of ours counts
	share  *stripe.Share // of the memory of streams with stripes

	ctx    context.Context // of all that runs here
	cancel context.CancelFunc
	wg     sync.WaitGroup

	agreed chan struct{} // closed when what follows is known
	first  *connection
	key    ssh.Signer // by which they log in; nil if that is as the first did
	most   int        // how many there are to be

	mu       sync.Mutex
	changed  chan struct{} // closed, and replaced, when something below has changed
	closed   bool
	there    []*side
	keepers  int                // goroutines that make one and keep it
	making   int                // those of them that have none yet
	refused  bool               // the server lets no more in, for good
	denials  int                // one of ours has let nobody in so often, on end
	denied   bool               // a keeper waits until it may be asked again
	users    map[*user]struct{} // streams that have some, or want some
	lastUsed time.Time
}

// side is one of them.
type side struct{ *connection }

// newSides returns what conn may have beside it, or nil if cfg wants nothing of that.
func newSides(cfg *Config, conn *login.Conn) *sides {
	auto := cfg.Stripes == AutoStripes
	if cfg.Stripes == 0 || auto && cfg.ProxyCommand != "" { // which may ask somebody something when it is started again
		return nil
	}
	s := &sides{
		asked: cfg.Stripes, login: conn.Beside, log: cfg.Logger(), random: mathrand.Float64, idle: sideIdle, denial: leastDenial, share: cfg.StripesBudget.Share(),
		alive:   func(c *connection) { c.keepAlive(cfg.ServerAliveInterval, cfg.ServerAliveCountMax) },
		changed: make(chan struct{}), agreed: make(chan struct{}),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// begin finds out how many there may be beside first, which leads to a bastion of ours or not and has just made a round trip in rtt. It waits for
// nothing.
func (s *sides) begin(first *connection, ours bool, rtt time.Duration) {
	if s == nil {
		return
	}
	s.first = first
	s.goes(func() {
		defer close(s.agreed)
		if ours {
			s.most = s.agree(rtt)
		} else {
			s.most = max(int(s.asked), 0) // who logs in again and again at a foreign server, must have said so
		}
		s.log.Debug("side connections", "most", s.most)
	})
}

// agree returns how many there are to be beside a connection to a bastion of ours.
func (s *sides) agree(rtt time.Duration) int {
	if s.asked.at(rtt) == 0 {
		return 0
	}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err == nil {
		s.key, err = ssh.NewSignerFromKey(private)
	}
	if err != nil {
		s.log.Debug("there is no key for side connections", "err", err)
		return 0
	}
	asked := time.Now()
	ok, reply, err := s.first.request(s.ctx, globalRequest{
		name: stripe.Request, payload: ssh.Marshal(struct{ Key []byte }{s.key.PublicKey().Marshal()}), timeout: openTimeout,
	})
	rtt = min(rtt, time.Since(asked)) // one of them may have met a server that was busy
	var granted struct{ Most uint32 }
	if err == nil && ok {
		err = ssh.Unmarshal(reply, &granted)
	}
	if err != nil || !ok {
		s.log.Debug("the bastion has no stripes", "err", err)
		return 0
	}
	s.log.Debug("stripes agreed on", "rtt", rtt.Round(time.Microsecond), "granted", granted.Most)
	return min(s.asked.at(rtt), int(min(granted.Most, stripe.Max)))
}

// goes runs f, unless everything has ended.
func (s *sides) goes(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.wg.Go(f)
	}
}

// close returns when everything here has ended. The first connection must have ended, or be about to.
func (s *sides) close() {
	if s == nil {
		return
	}
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.end()
	s.wg.Wait()
}

// end has everything here end, and waits for nothing.
func (s *sides) end() {
	if s != nil {
		s.cancel()
	}
}

// tell wakes everybody who waits for a change. It needs s.mu.
func (s *sides) tell() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// expect has them made for what is likely to come.
func (s *sides) expect() {
	if s == nil {
		return
	}
	s.goes(func() {
		if s.known() {
			s.need()
		}
	})
}

// known waits until it is known how many there may be, and reports whether there may be any.
func (s *sides) known() bool {
	select {
	case <-s.agreed:
		return s.most > 0
	case <-s.ctx.Done():
		return false
	}
}

// need has them made, and kept for as long as somebody uses them, or for a while.
func (s *sides) need() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastUsed = time.Now()
	s.hire()
}

// count returns how many there are.
func (s *sides) count() int {
	if s == nil {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.there)
}

// leave does something with s.mu held, and tells of it.
func (s *sides) leave(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do()
	s.tell()
}
