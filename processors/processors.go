// Package processors says on how many processors the goroutines of a program run at once (GOMAXPROCS): on one while little happens, on all
// that there are once more does. It doesn't know what happens, only how much.
//
// An SSH packet goes through several goroutines, each of which wakes up the next. Where that may run on another processor, the runtime wakes up a
// thread for it, which costs more than the few microseconds that it has to do there (docs/adr/0030-processors.md).
package processors

import (
	"os"
	"runtime"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// window is how long it is measured how much happens.
	window = 50 * time.Millisecond

	// much is how many bytes in a window are too much for one processor: 20 MB/s use a tenth of it, but a few bytes that come meanwhile wait for
	// pieces of 128 KiB. A thousand small files a second are half of it.
	much = 1 << 20

	// crowd is how many goroutines that want to run are too many for one processor. One channel open after another, or FTP file, has up to four at a
	// time; sixteen at once have that and more most of the time.
	crowd = 8

	// busy is what may be used of one processor while there is no other, in percent.
	busy = 90

	// calm is what may be used of all together for one to be enough, in percent of that one. The same work takes a fifth less there.
	calm = 80

	// rest is how long all are used at least: for each change the program stands still for a moment.
	rest = time.Second
)

// kept is what Keep has started, nil if it hasn't. There is one as there is one GOMAXPROCS.
var kept atomic.Pointer[keeper]

// Keep keeps it so until the end of the program, unless GOMAXPROCS is set in the environment, or there is one processor, or the system doesn't tell
// what a program uses.
func Keep() {
	if os.Getenv("GOMAXPROCS") != "" || runtime.GOMAXPROCS(0) == 1 || used == nil {
		return
	}
	begin := time.Now()
	kept.Store(start(rest, gauges{func() time.Duration { return time.Since(begin) }, used, waiting}, use))
}

// waiting returns how many goroutines want to run and don't.
func waiting() int {
	s := []metrics.Sample{{Name: "/sched/goroutines/runnable:goroutines"}}
	metrics.Read(s)
	if s[0].Value.Kind() != metrics.KindUint64 { // no such thing in this release of Go
		return crowd
	}
	return int(min(s[0].Value.Uint64(), crowd))
}

// use has all processors used, or one.
func use(all bool) {
	if all {
		runtime.SetDefaultGOMAXPROCS() // as many as there are by now
		return
	}
	runtime.GOMAXPROCS(1)
}

// Need says that something begins for which one processor isn't enough.
func Need() {
	if k := kept.Load(); k != nil {
		k.need(k.now())
	}
}

// Moved says that n bytes were moved.
func Moved(n int) {
	if k := kept.Load(); k != nil {
		k.moved(n)
	}
}

// gauges are what there is to look at.
type gauges struct {
	now     func() time.Duration // since some moment
	used    func() time.Duration // processor time
	waiting func() int           // goroutines
}

// keeper is told of what happens, and does nothing while nothing does: its timer runs as long as all processors are used.
type keeper struct {
	gauges
	use  func(all bool)
	rest time.Duration

	one    atomic.Bool  // processor is used
	needed atomic.Int64 // when that was last told
	begun  atomic.Int64 // when the window was
	bytes  atomic.Int64 // moved in it

	mu    sync.Mutex
	spent time.Duration                     // when the window was begun, while one processor is used
	last  struct{ now, used time.Duration } // when it was looked whether one is enough
	timer *time.Timer
}

// start begins with all processors.
func start(rest time.Duration, g gauges, use func(all bool)) *keeper {
	k := &keeper{gauges: g, use: use, rest: rest}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.last.now, k.last.used = k.now(), k.used()
	k.needed.Store(int64(k.last.now))
	k.timer = time.AfterFunc(rest, k.settle)
	return k
}

// need is called at the time now.
func (k *keeper) need(now time.Duration) {
	k.needed.Store(int64(now))
	if k.one.CompareAndSwap(true, false) {
		go func() { // the change waits for a garbage collection that is under way
			k.mu.Lock()
			defer k.mu.Unlock()
			k.useAll()
		}()
	}
}

// useAll needs k.mu.
func (k *keeper) useAll() {
	k.use(true)
	k.last.now, k.last.used = k.now(), k.used()
	k.timer.Reset(k.rest)
}

// moved looks at what happens once a window is over, or much has been moved in it.
func (k *keeper) moved(n int) {
	bytes, now := k.bytes.Add(int64(n)), k.now()
	took := now - time.Duration(k.begun.Load())
	if bytes < much && took < window || !k.mu.TryLock() { // somebody looks already
		return
	}
	defer k.mu.Unlock()
	k.bytes.Store(0)
	k.begun.Store(int64(now))
	spent := k.spend()
	if bytes >= much && took < window || k.waiting() >= crowd || took < 2*window && 100*spent > busy*took {
		k.need(now)
	}
}

// spend returns what was used of processors since it was called last, 0 while all may be. It needs k.mu.
func (k *keeper) spend() time.Duration {
	if !k.one.Load() {
		return 0
	}
	used := k.used()
	spent := used - k.spent
	k.spent = used
	return spent
}

// settle has one processor used if that is enough by now, and otherwise comes again.
func (k *keeper) settle() {
	k.mu.Lock()
	defer k.mu.Unlock()
	now, used, needed := k.now(), k.used(), k.needed.Load()
	enough := now-time.Duration(needed) >= k.rest && 100*(used-k.last.used) <= calm*(now-k.last.now)
	k.last.now, k.last.used = now, used
	if !enough {
		k.timer.Reset(k.rest)
		return
	}
	k.use(false)
	k.bytes.Store(0)
	k.begun.Store(int64(now))
	k.spent = used
	k.one.Store(true)
	if k.needed.Load() != needed && k.one.CompareAndSwap(true, false) { // it came too early for need to see that one is used
		k.useAll()
	}
}
