// Package heap says how much garbage the Go heap of a program may have: much while the heap is small and data runs, none once nothing
// happens. It knows nothing of what is in it, nor of how much memory there is (debug.SetMemoryLimit).
package heap

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"
)

const (
	// most is the percentage of garbage (GOGC) of a small heap: x/crypto/ssh allocates for every packet that it receives, and next to
	// nothing of it lives. Collecting less often makes bulk transfers 1.06 to 1.13 times as fast (docs/performance.md).
	most = 400

	// least is that of a large one, which many connections make: what they hold is there already, and isn't there five times.
	least = 100

	// room is the garbage that there may be between those two, in bytes.
	room = 64 << 20

	// quiet is how long nothing must happen until the garbage of before is given back to the system. Otherwise the collector would leave it
	// lying until there is several times as much as lives, which on a quiet machine is never.
	quiet = 5 * time.Second

	// shrinks is how many collections come before that: each makes half of a stack that was deep once, as that of a login is.
	shrinks = 3

	// little is what may be allocated in quiet, in bytes, though nothing happens: keepalives, and whoever looks at the metrics. Of a
	// large heap, a littlePart may.
	little     = 1 << 20
	littlePart = 64

	// worthwhile is what must have been allocated for a collection while nothing happens, in bytes. Of a large heap, a worthwhilePart.
	worthwhile     = 4 << 20
	worthwhilePart = 16
)

// Keep keeps it so until the end of the program, unless GOGC is set in the environment.
func Keep() {
	if os.Getenv("GOGC") == "" {
		start(quiet)
	}
}

// keeper is woken by each collection, and by nothing when there are none.
type keeper struct {
	quiet time.Duration

	mu      sync.Mutex
	percent int
	seen    uint64      // bytes that had been allocated when it was looked last
	given   uint64      // likewise when garbage was given back last
	timer   *time.Timer // runs from a collection until it was quiet
	running bool
	own     bool // the collection that comes is ours
	stopped bool
}

func start(quiet time.Duration) *keeper {
	k := &keeper{quiet: quiet}
	k.timer = time.AfterFunc(math.MaxInt64, k.look)
	k.collected(new(sentinel))
	return k
}

func (k *keeper) stop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.stopped = true
	k.timer.Stop()
}

// sentinel is garbage, so that each collection finds it. It has a pointer, or others would be allocated along with it.
type sentinel struct{ _ *byte }

// collected comes after a collection.
func (k *keeper) collected(s *sentinel) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.stopped {
		return
	}
	runtime.SetFinalizer(s, k.collected)
	m := read()
	if p := percentOf(m.live); p != k.percent {
		k.percent = p
		debug.SetGCPercent(p)
	}
	switch {
	case k.own:
		k.own = false
	case !k.running:
		k.running, k.seen = true, m.allocated
		k.timer.Reset(k.quiet)
	}
}

// percentOf returns the percentage of garbage beside so many live bytes. It changes in steps, as each change stops the program for a moment.
func percentOf(live uint64) int {
	const step = 25
	p := int(min(100*room/max(live, 1), most))
	return max(p/step*step, least)
}

// look gives back what there is too much of, if nothing has happened for a while, and otherwise comes again.
func (k *keeper) look() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.stopped {
		return
	}
	m := read()
	if m.allocated-k.seen > max(little, m.live/littlePart) {
		k.seen = m.allocated
		k.timer.Reset(k.quiet)
		return
	}
	k.running = false
	if m.allocated-k.given < max(worthwhile, m.live/worthwhilePart) {
		return
	}
	k.own, k.given = true, m.allocated
	k.mu.Unlock()
	for range shrinks {
		runtime.GC()
	}
	debug.FreeOSMemory()
	k.mu.Lock()
}

// figures are bytes: what the last collection has found alive, and all that was ever allocated.
type figures struct{ live, allocated uint64 }

func read() figures {
	all := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(all)
	return figures{all[0].Value.Uint64(), all[1].Value.Uint64()}
}
