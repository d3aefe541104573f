package config

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/culvert-ssh/culvert/policy"
)

// maxTime is the longest time there is, what sshd can hold.
const maxTime = math.MaxInt32 * time.Second

// one makes the parser of a keyword with a single value.
func one[T any](field func(*Settings) *T, parse func(string) (T, error)) parser {
	return single(parse, func(s *Settings, v T) { *field(s) = v })
}

// each makes the parser of a keyword that takes one value a line and accumulates them.
func each[T any](field func(*Settings) *[]T, parse func(string) (T, error)) parser {
	return single(parse, func(s *Settings, v T) { *field(s) = append(*field(s), v) })
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

// choice is a word and what it means.
type choice[T any] struct {
	word  string
	value T
}

func among[T any](choices ...choice[T]) func(string) (T, error) {
	return func(word string) (T, error) {
		for _, c := range choices {
			if strings.EqualFold(word, c.word) {
				return c.value, nil
			}
		}
		var none T
		return none, fmt.Errorf("unknown value %q", word)
	}
}

func parseFlag(word string) (bool, error) {
	return among(choice[bool]{"yes", true}, choice[bool]{"no", false})(word)
}

// only makes the parser of a keyword of which one value is served so far.
func only(served string, later ...string) parser {
	return single(func(word string) (struct{}, error) {
		switch {
		case strings.EqualFold(word, served):
			return struct{}{}, nil
		case slices.ContainsFunc(later, func(l string) bool { return strings.EqualFold(l, word) }):
			return struct{}{}, fmt.Errorf("%q is not served by this version", word)
		}
		return struct{}{}, fmt.Errorf("unknown value %q", word)
	}, func(*Settings, struct{}) {})
}

func numberBetween(low, high int) func(string) (int, error) {
	return func(word string) (int, error) {
		n, err := strconv.ParseUint(word, 10, 31)
		switch {
		case errors.Is(err, strconv.ErrRange) || err == nil && (int(n) < low || int(n) > high):
			return 0, fmt.Errorf("%q is out of range", word)
		case err != nil:
			return 0, fmt.Errorf("%q is not a number", word)
		}
		return int(n), nil
	}
}

func timeBetween(low, high time.Duration) func(string) (time.Duration, error) {
	return func(word string) (time.Duration, error) {
		d, err := parseTime(word)
		if err == nil && (d < low || d > high) {
			return 0, fmt.Errorf("time %q is out of range", word)
		}
		return d, err
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

func parseListenAddress(word string) (listenAddress, error) {
	if addr, err := netip.ParseAddr(unbracketed(word)); err == nil {
		return listenAddress{addr: netip.AddrPortFrom(addr.Unmap(), 0)}, nil
	}
	// The last colon is before the port: a bare IPv6 address was read above.
	colon := strings.LastIndexByte(word, ':')
	if colon < 0 {
		return listenAddress{}, fmt.Errorf("%q is not an address; names aren't looked up here", word)
	}
	host, number := word[:colon], word[colon+1:]
	if strings.Contains(host, ":") && unbracketed(host) == host {
		return listenAddress{}, fmt.Errorf("%q: an IPv6 address stands in brackets before a port", word)
	}
	addr, err := netip.ParseAddr(unbracketed(host))
	if err != nil {
		return listenAddress{}, fmt.Errorf("%q is not an address; names aren't looked up here", host)
	}
	var port uint16
	if number != "0" { // the system chooses
		if port, err = policy.ParsePort(number); err != nil {
			return listenAddress{}, err
		}
	}
	return listenAddress{netip.AddrPortFrom(addr.Unmap(), port), true}, nil
}

// unbracketed returns what stands in brackets, or else the word itself.
func unbracketed(word string) string {
	if len(word) > 2 && word[0] == '[' && word[len(word)-1] == ']' {
		return word[1 : len(word)-1]
	}
	return word
}

// parsePath makes a path absolute, from where the program was started, as sshd does.
func parsePath(word string) (string, error) {
	if word == "" {
		return "", errors.New("the path is empty")
	}
	path, err := filepath.Abs(word)
	if err != nil {
		return "", fmt.Errorf("make path %q absolute: %w", word, err)
	}
	return path, nil
}

// pathOr reads a path, or a word that stands for the empty one.
func pathOr(other string) func(string) (string, error) {
	return func(word string) (string, error) {
		if strings.EqualFold(word, other) {
			return "", nil
		}
		return parsePath(word)
	}
}

func parseMaxStartups(word string) (MaxStartups, error) {
	number := numberBetween(1, math.MaxInt32)
	start, rest, three := strings.Cut(word, ":")
	n, err := number(start)
	if err != nil {
		return MaxStartups{}, err
	}
	m := MaxStartups{Start: n, Rate: 30, Full: n} // sshd's rate, for the looks of it
	if !three {
		return m, nil
	}
	rate, full, ok := strings.Cut(rest, ":")
	if !ok {
		return MaxStartups{}, fmt.Errorf("%q is not start:rate:full", word)
	}
	if m.Rate, err = numberBetween(1, 100)(rate); err != nil {
		return MaxStartups{}, fmt.Errorf("rate %w", err)
	}
	if m.Full, err = number(full); err != nil {
		return MaxStartups{}, err
	}
	if m.Full < m.Start {
		return MaxStartups{}, fmt.Errorf("%q: full is less than start", word)
	}
	return m, nil
}

func parseAuthorizedKeysFile(words []string) (setter, error) {
	if len(words) == 1 && strings.EqualFold(words[0], "none") {
		return func(*Settings) {}, nil
	}
	for _, word := range words {
		if err := checkKeysFile(word); err != nil {
			return nil, err
		}
	}
	return func(s *Settings) { s.AuthorizedKeysFile = slices.Clone(words) }, nil
}

func checkKeysFile(word string) error {
	for rest := word; ; {
		_, after, found := strings.Cut(rest, "%")
		if !found {
			break
		}
		switch {
		case strings.HasPrefix(after, "%"), strings.HasPrefix(after, "u"):
			rest = after[1:]
		case strings.HasPrefix(after, "h"):
			return fmt.Errorf("%q: accounts here have no home for %%h: write an absolute path with %%u", word)
		default:
			return fmt.Errorf("%q: the tokens are %%u for the user name and %%%% for a percent sign", word)
		}
	}
	if !filepath.IsAbs(word) {
		return fmt.Errorf("%q is a relative path, and accounts here have no home: write an absolute one with %%u", word)
	}
	return nil
}

func openWords(field func(*Settings) *[]policy.OpenPattern, ftp bool) parser {
	return func(words []string) (setter, error) {
		patterns := []policy.OpenPattern{}
		for _, word := range words {
			if word == "any" || word == "none" {
				if len(words) > 1 {
					return nil, fmt.Errorf("%q stands alone", word)
				}
				if word == "any" {
					patterns = append(patterns, policy.AnyOpen())
				}
				break
			}
			p, err := policy.ParseOpenPattern(word)
			if err != nil {
				return nil, err
			}
			if p.FTP() && !ftp {
				return nil, fmt.Errorf("%q: ftp/ means nothing here: write the host and port alone", word)
			}
			patterns = append(patterns, p)
		}
		return func(s *Settings) { *field(s) = append(*field(s), patterns...) }, nil
	}
}

func parseFTPDataPorts(words []string) (setter, error) {
	if len(words) == 1 && (words[0] == "*" || strings.EqualFold(words[0], "any")) {
		return func(*Settings) {}, nil
	}
	var ports []policy.PortRange
	for _, word := range words {
		ranges, err := policy.ParsePorts(word)
		if err != nil {
			return nil, err
		}
		for _, r := range ranges {
			if r.First < 1024 {
				return nil, fmt.Errorf("%q: an announced data port below 1024 is never opened", word)
			}
		}
		ports = append(ports, ranges...)
	}
	return func(s *Settings) { s.FTP.DataPorts = slices.Clone(ports) }, nil
}

// parseFTPDataAddress takes the control connection's own address as always permitted, said or not.
func parseFTPDataAddress(words []string) (setter, error) {
	var networks []netip.Prefix
	for _, word := range words {
		if strings.EqualFold(word, "control") {
			continue
		}
		network, err := policy.ParseNetwork(word)
		if err != nil {
			return nil, err
		}
		networks = append(networks, network)
	}
	return func(s *Settings) { s.FTP.DataAddresses = slices.Clone(networks) }, nil
}
