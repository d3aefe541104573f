package server

import (
	"net"
	"sync/atomic"
	"time"
)

// hearing is a connection that remembers when something was read from it. Until known is set, it hands on
// little, and slowly; see unknown.go.
type hearing struct {
	net.Conn
	known atomic.Bool
	slow  unknown // only Read uses it, but for its turn
	now   func() time.Time
	since time.Time
	last  atomic.Int64 // time after since, in nanoseconds; thus a jump of the wall clock doesn't matter

	armed time.Time // when the deadline of Write was set; only Write uses it

	own traffic
	all *traffic // of the server
}

// traffic is bytes from clients and to them, as they are on the wire.
type traffic struct{ up, down atomic.Int64 }

func (h *hearing) Read(p []byte) (n int, err error) {
	if h.known.Load() {
		n, err = h.slow.known(h.Conn, p)
	} else {
		n, err = h.slow.read(h.Conn, p)
	}
	if n > 0 {
		h.last.Store(int64(h.now().Sub(h.since)))
		h.own.up.Add(int64(n))
		h.all.up.Add(int64(n))
	}
	return n, err
}

// writeTimeout is how long the client may leave what is written to it unread. Its channels' windows hold back data
// long before the socket is full; whoever gets here reads nothing at all, and has been stopped or lost, perhaps to
// be resumed. It may be a tenth less.
const writeTimeout = 10 * time.Minute

func (h *hearing) Write(p []byte) (int, error) {
	if now := time.Now(); now.Sub(h.armed) > writeTimeout/10 { // a tenth of it doesn't matter, and a timer for each packet would
		if err := h.SetWriteDeadline(now.Add(writeTimeout)); err != nil {
			return 0, err
		}
		h.armed = now
	}
	n, err := h.Conn.Write(p)
	h.own.down.Add(int64(n))
	h.all.down.Add(int64(n))
	return n, err
}

// silence returns for how long nothing was read.
func (h *hearing) silence() time.Duration {
	return h.now().Sub(h.since) - time.Duration(h.last.Load())
}

// keepAlive asks the client for a sign of life after every interval of silence, and ends the connection when
// countMax intervals more have passed without one (sshd_config(5), ClientAliveCountMax). Whatever the client
// sends is a sign of life. It returns when the connection has ended.
func (c *connection) keepAlive(interval time.Duration, countMax int) {
	var (
		asking   atomic.Bool
		seen     int64 // value of heard.last
		unheard  int   // questions since then
		deadline = time.NewTimer(interval)
	)
	defer deadline.Stop()
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-deadline.C:
		}
		// An answer comes right after its question, so that on a fast network an interval of silence has
		// passed again when the timer fires: the time alone doesn't tell.
		if last := c.heard.last.Load(); last != seen {
			seen, unheard = last, 0
		}
		if rest := interval - c.heard.silence(); rest > 0 {
			deadline.Reset(rest)
			continue
		}
		if countMax > 0 && unheard >= countMax {
			c.end(errSilent)
			return
		}
		unheard++
		// One question at a time: x/crypto/ssh would queue a second behind it.
		if conn := c.serverConn(); conn != nil && asking.CompareAndSwap(false, true) {
			c.helpers.Go(func() {
				defer asking.Store(false)
				_, _, _ = conn.SendRequest("keepalive@openssh.com", true, nil) // any answer will do, and none is silence
			})
		}
		deadline.Reset(interval)
	}
}
