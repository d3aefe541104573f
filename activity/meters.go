package activity

import (
	"slices"
	"time"

	"github.com/culvert-ssh/culvert/relay"
)

// TunnelMeter counts what goes through one Tunnel. A nil one counts nothing.
type TunnelMeter struct {
	board       *Board
	tunnel      Tunnel // Served, Up and Down are those of the connections that have ended
	connections []*ConnectionMeter
	users       int // who will call Close
}

func (m *TunnelMeter) is(t Tunnel) bool {
	is := m.tunnel
	return is.Link == t.Link && is.Kind == t.Kind && is.FTP == t.FTP && is.Listen == t.Listen && is.Target == t.Target
}

// ListensAt says where programs connect to, if that is known only now.
func (m *TunnelMeter) ListensAt(at string) {
	if m == nil {
		return
	}
	m.board.mu.Lock()
	defer m.board.mu.Unlock()
	m.tunnel.Listen = at
}

// Connection begins to count a connection through the tunnel. The caller must call Close.
func (m *TunnelMeter) Connection(c Connection) *ConnectionMeter {
	if m == nil {
		return nil
	}
	m.board.mu.Lock()
	defer m.board.mu.Unlock()
	now := time.Now()
	if c.Target == m.tunnel.Target {
		c.Target = ""
	}
	cm := &ConnectionMeter{tunnel: m, connection: Connection{
		ID: m.board.next(), From: c.From, Target: c.Target, FTP: c.FTP, User: c.User, Since: now,
	}}
	m.tunnel.Served++
	m.connections = append(m.connections, cm)
	return cm
}

// Close ends it when all who were given it have called it, and with it everything that is still counted.
func (m *TunnelMeter) Close() {
	if m == nil {
		return
	}
	var told []Ended
	m.board.mu.Lock()
	if m.users--; m.users > 0 {
		m.board.mu.Unlock()
		return
	}
	for _, c := range slices.Clone(m.connections) {
		told = append(told, c.close()...)
	}
	m.board.tunnels = slices.DeleteFunc(m.board.tunnels, func(o *TunnelMeter) bool { return o == m })
	m.board.mu.Unlock()
	m.board.tell(told)
}

func (m *TunnelMeter) shown() Tunnel {
	t := m.tunnel
	for _, c := range m.connections {
		shown := c.shown()
		t.Up += shown.Up
		t.Down += shown.Down
		t.Connections = append(t.Connections, shown)
	}
	return t
}

// ConnectionMeter counts one connection through a tunnel. A nil one counts nothing.
type ConnectionMeter struct {
	tunnel     *TunnelMeter
	connection Connection // Up and Down are those of the transfers that have ended
	flow       *series    // of a connection that is no FTP control connection; or nil
	transfers  []*TransferMeter
	closed     bool
}

// Beside begins to count another connection through the same tunnel, which may outlive c. The caller must call Close.
func (c *ConnectionMeter) Beside(other Connection) *ConnectionMeter {
	if c == nil {
		return nil
	}
	return c.tunnel.Connection(other)
}

// Count has the bytes of the connection itself counted by count, in which B is the target. A connection of FTP has transfers instead.
func (c *ConnectionMeter) Count(count *relay.Counters) {
	if c == nil {
		return
	}
	b := c.tunnel.board
	b.mu.Lock()
	defer b.mu.Unlock()
	if !c.closed {
		c.flow = b.watch(count, time.Now())
	}
}

// LoggedIn says who is logged in by FTP. The name is shown as it is.
func (c *ConnectionMeter) LoggedIn(user string) {
	if c == nil {
		return
	}
	c.tunnel.board.mu.Lock()
	defer c.tunnel.board.mu.Unlock()
	c.connection.User = user
}

// Transfer begins to show a transfer; of t, the file and the direction count. The caller must call End.
func (c *ConnectionMeter) Transfer(t Transfer) *TransferMeter {
	if c == nil {
		return nil
	}
	b := c.tunnel.board
	b.mu.Lock()
	defer b.mu.Unlock()
	m := &TransferMeter{connection: c, transfer: Transfer{ID: b.next(), File: t.File, Direction: t.Direction, Since: time.Now()}}
	if c.closed {
		m.ended = true
		return m
	}
	c.transfers = append(c.transfers, m)
	return m
}

// Close ends it. Transfers that haven't ended are taken for failed.
func (c *ConnectionMeter) Close() {
	if c == nil {
		return
	}
	b := c.tunnel.board
	b.mu.Lock()
	told := c.close()
	b.mu.Unlock()
	b.tell(told)
}

// close needs the board's mu, and returns the transfers that have ended by it.
func (c *ConnectionMeter) close() (told []Ended) {
	if c.closed {
		return nil
	}
	for _, t := range slices.Clone(c.transfers) {
		told = append(told, t.end(Failed, "the control connection ended"))
	}
	c.closed = true
	shown := c.shown()
	c.tunnel.tunnel.Up += shown.Up
	c.tunnel.tunnel.Down += shown.Down
	delete(c.tunnel.board.series, c.flow)
	c.tunnel.connections = slices.DeleteFunc(c.tunnel.connections, func(o *ConnectionMeter) bool { return o == c })
	return told
}

func (c *ConnectionMeter) shown() Connection {
	s := c.connection
	if c.flow != nil {
		moved := carriedBy(c.flow.count)
		s.Up, s.Down = moved.up, moved.down
		s.Rate, s.Rates = c.flow.rate(), slices.Clone(c.flow.rates)
	}
	for _, t := range c.transfers {
		moved := t.carried()
		s.Up += moved.up
		s.Down += moved.down
		s.Transfers = append(s.Transfers, t.shown())
	}
	return s
}

// tell tells of transfers that have ended. It must not be called with b.mu held.
func (b *Board) tell(ended []Ended) {
	if b.OnEnd == nil {
		return
	}
	for _, e := range ended {
		b.OnEnd(e)
	}
}
