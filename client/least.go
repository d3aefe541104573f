package client

import (
	"sync"
	"time"

	"github.com/culvert-ssh/culvert/relay"
)

// least returns the side connection that has the least to carry, and a stream that it carries one more for, until leave is called. It is nil if there
// is none that carries whole streams.
func (s *sides) least() (x *side, c *carried) {
	if s.use() != useStreams {
		return nil, nil
	}
	s.need()
	s.mu.Lock()
	defer s.mu.Unlock()
	x = leastOf(s.there, s.loads(time.Now()), func(*side) bool { return true })
	if x == nil {
		return nil, nil
	}
	c = &carried{user: user{on: map[*side]*seat{x: {taken: true}}}}
	c.starts()
	c.leave = sync.OnceFunc(func() { s.part(&c.user) })
	s.join(&c.user)
	return x, c
}

// carried is a stream of a side connection.
type carried struct {
	user
	relay.Stream
	leave func()
}

// Read is [relay.Stream.Read].
func (c *carried) Read(p []byte) (int, error) {
	n, err := c.Stream.Read(p)
	c.move(uint64(n))
	return n, err
}

// Write is [relay.Stream.Write].
func (c *carried) Write(p []byte) (int, error) {
	n, err := c.Stream.Write(p)
	c.move(uint64(n))
	return n, err
}

// Close is [relay.Stream.Close].
func (c *carried) Close() error {
	defer c.leave()
	return c.Stream.Close()
}

// Abort is [relay.Stream.Abort].
func (c *carried) Abort() {
	defer c.leave()
	c.Stream.Abort()
}
