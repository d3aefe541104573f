package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/culvert-ssh/culvert/sshconfig"
)

// maxErrors bounds what is reported of a file that isn't a configuration at all.
const maxErrors = 100

// The words that begin a block and bring other files in; everything else is in keywords or foreigns.
const (
	matchName   = "Match"
	includeName = "Include"
)

// reader reads one configuration.
type reader struct {
	config   *Config
	sources  sources
	scope    *scope // where lines go
	outer    *scope // what a Match in this file is inside of: the scope of the Include line
	override bool   // -o is being read

	replaced map[*keyword]bool // by -o
	errs     Errors
	warnings []Warning
	full     bool // there were too many errors to go on
	useDNS   bool // the file has UseDNS yes
}

func newReader() (*reader, error) {
	c := &Config{}
	if err := c.readDefaults(); err != nil {
		return nil, err
	}
	return &reader{config: c, scope: &c.global, outer: &c.global, replaced: map[*keyword]bool{}}, nil
}

// all reads a configuration from its beginning to its end.
func (r *reader) all(file, text string, overrides []string) error {
	r.override = true
	for i, text := range overrides {
		r.line(Position{"-o", i + 1}, text)
	}
	r.override = false
	r.file(file, text)
	if !r.full {
		r.checkWhole(file)
		r.warnWhole(file)
	}
	slices.SortStableFunc(r.errs, func(a, b *Error) int { return r.sources.compare(a.At, b.At) })
	slices.SortStableFunc(r.warnings, func(a, b Warning) int { return r.sources.compare(a.At, b.At) })
	if len(r.errs) > 0 {
		return r.errs
	}
	return nil
}

func (r *reader) file(file, text string) {
	number := 0
	for text := range strings.SplitSeq(text, "\n") {
		number++
		if r.line(Position{file, number}, text); r.full {
			return
		}
		if len(r.errs) >= maxErrors {
			r.fail(Position{file, number}, "", errors.New("too many errors, the rest isn't read"))
			r.full = true
			return
		}
	}
}

func (c *Config) readDefaults() error {
	for i := range keywords {
		k := &keywords[i]
		for _, value := range k.standard {
			set, err := k.read(value)
			if err != nil {
				return fmt.Errorf("default of %s: %w", k.name, err)
			}
			c.defaults.lines = append(c.defaults.lines, line{keyword: k, set: set})
		}
	}
	return nil
}

func (k *keyword) read(value string) (setter, error) {
	if k.wholeLine {
		return k.parse([]string{value})
	}
	words, err := sshconfig.Words(value)
	if err != nil {
		return nil, err
	}
	return k.parse(words)
}

// line reads one line.
func (r *reader) line(at Position, text string) {
	name, rest, err := cutLine(text)
	if err != nil {
		r.fail(at, name, err)
		return
	}
	words, err := sshconfig.Words(rest)
	switch {
	case err != nil:
		r.fail(at, name, err)
	case name == "":
		if r.override {
			r.fail(at, "", errors.New("it has no keyword"))
		}
	case strings.EqualFold(name, matchName):
		r.match(at, words)
	case strings.EqualFold(name, includeName):
		r.include(at, words)
	default:
		r.keyword(at, name, rest, words)
	}
}

func (r *reader) keyword(at Position, name, rest string, words []string) {
	k := findKeyword(name)
	if k == nil {
		r.foreign(at, name, words)
		return
	}
	if k.wholeLine && len(words) > 0 {
		words = []string{rest}
	}
	if err := r.stands(k.where); err != nil {
		r.fail(at, k.name, err)
		return
	}
	if len(words) == 0 {
		r.fail(at, k.name, fmt.Errorf("it has no value: it wants %s", k.wants))
		return
	}
	set, err := k.parse(words)
	if errors.As(err, new(unknownValue)) {
		err = fmt.Errorf("%w: it wants %s", err, k.wants)
	}
	if err != nil {
		r.fail(at, k.name, err)
		return
	}
	if k.repeats == accumulatesUnlessOverridden {
		if !r.override && r.replaced[k] {
			return
		}
		r.replaced[k] = r.override
	}
	if k.remarks != nil {
		for _, text := range k.remarks(words) {
			r.warn(at, k.name, text)
		}
	}
	r.scope.lines = append(r.scope.lines, line{at, k, set})
}

// stands reports whether a line may stand in the scope that is being read.
func (r *reader) stands(where where) error {
	switch {
	case r.scope == &r.config.global:
	case where == outsideMatch:
		return errors.New("it may not stand inside Match")
	case where == notYetMatch:
		return errors.New("inside Match it is not served by this version")
	}
	return nil
}

// match begins a Match block. In a file that is included inside of another, both must match.
func (r *reader) match(at Position, words []string) {
	if r.override {
		r.fail(at, matchName, errors.New("it is for the file only"))
		return
	}
	criteria, said, err := parseMatch(words)
	if err != nil { // the lines below are checked all the same
		r.fail(at, matchName, err)
	}
	all := err == nil && said == nil
	if r.outer != &r.config.global {
		criteria, said = slices.Concat(r.outer.criteria, criteria), slices.Concat(r.outer.said, said)
		all = all && r.outer.all
	}
	r.begin(&scope{at: at, criteria: criteria, said: said, all: all})
}

func (r *reader) begin(block *scope) {
	r.scope = block
	r.config.blocks = append(r.config.blocks, block)
}

func (r *reader) foreign(at Position, name string, words []string) {
	f := findForeign(name)
	if f == nil {
		text := "unknown keyword"
		if near := closest(name); near != "" {
			text += "; did you mean " + near + "?"
		}
		r.fail(at, name, errors.New(text))
		return
	}
	if err := r.stands(f.where); err != nil {
		r.fail(at, f.name, err)
		return
	}
	text, err := f.read(words)
	r.useDNS = r.useDNS || f.name == "UseDNS" && text != ""
	switch {
	case err != nil:
		r.fail(at, f.name, err)
	case text != "":
		r.warn(at, f.name, text)
	}
}

func (r *reader) fail(at Position, keyword string, err error) {
	r.errs = append(r.errs, &Error{at, keyword, err})
}

func (r *reader) warn(at Position, keyword, text string) {
	r.warnings = append(r.warnings, Warning{At: at, Keyword: keyword, Text: text})
}

func (r *reader) note(at Position, keyword, text string) {
	r.warnings = append(r.warnings, Warning{At: at, Keyword: keyword, Text: text, Stock: true})
}

// closest returns the keyword that differs least from name, or nothing if none is near.
func closest(name string) string {
	best, least := "", 1+min(3, (len(name)+2)/3)
	consider := func(candidate string) {
		if d := distance(strings.ToLower(name), strings.ToLower(candidate), least); d < least {
			best, least = candidate, d
		}
	}
	for _, k := range keywords {
		consider(k.name)
	}
	consider(matchName)
	consider(includeName)
	for _, f := range foreigns {
		consider(f.name)
	}
	return best
}

// distance is how many bytes must be put in, taken out or exchanged to make b of a, or most if
// that is more.
func distance(a, b string, most int) int {
	if len(a)-len(b) >= most || len(b)-len(a) >= most {
		return most
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			d := diagonal
			if a[i] != b[j] {
				d = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], d
		}
	}
	return row[len(b)]
}
