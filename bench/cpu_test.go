package main

import (
	"os"
	"testing"
)

// TestParseStat is about names with letters that look like the end of a name.
func TestParseStat(t *testing.T) {
	t.Parallel()
	const rest = " S 7 1 1 0 -1 4194560 1 2 3 4 150 50 20 30 20 0 1 0 100 0 0"
	for _, c := range []struct {
		text string
		pid  int
		want process
		ok   bool
	}{
		{"12 (culvertd)" + rest, 12, process{7, "culvertd", 2.5}, true},
		{"12 (a) S 1 (b)" + rest, 12, process{7, "a) S 1 (b", 2.5}, true},
		{"12 culvertd" + rest, 0, process{}, false},
		{"12 (culvertd) S 7", 0, process{}, false},
		{"x (culvertd)" + rest, 0, process{}, false},
		{")(", 0, process{}, false},
	} {
		pid, p, err := parseStat([]byte(c.text))
		if (err == nil) != c.ok || c.ok && (pid != c.pid || p != c.want) {
			t.Errorf("%q: got %d, %+v, %v; want %d, %+v", c.text, pid, p, err, c.pid, c.want)
		}
	}
}

// TestDescendsFollowsTheParents counts this process as its own.
func TestDescendsFollowsTheParents(t *testing.T) {
	t.Parallel()
	self := os.Getpid()
	all := map[int]process{self: {parent: 1}, 1 << 30: {parent: self}, 1<<30 + 1: {parent: 1 << 30}, 1<<30 + 2: {parent: 1}}
	for pid, want := range map[int]bool{self: true, 1 << 30: true, 1<<30 + 1: true, 1<<30 + 2: false, 1<<30 + 3: false} {
		if got := descends(pid, all); got != want {
			t.Errorf("%d: got %v", pid, got)
		}
	}
}
