package sshconfig

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
)

const (
	maxSize   = 1 << 20 // bytes of all files together: more is a mistake in the name of a file
	maxFiles  = 1000    // as above
	maxDepth  = 16      // files inside of each other, as ssh(1) has it
	maxErrors = 100     // that are told
)

// Source is a file to begin with.
type Source struct {
	Path  string
	Must  bool   // it is an error if there is none
	Owned bool   // nobody but us and root may be able to write to it
	Dir   string // where relative paths of Include begin
	Home  string // what ~ is in paths of Include; if empty, they must not have it
}

// Visitor is told the lines of files in their order.
type Visitor interface {
	// Block reports whether l begins a block, and then whether the lines of the block are meant. They aren't if outer is unset: the
	// file is included where nothing is meant.
	Block(l Line, outer bool) (begins, meant bool, err error)
	// Visit takes any other line.
	Visit(l Line, meant bool) error
	// Path expands a word of Include.
	Path(word string) (string, error)
}

// Files are files as they were when they were first read: they may be walked several times.
type Files struct {
	Sources []Source

	size  int
	read  map[string]text     // by path
	found map[string][]string // by pattern
}

// text is what is in a file: lines that say something, and what is wrong with others.
type text struct {
	info  os.FileInfo
	lines []Line
	wrong []error // of each line
}

// Walk tells v the lines of the sources, with those of included files where they belong. A block ends with its file.
// The error has all that is wrong, a line each.
func (f *Files) Walk(v Visitor) error {
	if f.read == nil {
		f.read, f.found = make(map[string]text), make(map[string][]string)
	}
	w := &walker{Files: f, visitor: v}
	for _, s := range f.Sources {
		err := w.file(s, s.Path, s.Owned, true)
		if errors.Is(err, fs.ErrNotExist) && !s.Must {
			continue
		}
		if err != nil {
			w.errs = append(w.errs, err)
		}
	}
	if len(w.errs) > maxErrors {
		w.errs = append(w.errs[:maxErrors], errors.New("and so on"))
	}
	return errors.Join(w.errs...)
}

type walker struct {
	*Files
	visitor Visitor
	files   int           // so far
	open    []os.FileInfo // one inside of the other
	errs    []error
}

// file reads one file. If meant is unset, it is included in a block that isn't meant.
func (w *walker) file(from Source, path string, owned, meant bool) error {
	t, err := w.load(path, owned)
	if err != nil {
		return err
	}
	w.open = append(w.open, t.info)
	defer func() { w.open = w.open[:len(w.open)-1] }()
	outer := meant
	for i, l := range t.lines {
		if err := t.wrong[i]; err != nil {
			w.errs = append(w.errs, l.fail(err))
			continue
		}
		if strings.EqualFold(l.Keyword, "Include") {
			w.include(from, l, meant)
			continue
		}
		begins, applies, err := w.visitor.Block(l, outer)
		switch {
		case err != nil:
			meant = false
		case begins:
			meant = outer && applies
		default:
			err = w.visitor.Visit(l, meant)
		}
		if err != nil {
			w.errs = append(w.errs, l.fail(err))
		}
	}
	return nil
}

// load returns what is in a file, which is bounded.
func (w *walker) load(path string, owned bool) (text, error) {
	t, known := w.read[path]
	if !known {
		var err error
		if t, err = w.readFile(path); err != nil {
			return text{}, err
		}
		w.read[path] = t
	}
	w.files++
	switch {
	case owned && !ours(t.info):
		return text{}, fmt.Errorf("%s may be written by others (mode %04o) or is not yours, so it is not read: chmod go-w %q", path, t.info.Mode().Perm(), path)
	case slices.ContainsFunc(w.open, func(open os.FileInfo) bool { return os.SameFile(open, t.info) }):
		return text{}, fmt.Errorf("%q includes itself", path)
	case len(w.open) > maxDepth:
		return text{}, fmt.Errorf("%q is more than %d files deep", path, maxDepth)
	case w.files > maxFiles:
		return text{}, fmt.Errorf("%q is one of more than %d files", path, maxFiles)
	}
	return t, nil
}

func (w *walker) readFile(path string) (text, error) {
	f, err := os.Open(path)
	if err != nil {
		return text{}, fmt.Errorf("read configuration: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return text{}, fmt.Errorf("read configuration: %w", err)
	}
	if info.IsDir() {
		return text{}, fmt.Errorf("read configuration: %q is a directory", path)
	}
	lines, err := io.ReadAll(io.LimitReader(f, int64(maxSize-w.size)+1))
	w.size += len(lines)
	switch {
	case err != nil:
		return text{}, fmt.Errorf("read configuration %q: %w", path, err)
	case w.size > maxSize:
		return text{}, fmt.Errorf("read configuration %q: it is over %d bytes, or is with the files before it", path, maxSize)
	}
	return split(path, string(lines), info), nil
}

func split(path, lines string, info os.FileInfo) text {
	t := text{info: info}
	trusted := ours(info)
	number := 0
	for line := range strings.Lines(lines) {
		number++
		keyword, words, err := Split(line)
		if err == nil && keyword == "" {
			continue
		}
		t.lines = append(t.lines, Line{At: Position{path, number}, Keyword: keyword, Words: words, ours: trusted})
		t.wrong = append(t.wrong, err)
	}
	return t
}

// include reads the files that the words of an Include line name.
func (w *walker) include(from Source, l Line, meant bool) {
	if len(l.Words) == 0 {
		w.errs = append(w.errs, l.fail(errors.New("it has no value: it wants paths, in which * and ? may stand")))
	}
	for _, word := range l.Words {
		paths, err := w.find(from, word)
		if err != nil {
			w.errs = append(w.errs, l.fail(err))
			continue
		}
		for _, path := range paths {
			err := w.file(from, path, true, meant)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				w.errs = append(w.errs, l.fail(err))
			}
		}
	}
}

// find returns the files that a word of Include stands for, sorted; those that begin with a dot must be asked for, as in a shell.
func (w *walker) find(from Source, word string) ([]string, error) {
	if word == "" {
		return nil, errors.New("a path is empty")
	}
	pattern, err := w.visitor.Path(word)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(pattern, "~") {
		if from.Home == "" {
			return nil, fmt.Errorf("%q: a file of the system has no home directory: write the path in full", word)
		}
		if pattern, err = ExpandHome(pattern, from.Home); err != nil {
			return nil, err
		}
	}
	if !filepath.IsAbs(pattern) {
		pattern = filepath.Join(from.Dir, pattern)
	}
	if paths, ok := w.found[pattern]; ok {
		return paths, nil
	}
	paths, err := Glob(pattern)
	if err != nil {
		return nil, fmt.Errorf("%q is not a pattern of paths", word)
	}
	if strings.ContainsAny(pattern, `*?[`) { // else what can't be read is no file, as for ssh
		if err := Readable(pattern); err != nil {
			return nil, err
		}
	}
	w.found[pattern] = paths
	return paths, nil
}

// ExpandHome puts a home directory in the place of a leading ~ or, if there is such a user, ~user. Home is that of ~ alone.
func ExpandHome(path, home string) (string, error) {
	rest, ok := strings.CutPrefix(path, "~")
	if !ok {
		return path, nil
	}
	name, rest, _ := strings.Cut(rest, "/")
	if name != "" {
		u, err := user.Lookup(name)
		if err != nil {
			return "", fmt.Errorf("%q: there is no user %q here", path, name)
		}
		home = u.HomeDir
	}
	if home == "" {
		return "", fmt.Errorf("%q: there is no home directory", path)
	}
	return filepath.Join(home, rest), nil
}
