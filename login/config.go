package login

import (
	"context"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/culvert-ssh/culvert/algorithms"
)

// Config is everything that [Connect] needs to know. [NewConfig] gives the defaults; the words of
// ssh_config(5) go in through [Config.Set].
type Config struct {
	Host     string // the bastion, as typed: a name or an IP address without brackets
	HostName string // what to dial in its place; if empty, Host
	Port     uint16
	User     string
	Network  string // "tcp", or for one address family "tcp4" or "tcp6"

	ConfigFile string // read in place of ~/.ssh/config and the system's; "none" for no file; if empty, those two

	BindAddress        string // where connections come from: an address or name of this machine; if empty, the system's choice
	BindInterface      string // the same by the name of a network interface
	ConnectionAttempts int    // to connect by TCP

	ProxyJump    []string // hosts to go through, the nearest first; if there are none, the bastion is connected to directly
	ProxyCommand string   // a command whose standard input and output lead to the bastion, with its tokens; it counts before ProxyJump

	HostKeyChecking  HostKeyChecking
	HostKeyAlias     string   // the name to look up in known_hosts; if empty, Host and Port
	UserKnownHosts   []string // read; a new key is added to the first
	GlobalKnownHosts []string // read only

	HostKeyAlgorithms     []string // in order of preference, unless a key is known
	CASignatureAlgorithms []string // by which certificates of hosts may be signed
	RevokedHostKeys       []string // files, plain or KRLs; all must be readable
	RequiredRSASize       int      // bits that RSA keys have at least, of hosts and of the person
	HashKnownHosts        bool     // names are added to known_hosts as hashes
	UpdateHostKeys        UpdateHostKeys

	Identities     []string // private key files in order; if empty, the default ones of ~/.ssh
	Certificates   []string // files with certificates for them; if empty, those beside them
	IdentitiesOnly bool     // offer no key of the agent that isn't among Identities
	AgentSocket    string   // path; if empty, there is no agent
	AddKeys        AddKeys  // what becomes of keys that are read from files

	UserKeyAlgorithms []string // by which the person's keys may sign

	AuthMethods         []string // RFC 4252 method names, the preferred first
	Pubkey              bool     // publickey may be used
	Password            bool     // password may be used
	KeyboardInteractive bool     // keyboard-interactive may be used
	PasswordPrompts     int      // how often a password is asked for
	BatchMode           bool     // never ask anybody anything

	KeyExchanges []string // in order of preference, like those that follow
	Ciphers      []string
	MACs         []string

	ConnectTimeout      time.Duration // to connect, and again for the handshake, not counting what a person does
	ServerAliveInterval time.Duration // between two keepalive requests; 0 sends none
	ServerAliveCountMax int           // this many intervals without an answer end the connection

	// Secret, if it is set, is what the server itself is told when it asks for something without echo. Nobody is asked for that, and no jump
	// host is told it.
	Secret *string

	// Ask puts a question to the person and returns the answer, typed without echo
	// unless echo is set. If nil, nobody can be asked.
	Ask func(ctx context.Context, question string, echo bool) (string, error)
	// Notice is told, line by line, what a person wants to see: what is ready, what the
	// server has to say. If nil, nobody is told.
	Notice func(line string)
	// Log is told the rest. If nil, nobody is.
	Log *slog.Logger

	home            string
	localUser       string
	hostKeysInOrder bool                      // HostKeyAlgorithms are to be offered as they are
	remarks         []string                  // on values that were set
	set             map[string]bool           // keywords that have their value already
	also            func(keyword string) bool // keywords that whoever has c takes besides; if nil, there are none
	said            map[string]string         // and the first value of each of them, by its name in lower case
}

// HostKeyChecking is StrictHostKeyChecking of ssh_config(5). The zero value is the strictest. A changed or
// revoked key ends the connection whatever the value.
type HostKeyChecking int

const (
	OnlyKnown HostKeyChecking = iota // "yes": an unknown host is refused
	AskNew                           // "ask": the person decides about an unknown host
	AcceptNew                        // "accept-new" and "no": an unknown host is added
)

// NewConfig returns the defaults for a person who has this home directory ("" if there is none)
// and this name.
func NewConfig(home, user string) *Config {
	c := &Config{
		Port: 22, User: user, Network: "tcp",
		HostKeyChecking:  AskNew,
		GlobalKnownHosts: []string{"/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"},
		AuthMethods:      []string{"publickey", "keyboard-interactive", "password"},
		Pubkey:           true, Password: true, KeyboardInteractive: true,
		PasswordPrompts:    3,
		RequiredRSASize:    1024,
		ConnectionAttempts: 1,
		HostKeyAlgorithms:  algorithms.HostKeys.Standard, CASignatureAlgorithms: algorithms.Authorities.Standard,
		UserKeyAlgorithms:   algorithms.UserKeys.Standard,
		KeyExchanges:        algorithms.KeyExchanges.Standard,
		Ciphers:             ciphers.Standard,
		MACs:                algorithms.MACs.Standard,
		ConnectTimeout:      30 * time.Second,
		ServerAliveInterval: 30 * time.Second,
		ServerAliveCountMax: 3,

		home:      home,
		localUser: user,
		set:       make(map[string]bool),
		said:      make(map[string]string),
	}
	if home != "" {
		c.UserKnownHosts = []string{filepath.Join(home, ".ssh/known_hosts"), filepath.Join(home, ".ssh/known_hosts2")}
	}
	return c
}

// identities are the key files to try, and whether somebody asked for them by name.
func (c *Config) identities() (files []string, named bool) {
	if len(c.Identities) > 0 || c.set["identityfile"] { // which may have been "none"
		return c.Identities, true
	}
	if c.home == "" {
		return nil, false
	}
	for _, name := range []string{"id_ed25519", "id_ecdsa", "id_rsa"} {
		files = append(files, filepath.Join(c.home, ".ssh", name))
	}
	return files, false
}

// Dialled is the host that is connected to, and whose key is checked.
func (c *Config) Dialled() string {
	if c.HostName != "" {
		return c.HostName
	}
	return c.Host
}

// Tell tells the person a line.
func (c *Config) Tell(line string) {
	if c.Notice != nil {
		c.Notice(line)
	}
}

// Logger never returns nil.
func (c *Config) Logger() *slog.Logger {
	if c.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return c.Log
}

// ask puts a question, if there is somebody to ask.
func (c *Config) ask(ctx context.Context, question string, echo bool) (string, error) {
	if c.BatchMode || c.Ask == nil {
		return "", errNobodyToAsk
	}
	return c.Ask(ctx, question, echo)
}
