package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/culvert-ssh/culvert/policy"
)

var ftpTLSKeywords = []keyword{
	{
		name: upstreamTLS, repeats: accumulates,
		wants:    "off, prefer or require, and perhaps the targets that it is for, such as *.corp:21",
		standard: []string{"off"},
		value:    targetedValue(func(s *Settings) *[]policy.Targeted[policy.TLS] { return &s.FTPUpstreamTLS }, parseUpstreamTLS, showUpstreamTLS),
		rule: func(r *policy.Rules, source string, s Settings) {
			r.FTPUpstreamTLS = appendRules(r.FTPUpstreamTLS, source, s.FTPUpstreamTLS)
		},
	}, {
		name:     upstreamTLSCAFile,
		wants:    "the path of a file of certificates in PEM, or none for the authorities of the system",
		standard: []string{"none"},
		value:    one(func(s *Settings) *string { return &s.FTP.TLSCAFile }, or("none", file)),
		rule: func(r *policy.Rules, source string, s Settings) {
			firstRule(&r.FTPUpstreamTLSCAFile, source, s.FTP.TLSCAFile)
		},
	}, {
		name: upstreamTLSPin, repeats: accumulates,
		wants:    "hashes of keys such as SHA256:…, or none, and perhaps the targets that they are for",
		standard: []string{"none"},
		value:    targetedValue(func(s *Settings) *[]policy.Targeted[[]policy.Pin] { return &s.FTPUpstreamTLSPin }, parsePins, showPins),
		rule: func(r *policy.Rules, source string, s Settings) {
			r.FTPUpstreamTLSPin = appendRules(r.FTPUpstreamTLSPin, source, s.FTPUpstreamTLSPin)
		},
	}, {
		name:     "FTPUpstreamTLSMaxVersion",
		wants:    "1.2 or 1.3",
		standard: []string{"1.3"},
		value:    one(func(s *Settings) *policy.TLSVersion { return &s.FTP.TLSMaxVersion }, among(tlsVersions...)),
		rule: func(r *policy.Rules, source string, s Settings) {
			firstRule(&r.FTPUpstreamTLSMaxVersion, source, s.FTP.TLSMaxVersion)
		},
	}, {
		name:     opaqueTLS,
		wants:    "ports from 1024 such as 50000-50100, or none",
		standard: []string{"none"},
		value:    value{parseOpaquePorts, showOpaquePorts},
		rule: func(r *policy.Rules, source string, s Settings) {
			firstRule(&r.FTPOpaqueTLS, source, s.FTP.OpaquePorts)
		},
	},
}

const (
	upstreamTLS       = "FTPUpstreamTLS"
	upstreamTLSCAFile = "FTPUpstreamTLSCAFile"
	upstreamTLSPin    = "FTPUpstreamTLSPin"
	opaqueTLS         = "FTPOpaqueTLS"
)

// maxOpaquePorts bounds what one control connection may open without having announced it.
const maxOpaquePorts = 1024

var upstreamTLSWords = among(
	choice[policy.TLS]{"off", policy.TLSOff}, choice[policy.TLS]{"prefer", policy.TLSPrefer}, choice[policy.TLS]{"require", policy.TLSRequire},
)

var tlsVersions = []choice[policy.TLSVersion]{{"1.3", policy.TLS13}, {"1.2", policy.TLS12}}

// targetedValue is the value of a keyword whose lines are for some targets, or for all. The words of the value come first; head returns
// how many they are.
func targetedValue[T any](
	field func(*Settings) *[]policy.Targeted[T], head func(words []string) (T, int, error), show func(T) []string,
) value {
	parse := func(words []string) (setter, error) {
		v, n, err := head(words)
		if err != nil {
			return nil, err
		}
		targets, err := parseTargets(words[n:])
		if err != nil {
			return nil, err
		}
		return func(s *Settings) { *field(s) = append(*field(s), policy.Targeted[T]{Value: v, Targets: targets}) }, nil
	}
	return value{parse, func(s *Settings) [][]string {
		var lines [][]string
		for _, l := range *field(s) {
			lines = append(lines, append(show(l.Value), wordsOf(l.Targets, form[policy.OpenPattern]{show: policy.OpenPattern.String})...))
		}
		return lines
	}}
}

// parseTargets reads words as PermitOpen has them, without its prefixes.
func parseTargets(words []string) ([]policy.OpenPattern, error) {
	var targets []policy.OpenPattern
	for _, word := range words {
		p, err := policy.ParseOpenPattern(word)
		if err != nil {
			return nil, err
		}
		if p.FTP() {
			return nil, fmt.Errorf("%q: the prefix means nothing here: write the host and port alone", word)
		}
		targets = append(targets, p)
	}
	return targets, nil
}

