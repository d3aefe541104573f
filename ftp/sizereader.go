package ftp

import (
	"bytes"
	"slices"
	"strings"
)

const (
	// maxListing bounds how much of a listing is read, in bytes: some ten thousand files.
	maxListing = 1 << 20
	// maxListingLine bounds a line of it that is read. A longer one is skipped.
	maxListingLine = 4 << 10
)

// A SizeReader reads the sizes of files out of the data of a LIST or MLSD as it passes. Names and sizes are what the server says, and for
// people to look at.
type SizeReader struct {
	entry     func(line []byte) (name string, size int64, ok bool)
	directory string // what stands before each name where it is used; escaped
	tell      func(path string, size int64)

	line []byte
	long bool // the line is longer than it may be
	read int
}

// NewSizeReader returns what reads the data of c, which is a LIST or MLSD; of any other, nothing is read. Of each file tell is told how a RETR would call it, if the
// working directory is still the same, escaped.
func NewSizeReader(c Command, tell func(path string, size int64)) *SizeReader {
	r := &SizeReader{entry: lsLine, tell: tell, directory: c.Path}
	switch c.Verb {
	case "LIST":
		words := strings.Split(c.Path, " ")
		first := slices.IndexFunc(words, func(w string) bool { return len(w) < 2 || w[0] != '-' })
		if r.directory = ""; first >= 0 {
			r.directory = strings.Join(words[first:], " ")
		}
	case "MLSD":
		r.entry = func(line []byte) (string, int64, bool) { return factsLine(string(line)) }
	default:
		r.read = maxListing
	}
	if r.directory != "" && !strings.HasSuffix(r.directory, "/") {
		r.directory += "/"
	}
	return r
}

// Feed takes the next bytes of the data.
func (r *SizeReader) Feed(p []byte) {
	if room := maxListing - r.read; len(p) > room {
		p = p[:room]
	}
	for len(p) > 0 {
		part, rest, ended := bytes.Cut(p, []byte("\n"))
		r.read += len(p) - len(rest)
		p = rest
		if r.long = r.long || len(r.line)+len(part) > maxListingLine; !r.long {
			r.line = append(r.line, part...)
		}
		if !ended {
			return
		}
		if !r.long {
			r.add(bytes.TrimSuffix(r.line, []byte("\r")))
		}
		r.line, r.long = r.line[:0], false
	}
}

func (r *SizeReader) add(line []byte) {
	name, size, ok := r.entry(line)
	switch {
	case !ok || name == "" || size <= 0:
	case strings.Contains(name, "/"), escape(name)+"/" == r.directory: // of a pattern that went through directories, or of a file
		r.tell(escape(name), size)
	default:
		r.tell(r.directory+escape(name), size)
	}
}

// factsLine reads a line of MLSD or MLST: facts, a SP, and the name. RFC 3659, section 7.2.
func factsLine(line string) (name string, size int64, ok bool) {
	facts, name, found := strings.Cut(line, " ")
	if !found {
		return "", 0, false
	}
	file := false
	for fact := range strings.SplitSeq(facts, ";") {
		key, value, _ := strings.Cut(fact, "=")
		switch {
		case strings.EqualFold(key, "type"):
			file = strings.EqualFold(value, "file")
		case strings.EqualFold(key, "size"):
			size = amount(value)
		}
	}
	return name, size, file && size > 0
}

// lsLine reads a line of LIST, which has no form that anybody has agreed on. Most servers write as ls(1) does, and Windows' as its DIR:
//
//	-rw-r--r--   1 ftp      ftp          1234 Nov 26 05:00 name
//	-rw-r--r-- 1 ftp ftp 1234 2026-11-26 05:00 name
//	11-26-26  05:00AM                 1234 name
//
// What is no file, or looks otherwise, is left out.
func lsLine(line []byte) (name string, size int64, ok bool) {
	const enough = 12 // columns before the name: those of names of owners and groups with spaces in them
	columns := make([]string, 0, enough)
	rest := string(line)
	file := strings.HasPrefix(rest, "-")
	for len(columns) < enough {
		column, after, found := strings.Cut(rest, " ")
		if !found {
			return "", 0, false
		}
		rest = after
		if column == "" {
			continue
		}
		columns = append(columns, column)
		size, ended := sizeBefore(columns, file)
		if ended {
			return rest, size, size > 0
		}
	}
	return "", 0, false
}

// sizeBefore reports whether the columns are all that stands before a name, and which size is among them.
func sizeBefore(columns []string, ls bool) (size int64, ended bool) {
	n := len(columns)
	switch {
	case !ls:
		return amount(columns[n-1]), n == 3 && shaped(columns[0], "00-00-00", "00-00-0000") && shaped(columns[1], "00:00AM", "00:00PM", "00:00")
	case n >= 5 && shaped(columns[n-2], "0000-00-00") && shaped(columns[n-1], "00:00"):
		return amount(columns[n-3]), true
	case n >= 6 && month(columns[n-3]) && shaped(columns[n-2], "0", "00") && shaped(columns[n-1], "00:00", "0:00", "0000"):
		return amount(columns[n-4]), true
	}
	return 0, false
}

// shaped reports whether text has the shape of one of these, in which 0 stands for any digit.
func shaped(text string, shapes ...string) bool {
	digits := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return '0'
		}
		return r
	}, text)
	return slices.Contains(shapes, strings.ToUpper(digits))
}

func month(text string) bool {
	const months = "JanFebMarAprMayJunJulAugSepOctNovDec"
	i := strings.Index(months, text)
	return len(text) == 3 && i >= 0 && i%3 == 0
}
