package activity

import (
	"slices"
	"time"

	"github.com/culvert-ssh/culvert/relay"
)

// TransferMeter counts one transfer. A nil one counts nothing.
type TransferMeter struct {
	connection *ConnectionMeter
	transfer   Transfer
	flow       *series // nil as long as there is no data connection
	before     carried // what that had carried when it became this one's
	ended      bool
}

// carried is what a pair of counters shows.
type carried struct{ up, down int64 }

func carriedBy(count *relay.Counters) carried {
	return carried{count.AToB.Load(), count.BToA.Load()}
}

// Count has the bytes of the transfer counted by count, in which B is the target. What it has counted before is not of the transfer.
func (t *TransferMeter) Count(count *relay.Counters) {
	if t == nil {
		return
	}
	b := t.connection.tunnel.board
	b.mu.Lock()
	defer b.mu.Unlock()
	if !t.ended && t.flow == nil {
		t.flow = b.watch(count, time.Now())
		t.before = carriedBy(count)
	}
}

// carried is what the transfer has moved.
func (t *TransferMeter) carried() carried {
	if t.flow == nil {
		return carried{}
	}
	now := carriedBy(t.flow.count)
	return carried{now.up - t.before.up, now.down - t.before.down}
}

// shown needs the board's mu.
func (t *TransferMeter) shown() Transfer {
	s, moved := t.transfer, t.carried()
	s.Bytes = moved.down
	if s.Direction == Upload {
		s.Bytes = moved.up
	}
	if t.flow != nil {
		s.Rate, s.Rates = t.flow.rate(), slices.Clone(t.flow.rates)
	}
	return s
}

// Begun says that the server has begun, and what is known of the file by then: of known, File counts if it isn't empty, and Offset, Size and
// Compressed do.
func (t *TransferMeter) Begun(known Transfer) {
	if t == nil {
		return
	}
	t.connection.tunnel.board.mu.Lock()
	defer t.connection.tunnel.board.mu.Unlock()
	if known.File != "" {
		t.transfer.File = known.File
	}
	t.transfer.Begun = true
	t.transfer.Offset, t.transfer.Size, t.transfer.Compressed = known.Offset, known.Size, known.Compressed
}

// End says how the transfer has ended. Only the first call counts.
func (t *TransferMeter) End(how Outcome, cause string) {
	if t == nil {
		return
	}
	b := t.connection.tunnel.board
	b.mu.Lock()
	if t.ended {
		b.mu.Unlock()
		return
	}
	e := t.end(how, cause)
	b.mu.Unlock()
	b.tell([]Ended{e})
}

// end needs the board's mu.
func (t *TransferMeter) end(how Outcome, cause string) Ended {
	c, now := t.connection, time.Now()
	e := Ended{
		Transfer: t.shown(), Link: c.tunnel.tunnel.Link, Target: c.tunnel.tunnel.Target, From: c.connection.From,
		At: now, Outcome: how, Cause: cause,
	}
	if c.connection.Target != "" {
		e.Target = c.connection.Target
	}
	e.Rate, e.Rates = perSecond(e.Bytes, now.Sub(e.Since)), nil
	moved := t.carried()
	c.connection.Up += moved.up
	c.connection.Down += moved.down
	c.transfers = slices.DeleteFunc(c.transfers, func(o *TransferMeter) bool { return o == t })
	c.tunnel.board.end(e)
	delete(c.tunnel.board.series, t.flow)
	t.ended = true
	return e
}
