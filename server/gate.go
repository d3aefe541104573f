package server

import "sync"

// gate counts the handlers of one connection. gliderlabs/ssh starts a goroutine for each and waits
// for none; one that comes late finds the gate shut.
type gate struct {
	mu     sync.Mutex
	closed bool
	inside sync.WaitGroup
}

// enter reports whether the caller may go on. If so, it must leave.
func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		g.inside.Add(1)
	}
	return !g.closed
}

func (g *gate) leave() { g.inside.Done() }

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
}

// wait returns when all have left. The gate must be shut.
func (g *gate) wait() { g.inside.Wait() }
