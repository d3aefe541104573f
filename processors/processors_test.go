package processors

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// scene is a keeper whose gauges show what a test says.
type scene struct {
	*keeper
	clock, cpu atomic.Int64
	crowd      atomic.Int64
	using      chan bool // what was changed to, all or one
}

// newScene returns one that uses one processor.
func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{using: make(chan bool, 10)}
	s.keeper = start(time.Hour, gauges{
		now:     func() time.Duration { return time.Duration(s.clock.Load()) },
		used:    func() time.Duration { return time.Duration(s.cpu.Load()) },
		waiting: func() int { return int(s.crowd.Load()) },
	}, func(all bool) { s.using <- all })
	t.Cleanup(func() { s.timer.Stop() })
	s.pass(2*time.Hour, 0)
	s.ring()
	s.changed(t, false)
	return s
}

// pass has time go by, and some of it used.
func (s *scene) pass(d, used time.Duration) {
	s.clock.Add(int64(d))
	s.cpu.Add(int64(used))
}

// ring has the timer have run out.
func (s *scene) ring() {
	s.timer.Stop()
	s.settle()
}

// changed fails unless it has changed to all, or to one.
func (s *scene) changed(t *testing.T, all bool) {
	t.Helper()
	select {
	case got := <-s.using:
		if got != all {
			t.Fatalf("all processors are used: %v, want %v", got, all)
		}
	case <-time.After(30 * time.Second):
		t.Fatalf("nothing has changed, want all processors: %v", all)
	}
}

// unchanged fails if it has changed, or will.
func (s *scene) unchanged(t *testing.T, one bool) {
	t.Helper()
	if got := s.one.Load(); got != one || len(s.using) > 0 {
		t.Fatalf("one processor is used: %v, and %d changes; want %v and none", got, len(s.using), one)
	}
}

func TestSmallPiecesNeedOneProcessor(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.crowd.Store(crowd - 1)
	for range 10_000 {
		s.pass(time.Millisecond, 800*time.Microsecond)
		s.moved(10_000)
	}
	s.unchanged(t, true)
}

func TestAllProcessorsAreUsedForMuch(t *testing.T) {
	t.Parallel()
	for what, happens := range map[string]func(s *scene){
		"need":    func(s *scene) { s.need(s.now()) },
		"bytes":   func(s *scene) { s.pass(window/2, 0); s.moved(much) },
		"crowd":   func(s *scene) { s.crowd.Store(crowd); s.pass(window, 0); s.moved(1) },
		"busy":    func(s *scene) { s.pass(window, window); s.moved(1) },
		"busy on": func(s *scene) { s.pass(time.Hour, 0); s.moved(1); s.pass(window, window); s.moved(1) },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			happens(s)
			s.changed(t, true)
		})
	}
}

// TestWhatWasBeforeAPauseSaysNothing holds that what adds up over a long time isn't taken for much.
func TestWhatWasBeforeAPauseSaysNothing(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.moved(much - 1)
	s.pass(time.Hour, time.Hour)
	s.moved(1)
	s.unchanged(t, true)
}

func TestOneProcessorIsUsedAfterARest(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.need(s.now())
	s.changed(t, true)
	s.mu.Lock() // until that change is over
	looked := s.last.now
	s.mu.Unlock()
	if got := s.now(); looked != got {
		t.Errorf("it was looked at %v what was used, want %v, at the change", looked, got)
	}
	for _, busy := range []struct {
		what     string
		d, used  time.Duration
		needed   bool
		unneeded bool // one processor is enough
	}{
		{"right after it was needed", time.Minute, 0, false, false},
		{"while much is used", time.Hour, 50 * time.Minute, false, false},
		{"when it was needed again", time.Hour, 0, true, false},
		{"after a rest", time.Hour, 40 * time.Minute, false, true},
	} {
		s.pass(busy.d, busy.used)
		if busy.needed {
			s.need(s.now())
		}
		s.ring()
		if !busy.unneeded {
			s.unchanged(t, false)
			continue
		}
		s.changed(t, false)
	}
	if s.timer.Stop() {
		t.Error("the timer runs while one processor is used: an idle program would wake up")
	}
}

// TestNeedDuringTheChangeIsHeard holds that whoever needs all processors while it is changed to one gets them.
func TestNeedDuringTheChangeIsHeard(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.need(s.now())
	s.changed(t, true)
	s.pass(2*time.Hour, 0)
	use := s.use
	s.keeper.use = func(all bool) {
		use(all)
		if !all {
			s.pass(1, 0)
			s.need(s.now())
		}
	}
	s.ring()
	s.changed(t, false)
	s.changed(t, true)
	s.unchanged(t, false)
}

// It isn't parallel: what it changes is the whole program's.
func TestGOMAXPROCSFollows(t *testing.T) {
	if used == nil {
		t.Skip("this system doesn't tell what a program uses")
	}
	defer runtime.SetDefaultGOMAXPROCS()
	if runtime.SetDefaultGOMAXPROCS(); runtime.GOMAXPROCS(0) == 1 {
		t.Skip("there is one processor")
	}
	all := runtime.GOMAXPROCS(0)
	begin := time.Now()
	k := start(time.Millisecond, gauges{func() time.Duration { return time.Since(begin) }, func() time.Duration { return 0 }, waiting}, use)
	await := func(want int) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); runtime.GOMAXPROCS(0) != want; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("GOMAXPROCS is %d, want %d", runtime.GOMAXPROCS(0), want)
			}
		}
	}
	await(1)
	k.mu.Lock() // so that one is known to be used
	k.rest = time.Hour
	k.mu.Unlock()
	k.need(k.now())
	await(all)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.timer.Stop()
}

func TestGOMAXPROCSOfTheEnvironmentIsObeyed(t *testing.T) {
	t.Setenv("GOMAXPROCS", "2")
	Keep()
	if kept.Load() != nil {
		t.Error("something was started")
	}
	Moved(much) // for nobody
	Need()
}
