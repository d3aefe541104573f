package config

import (
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/culvert-ssh/culvert/policy"
)

// Settings are the values of all keywords for somebody.
type Settings struct {
	Ports         []uint16
	ListenAddress []netip.AddrPort // wildcards are one family each; port 0 is one that the system chooses
	HostKeys      []string

	AuthorizedKeysFile     []string // absolute, with the tokens %% and %u still in it; empty for none
	PubkeyAuthentication   bool
	PasswordAuthentication bool
	PasswordFile           string // set if PasswordAuthentication is yes for anybody

	AllowTCPForwarding policy.Forwarding
	PermitOpen         []policy.OpenPattern // empty permits nothing
	DenyOpen           []policy.OpenPattern

	LoginGraceTime      time.Duration // 0 is no limit
	MaxAuthTries        int
	MaxStartups         MaxStartups
	MaxSessions         int // 0 is no sessions at all
	MaxChannels         int
	ConnectTimeout      time.Duration
	ClientAliveInterval time.Duration // 0 is never
	ClientAliveCountMax int           // 0 is that nobody is disconnected

	Banner   string // path, empty for none
	FTP      policy.FTP
	AuditLog string // path, empty for stderr
	LogLevel slog.Level

	listen []listenAddress // before it is combined with Ports
}

// listenAddress is the value of a ListenAddress line.
type listenAddress struct {
	addr    netip.AddrPort
	hasPort bool // if not, it is for each Port
}

// MaxStartups is how many connections may be unauthenticated at once: from Start on, Rate percent
// are refused, rising linearly to all of them at Full.
type MaxStartups struct{ Start, Rate, Full int }

// What sshd's LogLevel has beyond those of slog.
const (
	levelQuiet   = slog.Level(16)
	levelFatal   = slog.LevelError + 4
	levelVerbose = slog.LevelInfo - 2
	levelDebug2  = slog.LevelDebug - 1
	levelDebug3  = slog.LevelDebug - 2
)

var logLevels = []choice[slog.Level]{
	{"QUIET", levelQuiet},
	{"FATAL", levelFatal},
	{"ERROR", slog.LevelError},
	{"INFO", slog.LevelInfo},
	{"VERBOSE", levelVerbose},
	{"DEBUG", slog.LevelDebug},
	{"DEBUG1", slog.LevelDebug},
	{"DEBUG2", levelDebug2},
	{"DEBUG3", levelDebug3},
}

// combineListenAddresses gives each address that has no port every port.
func (s *Settings) combineListenAddresses() {
	var all []netip.AddrPort
	add := func(a netip.AddrPort) {
		if !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	for _, l := range s.listen {
		if l.hasPort {
			add(l.addr)
			continue
		}
		for _, port := range s.Ports {
			add(netip.AddrPortFrom(l.addr.Addr(), port))
		}
	}
	s.ListenAddress, s.listen = all, nil
}
