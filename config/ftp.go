package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/culvert-ssh/culvert/policy"
)

var ftpKeywords = []keyword{
	{
		name:     "FTPDataPorts",
		wants:    "ports from 1024 such as 50000-50100, or any",
		standard: []string{"any"},
		value:    value{parseFTPDataPorts, showFTPDataPorts},
		rule: func(r *policy.Rules, source string, s Settings) {
			firstRule(&r.FTPDataPorts, source, s.FTP.DataPorts)
		},
	}, {
		name:     "FTPDataAddress",
		wants:    "control, or networks besides it",
		standard: []string{"control"},
		value:    value{parseFTPDataAddress, showFTPDataAddress},
		rule: func(r *policy.Rules, source string, s Settings) {
			firstRule(&r.FTPDataAddress, source, s.FTP.DataAddresses)
		},
	}, {
		name:     "FTPDataTimeout",
		wants:    "a time from 1 second to 1 hour",
		standard: []string{"60"},
		value:    one(func(s *Settings) *time.Duration { return &s.FTP.DataTimeout }, timeBetween(time.Second, time.Hour)),
		rule: func(r *policy.Rules, source string, s Settings) {
			firstRule(&r.FTPDataTimeout, source, s.FTP.DataTimeout)
		},
	}, {
		name:     "FTPActive",
		wants:    "no, yes or forward",
		standard: []string{"no"},
		value:    one(func(s *Settings) *policy.Active { return &s.FTP.Active }, among(actives...)),
		rule: func(r *policy.Rules, source string, s Settings) {
			firstRule(&r.FTPActive, source, s.FTP.Active)
		},
	}, {
		name:     "FTPPredial",
		wants:    "yes or no",
		standard: []string{"no"},
		value:    one(func(s *Settings) *bool { return &s.FTP.Predial }, flag),
		rule: func(r *policy.Rules, source string, s Settings) {
			firstRule(&r.FTPPredial, source, s.FTP.Predial)
		},
	}, {
		name:     "FTPAccess",
		wants:    "read-write, read-only or list-only",
		standard: []string{"read-write"},
		value:    one(func(s *Settings) *policy.Access { return &s.FTP.Access }, among(accesses...)),
		rule: func(r *policy.Rules, source string, s Settings) {
			firstRule(&r.FTPAccess, source, s.FTP.Access)
		},
	}, {
		name: ftpDeny, repeats: accumulates,
		wants: "paths on the FTP server such as /secret or /home/*/private, or any or none alone",
		value: pathWords(func(s *Settings) *[]policy.PathPattern { return &s.FTPDeny }),
		rule: func(r *policy.Rules, source string, s Settings) {
			r.FTPDeny = append(r.FTPDeny, policy.Line[[]policy.PathPattern]{Source: source, Value: s.FTPDeny})
		},
	}, {
		name:     ftpAllow,
		wants:    "paths on the FTP server such as /pub or /home/*/incoming, or any or none alone",
		standard: []string{"any"},
		value:    pathWords(func(s *Settings) *[]policy.PathPattern { return &s.FTPAllow }),
		rule: func(r *policy.Rules, source string, s Settings) {
			firstRule(&r.FTPAllow, source, s.FTPAllow)
		},
	},
}

const (
	ftpDeny  = "FTPDeny"
	ftpAllow = "FTPAllow"
)

var accesses = []choice[policy.Access]{
	{"read-write", policy.ReadWrite},
	{"read-only", policy.ReadOnly},
	{"list-only", policy.ListOnly},
}

var actives = []choice[policy.Active]{
	{"no", policy.ActiveNo},
	{"yes", policy.ActiveYes},
	{"forward", policy.ActiveForward},
}

func parseFTPDataPorts(words []string) (setter, error) {
	if len(words) == 1 && (words[0] == "*" || strings.EqualFold(words[0], "any")) {
		return func(*Settings) {}, nil
	}
	ports, err := parseDataPorts(words, "an announced data port")
	return func(s *Settings) { s.FTP.DataPorts = slices.Clone(ports) }, err
}

// parseDataPorts reads ports for FTP's data, which are what is said.
func parseDataPorts(words []string, what string) (ports []policy.PortRange, err error) {
	for _, word := range words {
		ranges, err := policy.ParsePorts(word)
		if err != nil {
			return nil, err
		}
		for _, r := range ranges {
			if r.First < 1024 {
				return nil, fmt.Errorf("%q: %s below 1024 is never opened", word, what)
			}
		}
		ports = append(ports, ranges...)
	}
	return ports, nil
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

func showFTPDataPorts(s *Settings) [][]string { return showDataPorts(s.FTP.DataPorts, "any") }

// showDataPorts shows ports, and the word for there being none.
func showDataPorts(ports []policy.PortRange, empty string) [][]string {
	words := wordsOf(ports, form[policy.PortRange]{show: policy.PortRange.String})
	if words == nil {
		words = []string{empty}
	}
	return [][]string{words}
}

func showFTPDataAddress(s *Settings) [][]string {
	return [][]string{append([]string{"control"}, wordsOf(s.FTP.DataAddresses, network)...)}
}

// pathWords is the value of FTPDeny and FTPAllow.
func pathWords(field func(*Settings) *[]policy.PathPattern) value {
	parse := func(words []string) (setter, error) {
		patterns, err := parsePathWords(words)
		return func(s *Settings) { *field(s) = append(*field(s), patterns...) }, err
	}
	show := func(s *Settings) [][]string {
		words := wordsOf(*field(s), form[policy.PathPattern]{show: policy.PathPattern.String})
		switch {
		case len(words) == 0:
			words = []string{"none"}
		case len(words) == 1 && (*field(s))[0].IsAny():
			words = []string{"any"}
		}
		return [][]string{words}
	}
	return value{parse, show}
}

func parsePathWords(words []string) ([]policy.PathPattern, error) {
	patterns := []policy.PathPattern{}
	for _, word := range words {
		if word == "any" || word == "none" {
			if len(words) > 1 {
				return nil, fmt.Errorf("%q stands alone", word)
			}
			if word == "any" {
				patterns = append(patterns, policy.AnyPath())
			}
			break
		}
		p, err := policy.ParsePathPattern(word)
		if err != nil {
			return nil, err
		}
		patterns = append(patterns, p)
	}
	return patterns, nil
}
