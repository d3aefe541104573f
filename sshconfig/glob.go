package sshconfig

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Glob returns the files that a pattern of an Include matches, sorted. Those that begin with a dot must be asked for, as in a shell. The error says
// that it is no pattern.
func Glob(pattern string) ([]string, error) {
	paths, err := filepath.Glob(pattern)
	if err != nil {
		return nil, err
	}
	paths = slices.DeleteFunc(paths, func(path string) bool { return hidden(path, pattern) })
	slices.Sort(paths)
	return paths, nil
}

// Readable reports a directory that a pattern is looked for in and that can't be read: glob(3) says nothing of it, and what is kept there
// would be lost.
func Readable(pattern string) error {
	dir := filepath.Dir(pattern)
	for strings.ContainsAny(dir, `*?[`) {
		dir = filepath.Dir(dir)
	}
	_, err := os.ReadDir(dir)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return fmt.Errorf("look for %q: %w", pattern, err)
}

func hidden(path, pattern string) bool {
	names, patterns := strings.Split(path, string(filepath.Separator)), strings.Split(pattern, string(filepath.Separator))
	for i := range min(len(names), len(patterns)) {
		if strings.HasPrefix(names[i], ".") && !strings.HasPrefix(patterns[i], ".") {
			return true
		}
	}
	return false
}
