package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// clockTick is how many units of /proc/PID/stat are a second: USER_HZ, 100 on every Linux that Go runs on.
const clockTick = 100

// cpuOf returns the CPU seconds, user and system, that our descendants of each name have used, with those of their children
// that have ended (proc(5), /proc/PID/stat).
func cpuOf(names ...string) ([]float64, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	type process struct {
		parent int
		name   string
		ticks  float64
	}
	all := make(map[int]process)
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) || err != nil {
			continue // it has ended meanwhile
		}
		open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
		pid, err := strconv.Atoi(string(bytes.TrimSpace(text[:open])))
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		fields := bytes.Fields(text[end+1:]) // from field 3, the state, on
		p := process{name: string(text[open+1 : end])}
		if p.parent, err = strconv.Atoi(string(fields[1])); err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		for _, f := range fields[11:15] { // utime, stime, cutime, cstime
			n, err := strconv.ParseFloat(string(f), 64)
			if err != nil {
				return nil, fmt.Errorf("read %s: %w", path, err)
			}
			p.ticks += n
		}
		all[pid] = p
	}
	sums := make([]float64, len(names))
	for pid, p := range all {
		for i, name := range names {
			if p.name == name && descends(pid, func(pid int) int { return all[pid].parent }) {
				sums[i] += p.ticks / clockTick
			}
		}
	}
	return sums, nil
}

// descends reports whether a process is a descendant of this one.
func descends(pid int, parent func(int) int) bool {
	for ; pid > 1; pid = parent(pid) {
		if pid == os.Getpid() {
			return true
		}
	}
	return false
}
