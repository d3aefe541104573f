package client

import (
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/culvert-ssh/culvert/activity"
	"github.com/culvert-ssh/culvert/ftp"
	"github.com/culvert-ssh/culvert/ftps"
	"github.com/culvert-ssh/culvert/login"
)

// Config is everything that [Run] needs to know. [NewConfig] gives the defaults; the words of
// ssh_config(5) and culvert's own go in through [Config.Set].
type Config struct {
	login.Config // the SSH connection; its Network is that of local listeners, too

	ControlPath string   // of a running ssh, whose SSH connection is used, with tokens; if empty, culvert has its own
	Via         []string // the program and arguments of an ssh that is started for that; if empty, none is

	Forwards             []Forward  // -L and -D
	RemoteForwards       []Forward  // -R: the bastion listens, and the targets are reached from here
	RemoteAddress        netip.Addr // what FTP clients near a foreign bastion are told (FTPRemoteAddress)
	ClearForwards        bool       // none of them is served (ClearAllForwardings)
	ExitOnForwardFailure bool       // one forward that fails ends Run; otherwise only all of them do
	GatewayPorts         bool       // a forward that doesn't say where to listen is open to other machines (-g)
	FTPPorts             []uint16   // SOCKS connections to these are FTP control connections
	AnnouncedDataAddress bool       // ask for FTP data by the announced address (FTPDataAddress)

	SocketMask   fs.FileMode // permissions that Unix sockets of local forwards don't get (StreamLocalBindMask)
	SocketUnlink bool        // one that is there already gives way (StreamLocalBindUnlink)

	PermitRemoteOpen []Opening // what those who use -R for SOCKS may connect to

	Active        ftp.Active // what becomes of FTP clients in active mode (FTPActive)
	ActiveAddress netip.Addr // the SSH server's own address for FTP servers that connect to it (FTPActiveAddress); if not valid, only those on loopback can

	// ProxyUser is the name that FTP clients may log in to the FTP proxy with, together with that for the server; "" if there is none (FTPProxyUser).
	ProxyUser string

	LoginForSSH LoginForSSH // what of an FTP login serves for SSH as well (FTPLoginForSSH)

	UpstreamTLS    ftp.TLS     // whether FTP servers are spoken to by TLS (FTPUpstreamTLS)
	UpstreamConfig ftps.Config // and which are the right ones (FTPUpstreamTLSCAFile, FTPUpstreamTLSPin, FTPUpstreamTLSMaxVersion)
	OpaquePorts    []uint16    // may be listened on for FTP clients that speak TLS with the server themselves; if empty, they can't (FTPOpaqueTLS)

	Stripes Stripes // how many SSH connections a stream may be spread over
	// StripesBudget is the memory for streams with stripes, which is shared by those who have the same one. If nil, there is none beyond the first 2 MiB of each.
	StripesBudget *Budget

	IdleTimeout  time.Duration // how long a standing SSH connection stays that nobody uses; if 0, for good
	QueueTimeout time.Duration // how long a connection to a standing forward waits for the SSH connection

	LogLevel Level
	LogFile  string // what there is to say goes to the end of it; if empty, to standard error (-E)
	Syslog   bool   // or to syslog (-y)

	Background bool     // go to the background when all is ready (ForkAfterAuthentication)
	Stdio      *Forward // carry standard input and output there, and serve no forwards (-W); if nil, serve them

	// Ready is called once, when all forwards are set up. If nil, nobody is told.
	Ready func()

	// Activity has meters of all that runs. If nil, nothing is counted.
	Activity *activity.Board
	// LinkName is the name of this way to the bastion in what Activity shows; empty where there is but one.
	LinkName string
	// Listening is told where each local forward listens, once all forwards are set up. If nil, nobody is.
	Listening func(f Forward, at net.Addr)

	// Dialogue is told every line on FTP control connections, which are counted from 1. It is called from several goroutines. If nil,
	// nobody is told.
	Dialogue  func(connection int, l DialogueLine)
	dialogues atomic.Int64 // control connections so far

	set map[string]bool // keywords that have their value already
}

// Level is how much culvert says (LogLevel in ssh_config(5)).
type Level int

const (
	LevelInfo   Level = iota // what is ready, warnings, errors
	LevelQuiet               // only what ends the program
	LevelError               // errors
	LevelDebug               // what happens, and each line of FTP dialogues
	LevelDebug2              // what is asked of the SSH server, and what it answers
	LevelDebug3              // when each line was said, and by which line of the program
)

// The levels at which things are logged that only LevelDebug2 and LevelDebug3 say.
const (
	logDebug2 = slog.LevelDebug - 1
	logDebug3 = slog.LevelDebug - 2
)

// Log returns the least important level that is said.
func (l Level) Log() slog.Level {
	switch l {
	case LevelQuiet:
		return slog.LevelError + 1
	case LevelError:
		return slog.LevelError
	case LevelDebug:
		return slog.LevelDebug
	case LevelDebug2:
		return logDebug2
	case LevelDebug3:
		return logDebug3
	}
	return slog.LevelInfo
}

// Verbose has culvert say more, and more each time that it is called (-v).
func (c *Config) Verbose() {
	switch c.LogLevel {
	case LevelDebug:
		c.LogLevel = LevelDebug2
	case LevelDebug2, LevelDebug3:
		c.LogLevel = LevelDebug3
	default:
		c.LogLevel = LevelDebug
	}
	c.set["loglevel"] = true
}

// NewConfig returns the defaults for a person who has this home directory ("" if there is none)
// and this name.
func NewConfig(home, user string) *Config {
	return &Config{
		Config: *login.NewConfig(home, user),
		Active: ftp.ActiveTranslated, Stripes: AutoStripes, StripesBudget: NewBudget(),

		IdleTimeout:  5 * time.Minute,
		QueueTimeout: 45 * time.Second, // FTP clients wait a minute for the greeting, or longer

		FTPPorts:  []uint16{21},
		ProxyUser: "culvert-proxy",

		SocketMask:       0o177,
		PermitRemoteOpen: []Opening{{}},

		set: make(map[string]bool),
	}
}
