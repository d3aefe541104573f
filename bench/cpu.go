package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// clockTick is how many units of /proc/PID/stat are a second: USER_HZ, 100 on every Linux that Go runs on.
const clockTick = 100

// process is what /proc/PID/stat says of one (proc(5)).
type process struct {
	parent int
	name   string
	cpu    float64 // seconds, user and system, with those of its children that have ended
}

// processes are all of this machine.
func processes() (map[int]process, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	all := make(map[int]process)
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended meanwhile
		}
		pid, p, err := parseStat(text)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		all[pid] = p
	}
	return all, nil
}

func parseStat(text []byte) (pid int, p process, err error) {
	open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if open < 0 || end < open {
		return 0, p, fmt.Errorf("%q has no name", text)
	}
	if pid, err = strconv.Atoi(string(bytes.TrimSpace(text[:open]))); err != nil {
		return 0, p, err
	}
	p.name = string(text[open+1 : end])
	fields := bytes.Fields(text[end+1:]) // from field 3, the state, on
	if len(fields) < 15 {
		return 0, p, fmt.Errorf("%q is too short", text)
	}
	if p.parent, err = strconv.Atoi(string(fields[1])); err != nil {
		return 0, p, err
	}
	for _, f := range fields[11:15] { // utime, stime, cutime, cstime
		n, err := strconv.ParseFloat(string(f), 64)
		if err != nil {
			return 0, p, err
		}
		p.cpu += n / clockTick
	}
	return pid, p, nil
}

// cpuOf returns the CPU seconds that our descendants of each name have used.
func cpuOf(names ...string) ([]float64, error) {
	all, err := processes()
	if err != nil {
		return nil, err
	}
	sums := make([]float64, len(names))
	for pid, p := range all {
		for i, name := range names {
			if p.name == name && descends(pid, all) {
				sums[i] += p.cpu
			}
		}
	}
	return sums, nil
}

// descends reports whether a process is a descendant of this one.
func descends(pid int, all map[int]process) bool {
	for ; pid > 1; pid = all[pid].parent {
		if pid == os.Getpid() {
			return true
		}
	}
	return false
}