func parseUpstreamTLS(words []string) (policy.TLS, int, error) {
	v, err := upstreamTLSWords.parse(words[0])
	return v, 1, err
}

func showUpstreamTLS(v policy.TLS) []string { return []string{upstreamTLSWords.show(v)} }

func parsePins(words []string) (pins []policy.Pin, n int, err error) {
	if strings.EqualFold(words[0], "none") {
		return nil, 1, nil
	}
	for n < len(words) && policy.IsPin(words[n]) {
		pin, err := policy.ParsePin(words[n])
		if err != nil {
			return nil, 0, err
		}
		pins = append(pins, pin)
		n++
	}
	if n == 0 {
		return nil, 0, fmt.Errorf("%q is no pin: the first word is SHA256: and a hash in base64, or none", words[0])
	}
	return pins, n, nil
}

func showPins(pins []policy.Pin) []string { return strings.Fields(policy.PinsText(pins)) }

// appendRules appends a line. A default goes without saying.
func appendRules[T any](have []policy.Line[T], source string, values []T) []policy.Line[T] {
	for _, v := range values {
		if source != "" {
			have = append(have, policy.Line[T]{Source: source, Value: v})
		}
	}
	return have
}

func parseOpaquePorts(words []string) (setter, error) {
	if len(words) == 1 && strings.EqualFold(words[0], "none") {
		return func(*Settings) {}, nil
	}
	ports, err := parseDataPorts(words, "a data port")
	if err != nil {
		return nil, err
	}
	count := 0
	for _, r := range ports {
		count += int(r.Last) - int(r.First) + 1
	}
	if count > maxOpaquePorts {
		return nil, fmt.Errorf("these are %d ports, and at most %d are opened without an announcement: name the passive ports of the FTP server", count, maxOpaquePorts)
	}
	return func(s *Settings) { s.FTP.OpaquePorts = slices.Clone(ports) }, nil
}

func showOpaquePorts(s *Settings) [][]string { return showDataPorts(s.FTP.OpaquePorts, "none") }

// ReadCAFiles has read take in each file that FTPUpstreamTLSCAFile names for anybody, once. Its error is an [Errors] with the lines
// that name what read refuses.
func (c *Config) ReadCAFiles(read func(path string) error) error {
	var wrong Errors
	seen := map[string]bool{}
	for _, sc := range append([]*scope{&c.global}, c.blocks...) {
		for _, l := range sc.lines {
			var s Settings
			l.set(&s)
			path := s.FTP.TLSCAFile
			if path == "" || seen[path] {
				continue
			}
			seen[path] = true
			if err := read(path); err != nil {
				wrong = append(wrong, &Error{l.at, l.keyword.name, err})
			}
		}
	}
	if wrong != nil {
		return wrong
	}
	return nil
}

// warnOpaque warns of ports that are never opened, as the connection has to be read.
func (r *reader) warnOpaque(l line, sc *scope) {
	if l.keyword.name != opaqueTLS {
		return
	}
	s := r.config.settings([]*scope{sc})
	switch {
	case len(s.FTP.OpaquePorts) == 0:
	case s.FTP.Access != policy.ReadWrite:
		r.warn(l.at, l.keyword.name, fmt.Sprintf("it has no effect: FTPAccess is %s, and what can't be read can't be kept to it", s.FTP.Access))
	case s.restrictsPaths():
		r.warn(l.at, l.keyword.name, "it has no effect: there are FTPDeny or FTPAllow, and what can't be read can't be kept to them")
	}
}

// warnTargets warns of a line that is for targets that lines before it in the same scope are all for.
func (r *reader) warnTargets(l line, before []line) {
	if l.keyword.name != upstreamTLS && l.keyword.name != upstreamTLSPin {
		return
	}
	own := targetsOf(l)
	for _, b := range before {
		if b.keyword == l.keyword && b.at.File == l.at.File && coverAll(targetsOf(b), own) {
			r.warn(l.at, l.keyword.name, fmt.Sprintf("it is never used: the first line that is for a target counts, and that is %s", b.at))
			return
		}
	}
}

// targetsOf are the targets of a line that is for some; of one that is for all there are none.
func targetsOf(l line) []policy.OpenPattern {
	var s Settings
	l.set(&s)
	switch {
	case len(s.FTPUpstreamTLS) > 0:
		return s.FTPUpstreamTLS[0].Targets
	case len(s.FTPUpstreamTLSPin) > 0:
		return s.FTPUpstreamTLSPin[0].Targets
	}
	return nil
}

func coverAll(first, second []policy.OpenPattern) bool {
	if len(first) == 0 || len(second) == 0 {
		return len(first) == 0
	}
	return !slices.ContainsFunc(second, func(q policy.OpenPattern) bool {
		return !slices.ContainsFunc(first, func(p policy.OpenPattern) bool { return p.Covers(q) })
	})
}
