package server

import (
	"bytes"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestUnknownClientIsHandedOnInPartsThatFitTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUnknown()
		flood := bytes.NewReader(make([]byte, 4*unknownChunk))
		buf := make([]byte, 4096)
		begin := time.Now()
		for got := 0; got < 4*unknownChunk; {
			n, err := u.read(flood, buf)
			if err != nil || n > unknownChunk {
				t.Fatalf("%d bytes at once, %v; want no more than %d", n, err, unknownChunk)
			}
			got += n
			if least := time.Duration((got-1)/unknownChunk) * unknownPause; time.Since(begin) < least {
				t.Fatalf("%d bytes within %v, want at least %v", got, time.Since(begin), least)
			}
		}
	})
}

func TestUnknownClientIsHandedOnNothingWhileACallbackRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUnknown()
		var read bool
		u.takeTurn()
		go func() {
			_, _ = u.read(bytes.NewReader(make([]byte, 10)), make([]byte, 10))
			read = true
		}()
		time.Sleep(time.Minute)
		if read {
			t.Error("something was handed on")
		}
		u.giveTurn()
		synctest.Wait()
		if !read {
			t.Error("nothing was handed on after the callback")
		}
	})
}

func TestUnknownClientIsHandedOnNoMoreThanItsBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUnknown()
		flood := bytes.NewReader(make([]byte, 2*maxUnknown))
		for got := 0; got <= maxUnknown; {
			n, err := u.read(flood, make([]byte, 4096))
			got += n
			if errors.Is(err, errTooMuch) != (n == 0) {
				t.Fatalf("%d bytes, %v", got, err)
			}
			if err != nil {
				return
			}
		}
		t.Errorf("more than %d bytes were handed on", maxUnknown)
	})
}
