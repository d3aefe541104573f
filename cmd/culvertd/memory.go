package main

import (
	"io/fs"
	"os"
	"path"
	"runtime/debug"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// boundMemory has garbage collected more often from half of the memory on: clients that send what nobody reads, up to 2 MiB a channel, make
// much of the heap live. GOMEMLIMIT in the environment wins.
func boundMemory() {
	if os.Getenv("GOMEMLIMIT") == "" {
		if all := memory(os.DirFS("/")); all > 0 {
			debug.SetMemoryLimit(all / 2)
		}
	}
}

// memory returns how many bytes this process may use at most: those of the machine, or less if a control group of it (cgroups(7), version 2)
// has less. It is 0 if it isn't known.
func memory(root fs.FS) int64 {
	var all int64
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		all = int64(info.Totalram) * int64(info.Unit)
	}
	groups, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return all
	}
	for line := range strings.Lines(string(groups)) {
		group, ok := strings.CutPrefix(strings.TrimSpace(line), "0::")
		for ; ok; group = path.Dir(group) {
			text, err := fs.ReadFile(root, path.Join("sys/fs/cgroup", group, "memory.max"))
			limit, errParse := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64) // "max" is none
			if err == nil && errParse == nil && limit > 0 && (all == 0 || limit < all) {
				all = limit
			}
			ok = group != "/" && group != "."
		}
	}
	return all
}
