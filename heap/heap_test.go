package heap

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

func TestALargeHeapHasLessGarbage(t *testing.T) {
	for live, want := range map[uint64]int{
		0: most, 1 << 20: most, 16 << 20: most, 17 << 20: 375, 32 << 20: 200, 64 << 20: least, 1 << 40: least,
	} {
		if got := percentOf(live); got != want {
			t.Errorf("%d MiB: got %d %%, want %d", live>>20, got, want)
		}
	}
}

// held returns what the heap has of the system's memory, in bytes.
func held() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapSys - m.HeapReleased
}

// waitFor waits until what must happen has.
func waitFor(t *testing.T, what string, happened func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !happened(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

// squander makes so many bytes of garbage, all of it at once.
func squander(n int) {
	kept := make([][]byte, 0, n>>10)
	for range cap(kept) {
		kept = append(kept, make([]byte, 1<<10))
	}
	runtime.KeepAlive(kept)
}

func TestGarbageGoesWhenNothingHappens(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	k := start(20 * time.Millisecond)
	defer k.stop()
	const waste = 256 << 20
	before := held()
	for range 2 { // what the first has left behind might have been there before
		squander(waste)
		runtime.GC() // there are some in so much; this machine may have paused after the last
		waitFor(t, "the garbage is gone", func() bool {
			return held() < before+worthwhile
		})
	}
}

func TestNothingIsDoneWhileSomethingHappens(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	k := start(time.Hour)
	defer k.stop()
	runtime.GC()
	waitFor(t, "it has seen a collection", func() bool { k.mu.Lock(); defer k.mu.Unlock(); return k.running })
	for range little/1024 + 1 {
		sink = make([]byte, 1024)
	}
	collections := func() uint32 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.NumForcedGC
	}
	before := collections()
	k.look() // as the timer does
	k.mu.Lock()
	running := k.running
	k.mu.Unlock()
	if got := collections(); got != before || !running {
		t.Errorf("%d collections by force, and it looks again: %v; want none and true", got-before, running)
	}
}

var sink []byte
