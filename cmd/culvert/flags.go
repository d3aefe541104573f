package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/pflag"

	"github.com/culvert-ssh/culvert/client"
)

const usage = `usage: culvert [-46NqVv] [-i identity] [-l user] [-o Option=value] [-p port]
               -L|-R [ftp/|ftps/][bind:]port:host:hostport [user@]host`

const help = usage + `

culvert opens ports on this machine and carries their connections through an
SSH server. With ftp/ it follows the FTP dialogue, so that any FTP client works
through the one port; ftps/ is for a server that speaks TLS from the start.

  -L [ftp/|ftps/][bind:]port:host:hostport
                what to forward; port 0 lets the system choose; may be repeated
  -R [ftp/|ftps/][bind:]port:host:hostport
                the other way: the server listens, and the host is reached from
                this machine
  -p port       of the SSH server; -l user, to log in as
  -i identity   file with a private key; may be repeated; the agent is asked too
  -o Option=value
                as in ssh_config(5): StrictHostKeyChecking, UserKnownHostsFile,
                ConnectTimeout, ExitOnForwardFailure, BatchMode, and others;
                for FTP: FTPActive=forward for servers without passive mode,
                FTPUpstreamTLS=require for servers that require TLS,
                FTPOpaqueTLS=ports for clients that require it
  -4, -6        IPv4 or IPv6 alone
  -v, -q        say more, or nothing; -V says the version
  -N, -n, -T    taken for ssh's sake

  culvert -N -L ftp/2121:ftp.corp:21 alice@bastion
  lftp -p 2121 127.0.0.1

The whole of it is in culvert(1).
`

var (
	errUsage   = errors.New("wrong usage")
	errHelp    = errors.New("help")
	errVersion = errors.New("version")
)

// usageError is an error in the command line.
type usageError struct{ text string }

func (e *usageError) Error() string        { return e.text }
func (e *usageError) Is(target error) bool { return target == errUsage }

// letter is one flag: what it means as a keyword of ssh_config(5), or what else it does.
type letter struct {
	keyword string // takes an argument, the keyword's value
	value   string // takes none, and the keyword gets this value
	do      func(cfg *client.Config, arg string) error
	flag    bool // do takes no argument
}

// letters are ssh(1)'s.
var letters = map[string]letter{
	"4": {flag: true, do: func(cfg *client.Config, _ string) error { cfg.Network = "tcp4"; return nil }},
	"6": {flag: true, do: func(cfg *client.Config, _ string) error { cfg.Network = "tcp6"; return nil }},
	"L": {keyword: "LocalForward"},
	"N": {flag: true}, // there is no remote command to leave out
	"T": {flag: true}, // nor a terminal there
	"R": {keyword: "RemoteForward"},
	"V": {flag: true, do: func(*client.Config, string) error { return errVersion }},
	"f": {flag: true, do: func(*client.Config, string) error {
		return &usageError{"-f: culvert can't go to the background yet: use a service manager, or the shell's &"}
	}},
	"h": {flag: true, do: func(*client.Config, string) error { return errHelp }},
	"i": {keyword: "IdentityFile"},
	"l": {keyword: "User"},
	"n": {flag: true}, // the standard input is never read
	"o": {do: func(cfg *client.Config, arg string) error { return cfg.SetOption(arg) }},
	"p": {keyword: "Port"},
	"q": {keyword: "LogLevel", value: "QUIET"},
	"v": {keyword: "LogLevel", value: "DEBUG"},
}

// parse reads the command line into cfg. As in ssh(1), flags may follow the destination, and the first
// value of an option counts.
func parse(args []string, cfg *client.Config) error {
	set := pflag.NewFlagSet("culvert", pflag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.Usage = func() {}
	for name, l := range letters {
		set.StringP(name, name, "", "")
		if l.flag || l.value != "" {
			set.Lookup(name).NoOptDefVal = "yes"
		}
	}
	err := set.ParseAll(args, func(flag *pflag.Flag, arg string) error {
		l := letters[flag.Name]
		switch {
		case l.do != nil:
			return l.do(cfg, arg)
		case l.value != "":
			return cfg.Set(l.keyword, l.value)
		case l.keyword != "":
			return cfg.Set(l.keyword, arg)
		}
		return nil
	})
	if err != nil {
		return flagError(err)
	}
	switch {
	case set.NArg() == 0:
		return &usageError{"where to? the destination is missing"}
	case set.NArg() > 1:
		return &usageError{fmt.Sprintf("culvert runs no commands, so %q is one word too many", set.Arg(1))}
	}
	if err := cfg.SetDestination(set.Arg(0)); err != nil {
		return err
	}
	if len(cfg.Forwards)+len(cfg.RemoteForwards) == 0 {
		return &usageError{"there is nothing to forward: give at least one -L or -R"}
	}
	return nil
}

func flagError(err error) error {
	var unknown *pflag.NotExistError
	var bare *pflag.ValueRequiredError
	switch {
	case errors.Is(err, pflag.ErrHelp):
		return errHelp
	case errors.As(err, &unknown):
		return &usageError{fmt.Sprintf("unknown option -%s", unknown.GetSpecifiedName())}
	case errors.As(err, &bare):
		return &usageError{fmt.Sprintf("option -%s needs an argument", bare.GetSpecifiedName())}
	}
	return err
}
