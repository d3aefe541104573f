package config

import (
	"log/slog"
	"time"

	"github.com/culvert-ssh/culvert/policy"
)

// keyword is a row of the table that drives reading, validation and defaults.
type keyword struct {
	name     string
	where    where
	repeats  repeats
	wants    string   // its value, in words that go on after "wants"
	standard []string // the default, one element a line as it would be written; nil if there is none
	parse    parser

	// rule hands a line on to the policy; nil if the policy has no part in it. What the scope
	// says already stays.
	rule func(r *policy.Rules, source string, s Settings)
}

// parser turns the words after a keyword into a setter.
type parser func(words []string) (setter, error)

// where a keyword may stand.
type where int

const (
	anywhere     where = iota
	outsideMatch       // as with sshd, or because there is one of it
	notYetMatch        // sshd takes it inside Match, and this version doesn't serve it there
)

// repeats is what a keyword that stands there twice means.
type repeats int

const (
	firstWins repeats = iota
	accumulates
	accumulatesUnlessOverridden // a line of -o replaces those of the file
)

var keywords = []keyword{
	{
		name: "Port", where: outsideMatch, repeats: accumulatesUnlessOverridden,
		wants:    "a port number",
		standard: []string{"22"},
		parse:    each(func(s *Settings) *[]uint16 { return &s.Ports }, policy.ParsePort),
	}, {
		name: "ListenAddress", where: outsideMatch, repeats: accumulatesUnlessOverridden,
		wants:    "an address, or address:port; IPv6 with a port stands in brackets",
		standard: []string{"0.0.0.0", "::"},
		parse:    each(func(s *Settings) *[]listenAddress { return &s.listen }, parseListenAddress),
	}, {
		name: "HostKey", where: outsideMatch, repeats: accumulates,
		wants: "the path of a private key",
		parse: each(func(s *Settings) *[]string { return &s.HostKeys }, parsePath),
	}, {
		name:     "AuthorizedKeysFile",
		wants:    "absolute paths with %u for the user name, or none",
		standard: []string{"/etc/culvert/authorized_keys/%u"},
		parse:    parseAuthorizedKeysFile,
	}, {
		name:     "PubkeyAuthentication",
		wants:    "yes or no",
		standard: []string{"yes"},
		parse:    one(func(s *Settings) *bool { return &s.PubkeyAuthentication }, parseFlag),
	}, {
		name:     "PasswordAuthentication",
		wants:    "yes or no",
		standard: []string{"no"},
		parse:    one(func(s *Settings) *bool { return &s.PasswordAuthentication }, parseFlag),
	}, {
		name: "PasswordFile", where: outsideMatch,
		wants: "the path of the file that culvertd passwd writes",
		parse: one(func(s *Settings) *string { return &s.PasswordFile }, parsePath),
	}, {
		name:     "AllowTcpForwarding",
		wants:    "yes, no, local or remote",
		standard: []string{"yes"},
		parse:    one(func(s *Settings) *policy.Forwarding { return &s.AllowTCPForwarding }, among(forwardings...)),
		rule: func(r *policy.Rules, source string, s Settings) {
			firstRule(&r.AllowTCPForwarding, source, s.AllowTCPForwarding)
		},
	}, {
		name:  "PermitOpen",
		wants: "words such as host:port, 10.1.0.0/16:22 or ftp/host:21, or any or none alone",
		parse: openWords(func(s *Settings) *[]policy.OpenPattern { return &s.PermitOpen }, true),
		rule: func(r *policy.Rules, source string, s Settings) {
			firstRule(&r.PermitOpen, source, s.PermitOpen)
		},
	}, {
		name: "DenyOpen", repeats: accumulates,
		wants: "words such as 169.254.0.0/16:* or host:port, or any or none alone",
		parse: openWords(func(s *Settings) *[]policy.OpenPattern { return &s.DenyOpen }, false),
		rule: func(r *policy.Rules, source string, s Settings) {
			r.DenyOpen = append(r.DenyOpen, policy.Line[[]policy.OpenPattern]{Source: source, Value: s.DenyOpen})
		},
	}, {
		name: "LoginGraceTime", where: outsideMatch,
		wants:    "a time such as 120 or 2m, or 0 for no limit",
		standard: []string{"120"},
		parse:    one(func(s *Settings) *time.Duration { return &s.LoginGraceTime }, timeBetween(0, maxTime)),
	}, {
		name: "MaxAuthTries", where: notYetMatch, // it is needed before the user is known
		wants:    "a number from 1 to 1000",
		standard: []string{"6"},
		parse:    one(func(s *Settings) *int { return &s.MaxAuthTries }, numberBetween(1, 1000)),
	}, {
		name: "MaxStartups", where: outsideMatch,
		wants:    "a number, or start:rate:full",
		standard: []string{"10:30:100"},
		parse:    one(func(s *Settings) *MaxStartups { return &s.MaxStartups }, parseMaxStartups),
	}, {
		name:     "MaxSessions",
		wants:    "a number from 0 to 65535",
		standard: []string{"10"},
		parse:    one(func(s *Settings) *int { return &s.MaxSessions }, numberBetween(0, 65535)),
	}, {
		name:     "MaxChannels",
		wants:    "a number from 1 to 65535",
		standard: []string{"64"},
		parse:    one(func(s *Settings) *int { return &s.MaxChannels }, numberBetween(1, 65535)),
	}, {
		name:     "ConnectTimeout",
		wants:    "a time from 1 second to 10 minutes",
		standard: []string{"10"},
		parse:    one(func(s *Settings) *time.Duration { return &s.ConnectTimeout }, timeBetween(time.Second, 10*time.Minute)),
	}, {
		name:     "ClientAliveInterval",
		wants:    "a time such as 30 or 1m, or 0 for never",
		standard: []string{"0"},
		parse:    one(func(s *Settings) *time.Duration { return &s.ClientAliveInterval }, timeBetween(0, maxTime)),
	}, {
		name:     "ClientAliveCountMax",
		wants:    "a number from 0 to 65535",
		standard: []string{"3"},
		parse:    one(func(s *Settings) *int { return &s.ClientAliveCountMax }, numberBetween(0, 65535)),
	}, {
		name:     "Banner",
		wants:    "a path, or none",
		standard: []string{"none"},
		parse:    one(func(s *Settings) *string { return &s.Banner }, pathOr("none")),
	}, {
		name:     "FTPDataPorts",
		wants:    "ports from 1024 such as 50000-50100, or any",
		standard: []string{"any"},
		parse:    parseFTPDataPorts,
		rule: func(r *policy.Rules, source string, s Settings) {
			firstRule(&r.FTPDataPorts, source, s.FTP.DataPorts)
		},
	}, {
		name:     "FTPDataAddress",
		wants:    "control, or networks besides it",
		standard: []string{"control"},
		parse:    parseFTPDataAddress,
		rule: func(r *policy.Rules, source string, s Settings) {
			firstRule(&r.FTPDataAddress, source, s.FTP.DataAddresses)
		},
	}, {
		name:     "FTPDataTimeout",
		wants:    "a time from 1 second to 1 hour",
		standard: []string{"60"},
		parse:    one(func(s *Settings) *time.Duration { return &s.FTP.DataTimeout }, timeBetween(time.Second, time.Hour)),
		rule: func(r *policy.Rules, source string, s Settings) {
			firstRule(&r.FTPDataTimeout, source, s.FTP.DataTimeout)
		},
	}, {
		name:     "FTPActive",
		wants:    "no",
		standard: []string{"no"},
		parse:    only("no", "yes", "forward"),
	}, {
		name:     "FTPUpstreamTLS",
		wants:    "off",
		standard: []string{"off"},
		parse:    only("off", "prefer", "require"),
	}, {
		name:     "FTPAccess",
		wants:    "read-write, read-only or list-only",
		standard: []string{"read-write"},
		parse:    one(func(s *Settings) *policy.Access { return &s.FTP.Access }, among(accesses...)),
		rule: func(r *policy.Rules, source string, s Settings) {
			firstRule(&r.FTPAccess, source, s.FTP.Access)
		},
	}, {
		name: "AuditLog", where: notYetMatch,
		wants:    "a path, or stderr",
		standard: []string{"stderr"},
		parse:    one(func(s *Settings) *string { return &s.AuditLog }, pathOr("stderr")),
	}, {
		name: "LogLevel", where: notYetMatch,
		wants:    "QUIET, FATAL, ERROR, INFO, VERBOSE, DEBUG, DEBUG2 or DEBUG3",
		standard: []string{"INFO"},
		parse:    one(func(s *Settings) *slog.Level { return &s.LogLevel }, among(logLevels...)),
	},
}

var forwardings = []choice[policy.Forwarding]{
	{"yes", policy.ForwardAll},
	{"all", policy.ForwardAll},
	{"no", policy.ForwardNone},
	{"local", policy.ForwardLocal},
	{"remote", policy.ForwardRemote},
}

var accesses = []choice[policy.Access]{
	{"read-write", policy.ReadWrite},
	{"read-only", policy.ReadOnly},
	{"list-only", policy.ListOnly},
}

// firstRule sets what the scope doesn't say yet.
func firstRule[T any](have **policy.Line[T], source string, v T) {
	if *have == nil {
		*have = &policy.Line[T]{Source: source, Value: v}
	}
}
