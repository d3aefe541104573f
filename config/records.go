package config

import (
	"log/slog"
	"net/netip"

	"github.com/culvert-ssh/culvert/policy"
)

var recordKeywords = []keyword{
	{
		name:     "Banner",
		wants:    "a path, or none",
		standard: []string{"none"},
		value:    one(func(s *Settings) *string { return &s.Banner }, or("none", file)),
	}, {
		name: "AuditLog", where: notYetMatch,
		wants:    "a path, or stderr",
		standard: []string{"stderr"},
		value:    one(func(s *Settings) *string { return &s.AuditLog }, or("stderr", file)),
	}, {
		name: "AuditFailure", where: outsideMatch,
		wants:    "close or continue",
		standard: []string{"close"},
		value:    one(func(s *Settings) *bool { return &s.AuditContinue }, among(choice[bool]{"close", false}, choice[bool]{"continue", true})),
	}, {
		name: "LogLevel", where: notYetMatch,
		wants:    "QUIET, FATAL, ERROR, INFO, VERBOSE, DEBUG, DEBUG2 or DEBUG3",
		standard: []string{"INFO"},
		value:    one(func(s *Settings) *slog.Level { return &s.LogLevel }, among(logLevels...)),
	}, {
		name: "MetricsListen", where: outsideMatch,
		wants:    "address:port, or none",
		standard: []string{"none"},
		value:    one(func(s *Settings) *netip.AddrPort { return &s.MetricsListen }, or("none", endpoint)),
	}, {
		name: "ControlSocket", where: outsideMatch,
		wants:    "a path, or none",
		standard: []string{"/run/culvert/culvertd.sock"},
		value:    one(func(s *Settings) *string { return &s.ControlSocket }, or("none", file)),
	},
}

// endpoint is an address with a port.
var endpoint = form[netip.AddrPort]{
	parse: func(word string) (netip.AddrPort, error) {
		l, err := parseListenAddress(word)
		if err == nil && !l.hasPort {
			_, err = policy.ParsePort("")
		}
		return l.addr, err
	},
	show: netip.AddrPort.String,
}
