package config

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxTime is the longest time there is, what sshd can hold.
const maxTime = math.MaxInt32 * time.Second

// form is how one word is read, and written so that it reads back.
type form[T any] struct {
	parse func(string) (T, error)
	show  func(T) string
}

// value is how the words of a keyword are read, and shown for the settings in force: the words of each line.
type value struct {
	parse parser
	show  func(*Settings) [][]string
}

// one is the value of a keyword with a single word.
func one[T any](field func(*Settings) *T, f form[T]) value {
	return value{
		parse: single(f.parse, func(s *Settings, v T) { *field(s) = v }),
		show:  func(s *Settings) [][]string { return [][]string{{f.show(*field(s))}} },
	}
}

// each is the value of a keyword that takes one word a line and accumulates them.
func each[T any](field func(*Settings) *[]T, f form[T]) value {
	return value{
		parse: single(f.parse, func(s *Settings, v T) { *field(s) = append(*field(s), v) }),
		show:  func(s *Settings) [][]string { return linesOf(*field(s), f) },
	}
}

// every is the value of a keyword that takes any number of words a line and accumulates them.
func every[T any](field func(*Settings) *[]T, f form[T]) value {
	return value{
		parse: several(f.parse, func(s *Settings, all []T) { *field(s) = append(*field(s), all...) }),
		show:  func(s *Settings) [][]string { return linesOf(*field(s), f) },
	}
}

// list is the value of a keyword that takes any number of words on one line, or a word that stands alone for none of them.
func list[T any](field func(*Settings) *[]T, empty string, f form[T]) value {
	parse := several(f.parse, func(s *Settings, all []T) { *field(s) = slices.Clone(all) })
	return value{
		parse: func(words []string) (setter, error) {
			if len(words) == 1 && strings.EqualFold(words[0], empty) {
				return func(s *Settings) { *field(s) = nil }, nil
			}
			if i := slices.IndexFunc(words, func(w string) bool { return strings.EqualFold(w, empty) }); i >= 0 {
				return nil, fmt.Errorf("%q stands alone", words[i])
			}
			return parse(words)
		},
		show: func(s *Settings) [][]string {
			words := []string{empty}
			if all := *field(s); len(all) > 0 {
				words = wordsOf(all, f)
			}
			return [][]string{words}
		},
	}
}

func linesOf[T any](all []T, f form[T]) [][]string {
	var lines [][]string
	for _, v := range all {
		lines = append(lines, []string{f.show(v)})
	}
	return lines
}

func wordsOf[T any](all []T, f form[T]) []string {
	var words []string
	for _, v := range all {
		words = append(words, f.show(v))
	}
	return words
}

func single[T any](parse func(string) (T, error), set func(*Settings, T)) parser {
	return func(words []string) (setter, error) {
		if len(words) != 1 {
			return nil, fmt.Errorf("%q is one value too many", words[1])
		}
		v, err := parse(words[0])
		return func(s *Settings) { set(s, v) }, err
	}
}

func several[T any](parse func(string) (T, error), set func(*Settings, []T)) parser {
	return func(words []string) (setter, error) {
		var all []T
		for _, word := range words {
			v, err := parse(word)
			if err != nil {
				return nil, err
			}
			all = append(all, v)
		}
		return func(s *Settings) { set(s, all) }, nil
	}
}

// choice is a word and what it means.
type choice[T any] struct {
	word  string
	value T
}

// unknownValue is a word that a keyword doesn't have. What it wants instead is added where the keyword is known.
type unknownValue string

func (v unknownValue) Error() string { return fmt.Sprintf("unknown value %q", string(v)) }

// among is one of the choices; of two with the same meaning the first is shown.
func among[T comparable](choices ...choice[T]) form[T] {
	return form[T]{
		parse: func(word string) (T, error) {
			for _, c := range choices {
				if strings.EqualFold(word, c.word) {
					return c.value, nil
				}
			}
			var none T
			return none, unknownValue(word)
		},
		show: func(v T) string {
			for _, c := range choices {
				if c.value == v {
					return c.word
				}
			}
			return fmt.Sprintf("unknown(%v)", v) // reads back as an error
		},
	}
}

var flag = among(choice[bool]{"yes", true}, choice[bool]{"no", false})

// or is a form with a word more, which stands for the zero value.
func or[T comparable](word string, f form[T]) form[T] {
	var zero T
	return form[T]{
		parse: func(w string) (T, error) {
			if strings.EqualFold(w, word) {
				return zero, nil
			}
			return f.parse(w)
		},
		show: func(v T) string {
			if v == zero {
				return word
			}
			return f.show(v)
		},
	}
}

func numberBetween(low, high int) form[int] {
	return form[int]{
		parse: func(word string) (int, error) {
			n, err := strconv.ParseUint(word, 10, 31)
			switch {
			case errors.Is(err, strconv.ErrRange) || err == nil && (int(n) < low || int(n) > high):
				return 0, fmt.Errorf("%q is out of range", word)
			case err != nil:
				return 0, fmt.Errorf("%q is not a number", word)
			}
			return int(n), nil
		},
		show: strconv.Itoa,
	}
}

// timeBetween is a time, shown in seconds.
func timeBetween(low, high time.Duration) form[time.Duration] {
	return form[time.Duration]{
		parse: func(word string) (time.Duration, error) {
			d, err := parseTime(word)
			if err == nil && (d < low || d > high) {
				return 0, fmt.Errorf("time %q is out of range", word)
			}
			return d, err
		},
		show: func(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) },
	}
}

// parseTime reads sshd's TIME FORMATS: numbers with the units s, m, h, d and w, the sum of them; without a
// unit they are seconds.
func parseTime(word string) (time.Duration, error) {
	units := map[byte]uint64{'s': 1, 'm': 60, 'h': 3600, 'd': 86400, 'w': 604800}
	var seconds uint64
	for rest := word; ; {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		n, err := strconv.ParseUint(rest[:digits], 10, 31)
		if err != nil {
			if errors.Is(err, strconv.ErrRange) {
				return 0, fmt.Errorf("time %q is out of range", word)
			}
			return 0, fmt.Errorf("%q is not a time", word)
		}
		rest = rest[digits:]
		unit := uint64(1)
		if rest != "" {
			var ok bool
			if unit, ok = units[rest[0]|0x20]; !ok {
				return 0, fmt.Errorf("%q is not a time", word)
			}
			rest = rest[1:]
		}
		// At most 31 bits times 20 bits, checked at each step: it can't overflow.
		if seconds += n * unit; seconds > math.MaxInt32 {
			return 0, fmt.Errorf("time %q is out of range", word)
		}
		if rest == "" {
			return time.Duration(seconds) * time.Second, nil
		}
	}
}

// file is a path, made absolute from where the program was started, as sshd does.
var file = form[string]{parsePath, func(path string) string { return path }}

func parsePath(word string) (string, error) {
	switch {
	case word == "":
		return "", errors.New("the path is empty")
	case word[0] == '~':
		return "", fmt.Errorf("%q: there are no home directories here: write the path in full", word)
	case filepath.IsAbs(word):
		return word, nil
	}
	path, err := filepath.Abs(word)
	if err != nil {
		return "", fmt.Errorf("make path %q absolute: %w", word, err)
	}
	return path, nil
}
