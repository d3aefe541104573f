package config

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/culvert-ssh/culvert/sshconfig"
)

const (
	maxSize    = 1 << 20 // bytes of all files together: more is a mistake in the name of a file
	maxFiles   = 1000    // as above
	maxInclude = 16      // files inside of each other, as sshd has it
)

// sources are the files that are read, and what was in them.
type sources struct {
	dir   string // of the configuration itself, where relative paths begin
	files []string
	text  bytes.Buffer  // of all of them, one after another
	open  []os.FileInfo // those that are being read, one inside of the other
}

// compare tells which of two places is read first. What -o says is before all files, and what is about none of the lines
// behind all of them.
func (s *sources) compare(a, b Position) int {
	if (a.Line == 0) != (b.Line == 0) {
		return cmp.Compare(b.Line, a.Line)
	}
	if a.File != b.File {
		return cmp.Compare(slices.Index(s.files, a.File), slices.Index(s.files, b.File))
	}
	return cmp.Compare(a.Line, b.Line)
}

// sha256 returns the hash of all that was read, in hexadecimal: what cat of the files, piped into sha256sum, gives.
func (s *sources) sha256() string {
	sum := sha256.Sum256(s.text.Bytes())
	return hex.EncodeToString(sum[:])
}

// read returns the text of a file, which counts as open until its reader calls close.
func (s *sources) read(path string) (text string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("read configuration: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return "", fmt.Errorf("read configuration: %w", err)
	case slices.ContainsFunc(s.open, func(open os.FileInfo) bool { return os.SameFile(open, info) }):
		return "", fmt.Errorf("%q includes itself", path)
	case len(s.open) == maxInclude:
		return "", fmt.Errorf("%q is more than %d files deep", path, maxInclude)
	case len(s.files) == maxFiles:
		return "", fmt.Errorf("%q is one of more than %d files", path, maxFiles)
	}
	start := s.text.Len()
	_, err = io.Copy(&s.text, io.LimitReader(f, int64(maxSize-start)+1))
	switch {
	case err != nil:
		return "", fmt.Errorf("read configuration %q: %w", path, err)
	case s.text.Len() > maxSize:
		return "", fmt.Errorf("read configuration %q: it is over %d bytes, or is with the files before it", path, maxSize)
	}
	s.files = append(s.files, path)
	s.open = append(s.open, info)
	return string(s.text.Bytes()[start:]), nil
}

func (s *sources) close() { s.open = s.open[:len(s.open)-1] }

// include reads the files that the words of an Include line name. A Match block in one of them ends with it.
func (r *reader) include(at Position, words []string) {
	switch {
	case r.override:
		r.fail(at, includeName, errors.New("it is for the file only"))
		return
	case len(words) == 0:
		r.fail(at, includeName, errors.New("it has no value: it wants paths, in which * and ? may stand"))
		return
	}
	for _, word := range words {
		paths, err := r.sources.find(word)
		if err != nil {
			r.fail(at, includeName, err)
			continue
		}
		if len(paths) == 0 && !strings.ContainsAny(word, `*?[`) {
			r.warn(at, includeName, fmt.Sprintf("there is no file %q", word))
		}
		for _, path := range paths {
			r.includeFile(at, path)
		}
	}
}

func (r *reader) includeFile(at Position, path string) {
	text, err := r.sources.read(path)
	if err != nil {
		r.fail(at, includeName, err)
		return
	}
	defer r.sources.close()
	outer, scope, blocks := r.outer, r.scope, len(r.config.blocks)
	r.outer = scope
	r.file(path, text)
	r.outer, r.scope = outer, scope
	if scope != &r.config.global && len(r.config.blocks) > blocks {
		// What stands below the line comes after what was included.
		rest := *scope
		rest.lines = nil
		r.begin(&rest)
	}
}

// find returns the files that match a pattern, sorted. Those that begin with a dot must be asked for, as in a shell.
func (s *sources) find(word string) ([]string, error) {
	pattern := word
	switch {
	case word == "":
		return nil, errors.New("the path is empty")
	case word[0] == '~':
		return nil, fmt.Errorf("%q: write the path in full", word)
	case !filepath.IsAbs(word):
		pattern = filepath.Join(s.dir, word)
	}
	paths, err := sshconfig.Glob(pattern)
	if err != nil {
		return nil, fmt.Errorf("%q is not a pattern of paths", word)
	}
	if err := sshconfig.Readable(pattern); err != nil {
		return nil, err
	}
	return paths, nil
}
