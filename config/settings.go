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
	Ports             []uint16
	AddressFamily     AddressFamily
	ListenAddress     []netip.AddrPort // wildcards are one family each; port 0 is one that the system chooses
	ProxyProtocolFrom []netip.Prefix   // the proxies whose word on the client's address is believed
	PidFile           string           // path, empty for none
	VersionAddendum   string           // empty for none
	TCPKeepAlive      bool

	HostKeys         []string
	HostCertificates []string
	HostKeyAgent     string // path of the agent's socket, or SSH_AUTH_SOCK; empty for none

	// Algorithms: names that x/crypto/ssh has, in order of preference; empty is the default. Those of keys have
	// the types of certificates among them.
	Ciphers, MACs, KexAlgorithms                                       []string
	HostKeyAlgorithms, PubkeyAcceptedAlgorithms, CASignatureAlgorithms []string
	RekeyBytes                                                         uint64 // 0 is the default of the cipher
	RekeyTime                                                          time.Duration
	RequiredRSASize                                                    int // bits

	DenyUsers, AllowUsers   []policy.UserPattern
	DenyGroups, AllowGroups []policy.GroupPattern

	AuthenticationMethods           [][]string // lists of methods, each of which suffices; nil is any one method
	PubkeyAuthentication            bool
	PasswordAuthentication          bool
	KbdInteractiveAuthentication    bool
	PermitRootLogin                 RootLogin
	AuthorizedKeysFile              []string // absolute, with the tokens %%, %h, %U and %u still in it; empty for none
	AuthorizedKeysCommand           string   // with its arguments and tokens; empty for none
	AuthorizedKeysCommandUser       string
	TrustedUserCAKeys               string // path, empty for none
	AuthorizedPrincipalsFile        string // as AuthorizedKeysFile; empty for none
	AuthorizedPrincipalsCommand     string
	AuthorizedPrincipalsCommandUser string
	RevokedKeys                     string // path, empty for none
	TouchRequired, VerifyRequired   bool   // PubkeyAuthOptions
	PasswordFile                    string // set if a method that needs it is yes for anybody

	AllowTCPForwarding policy.Forwarding
	DisableForwarding  bool
	PermitOpen         []policy.OpenPattern // empty permits nothing
	DenyOpen           []policy.OpenPattern
	PermitListen       []policy.ListenPattern // empty permits nothing
	GatewayPorts       policy.GatewayPorts
	PermitTTY          bool
	ForceCommand       string      // empty for none
	ChrootDirectory    string      // with the tokens %%, %h, %U and %u still in it; empty for none
	Subsystems         []Subsystem // the first of a name counts
	AcceptEnv          []string

	LoginGraceTime             time.Duration // 0 is no limit
	MaxAuthTries               int
	MaxConnections             int // of one user; 0 is no limit
	MaxStartups                MaxStartups
	PerSourceMaxStartups       int // 0 is no limit
	PerSourceBits4             int // PerSourceNetBlockSize: prefix lengths
	PerSourceBits6             int
	PerSourcePenalties         PerSourcePenalties
	PerSourcePenaltyExemptList policy.AddressList
	MaxSessions                int // 0 is no sessions at all
	MaxChannels                int
	MaxStripes                 int // side connections of one connection; 0 is none
	ConnectTimeout             time.Duration
	ClientAliveInterval        time.Duration // 0 is never
	ClientAliveCountMax        int           // 0 is that nobody is disconnected
	ChannelTimeout             []ChannelTimeout
	UnusedConnectionTimeout    time.Duration // 0 is never
	DrainTimeout               time.Duration // 0 is never

	Banner string     // path, empty for none
	FTP    policy.FTP // what isn't different for each target

	FTPDeny           []policy.PathPattern
	FTPAllow          []policy.PathPattern          // empty allows nothing
	FTPUpstreamTLS    []policy.Targeted[policy.TLS] // the first that is for the target counts
	FTPUpstreamTLSPin []policy.Targeted[[]policy.Pin]

	AuditLog      string         // path, empty for stderr
	AuditContinue bool           // AuditFailure continue: what can't be put on record goes on all the same
	MetricsListen netip.AddrPort // not valid for none
	ControlSocket string         // path of the socket of culvertd ctl; empty for none
	LogLevel      slog.Level

	// What is put together when all lines are read.
	listen                        []listenAddress // with Ports
	penalties                     []penaltyWord
	saidRekeyBytes, saidRekeyTime bool

	lines map[*keyword]Position // the first line of each keyword that has one
}

// Line returns the file:line that says the value of a keyword, the first of several; empty if none does, and the value is the default.
func (s *Settings) Line(name string) string {
	for k, at := range s.lines {
		if k.name == name {
			return at.String()
		}
	}
	return ""
}

// AddressFamily is the value of AddressFamily.
type AddressFamily int

const (
	AnyFamily AddressFamily = iota
	IPv4Only
	IPv6Only
)

// has reports whether an address belongs to f.
func (f AddressFamily) has(addr netip.Addr) bool {
	return f == AnyFamily || (f == IPv4Only) == addr.Is4()
}

// listenAddress is the value of a ListenAddress line.
type listenAddress struct {
	addr    netip.AddrPort
	hasPort bool // if not, it is for each Port
}

// MaxStartups is how many connections may be unauthenticated at once: from Start on, Rate percent
// are refused, rising linearly to all of them at Full.
type MaxStartups struct{ Start, Rate, Full int }

// RootLogin is the value of PermitRootLogin.
type RootLogin int

const (
	RootNo             RootLogin = iota
	RootForcedCommands           // forced-commands-only: by a key that has command= or the like
	RootKeys                     // prohibit-password: by a key
	RootYes
)

// Subsystem is a line of Subsystem.
type Subsystem struct{ Name, Command string }

// ChannelTimeout is a word of ChannelTimeout: channels of this type (or *, or a pattern) that moved no byte for
// this long are closed.
type ChannelTimeout struct {
	Type  string
	After time.Duration
}

// PerSourcePenalties is for how long an address is refused after each kind of misbehaviour; the times add up.
// The zero value, PerSourcePenalties no, punishes nobody.
type PerSourcePenalties struct {
	Enabled                                                               bool
	Crash, AuthFail, InvalidUser, NoAuth, GraceExceeded, RefuseConnection time.Duration

	Min, Max                     time.Duration // less than Min is remembered and doesn't count yet
	MaxSources4, MaxSources6     int
	DenyOverflow4, DenyOverflow6 bool // with the table full, everybody is refused; else the mildest entry goes
}

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

// combine puts together what comes from several keywords or lines.
func (s *Settings) combine() {
	s.combineListenAddresses()
	s.combinePenalties()
	s.saidRekeyBytes, s.saidRekeyTime = false, false
}

// combineListenAddresses gives each address that has no port every port. Of the default, what AddressFamily leaves out goes.
func (s *Settings) combineListenAddresses() {
	var all []netip.AddrPort
	add := func(a netip.AddrPort) {
		if s.AddressFamily.has(a.Addr()) && !slices.Contains(all, a) {
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
