package main

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/pflag"

	"github.com/culvert-ssh/culvert/activity"
	"github.com/culvert-ssh/culvert/client"
	"github.com/culvert-ssh/culvert/sshconfig"
)

var (
	errUsage   = errors.New("wrong usage")
	errHelp    = errors.New("help")
	errVersion = errors.New("version")
)

// usageError is an error in the command line.
type usageError struct{ text string }

func (e *usageError) Error() string        { return e.text }
func (e *usageError) Is(target error) bool { return target == errUsage }

// option is one flag: what it means as a keyword of ssh_config(5), or what else it does. Help, completions and
// the parser read the same table.
type option struct {
	name    string // a letter as in -L, or a word as in --json
	arg     string // names its argument in the help; empty if it takes none
	help    string // one line
	keyword string // its argument is the keyword's value
	value   string // or this is
	do      func(cfg *client.Config, arg string) error
}

// options are ssh(1)'s letters, and words of culvert's own.
var options = []option{
	{name: "4", help: "IPv4 alone", keyword: "AddressFamily", value: "inet"},
	{name: "6", help: "IPv6 alone", keyword: "AddressFamily", value: "inet6"},
	{name: "A", help: "not for culvert", do: func(*client.Config, string) error {
		return &usageError{"-A: culvert runs nothing on the server that could use your agent, and lends it to nobody: leave -A out; for a server behind a server, use -J"}
	}},
	{name: "a", help: "for ssh's sake: the agent is never lent"},
	{name: "B", arg: "interface", help: "network interface to connect from", keyword: "BindInterface"},
	{name: "b", arg: "address", help: "address of this machine to connect from", keyword: "BindAddress"},
	{name: "C", help: "for --via: compress", do: viaOnly("compression")},
	{name: "c", arg: "ciphers", help: "ciphers that may be used, the preferred one first", keyword: "Ciphers"},
	{name: "D", arg: "listen", help: "a SOCKS proxy on this machine, [bind:]port; FTP that goes through it is followed", keyword: "DynamicForward"},
	{name: "E", arg: "file", help: "write what there is to say to the end of this file", do: func(cfg *client.Config, arg string) error { cfg.LogFile = arg; return nil }},
	{name: "F", arg: "file", help: "in place of ~/.ssh/config and the system's; none for no file", keyword: "ConfigFile"},
	{name: "f", help: "to the background, once all is ready", keyword: "ForkAfterAuthentication", value: "yes"},
	{name: "g", help: "let other machines use forwards that do not say where to listen", keyword: "GatewayPorts", value: "yes"},
	{name: "h", help: "this text", do: func(*client.Config, string) error { return errHelp }},
	{name: "I", arg: "provider", help: "for --via: a library with keys", do: viaOnly("libraries with keys")},
	{name: "i", arg: "identity", help: "file with a private key; may be repeated; the agent is asked too", keyword: "IdentityFile"},
	{name: "J", arg: "hosts", help: "jump hosts to go through, with commas between, the nearest first", keyword: "ProxyJump"},
	{name: "K", help: "for --via: Kerberos, and credentials for the server", do: viaOnly("Kerberos")},
	{name: "k", help: "for --via: no credentials for the server", do: viaOnly("Kerberos")},
	{name: "L", arg: "forward", help: "what to forward; port 0 lets the system choose; may be repeated", keyword: "LocalForward"},
	{name: "l", arg: "user", help: "to log in as", keyword: "User"},
	{name: "m", arg: "macs", help: "message authentication codes that may be used", keyword: "MACs"},
	{name: "N", help: "for ssh's sake: there is no remote command to leave out"},
	{name: "n", help: "for ssh's sake: the standard input is never read"},
	{name: "o", arg: "Option=value", help: "as in ssh_config(5)", do: func(cfg *client.Config, arg string) error { return cfg.SetOption(arg) }},
	{name: "P", arg: "tag", help: "a word for Match tagged in ~/.ssh/config", keyword: "Tag"},
	{name: "p", arg: "port", help: "of the SSH server", keyword: "Port"},
	{name: "progress", help: "show what is transferred: on a terminal, how far it is", do: func(cfg *client.Config, _ string) error {
		cfg.Activity = new(activity.Board)
		return nil
	}},
	{name: "q", help: "say nothing", keyword: "LogLevel", value: "QUIET"},
	{name: "R", arg: "forward", help: "the other way: the server listens, and the host is reached from this machine", keyword: "RemoteForward"},
	{name: "S", arg: "ctl_path", help: "over the connection of a running ssh: its control socket", do: setControlPath},
	{name: "T", help: "for ssh's sake: there is no terminal there"},
	{name: "V", help: "the version", do: func(*client.Config, string) error { return errVersion }},
	{name: "version", help: "the version", do: func(*client.Config, string) error { return errVersion }},
	{name: "via", arg: "ssh", help: "start this ssh, and go over its connection", do: setVia},
	{name: "v", help: "say more; -vv and -vvv more still", do: func(cfg *client.Config, _ string) error { cfg.Verbose(); return nil }},
	{name: "W", arg: "host:port", help: "carry standard input and output there, as a ProxyCommand does", do: func(cfg *client.Config, arg string) error { return cfg.SetStdio(arg) }},
	{name: "y", help: "say what there is to say to syslog", do: func(cfg *client.Config, _ string) error { cfg.Syslog = true; return nil }},
}

// flagSet has options as flags that anything may be the argument of, as their own parsers look at it.
func flagSet(options []option) *pflag.FlagSet {
	set := pflag.NewFlagSet("culvert", pflag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.Usage = func() {}
	for _, o := range options {
		if len(o.name) > 1 {
			set.String(o.name, "", o.usage())
		} else {
			set.StringP(o.name, o.name, "", o.usage())
		}
		if o.arg == "" {
			set.Lookup(o.name).NoOptDefVal = "yes"
		}
	}
	return set
}

// usage is the help in pflag's form, which has the name of the argument in it.
func (o option) usage() string {
	if o.arg == "" {
		return o.help
	}
	return "`" + o.arg + "`: " + o.help
}

func (o option) apply(cfg *client.Config, arg string) error {
	switch {
	case o.do != nil:
		return o.do(cfg, arg)
	case o.value != "":
		return cfg.Set(o.keyword, o.value)
	case o.keyword != "":
		return cfg.Set(o.keyword, arg)
	}
	return nil
}

// parse reads the command line into cfg. As in ssh(1), flags may follow the destination, and the first
// value of an option counts.
func parse(args []string, cfg *client.Config) error {
	set := flagSet(options)
	var all []given
	err := set.ParseAll(args, func(flag *pflag.Flag, arg string) error {
		i := slices.IndexFunc(options, func(o option) bool { return o.name == flag.Name })
		all = append(all, given{options[i], arg})
		return nil
	})
	if err == nil {
		err = apply(all, cfg)
	}
	if err != nil {
		return flagError(set, err)
	}
	switch {
	case set.NArg() == 0:
		return &usageError{"where to? the destination is missing"}
	case set.NArg() > 1:
		return &usageError{fmt.Sprintf("culvert runs no commands on the server, so %q is one word too many", set.Arg(1))}
	}
	if len(cfg.Via) > 0 {
		cfg.Via = append(cfg.Via, "--", set.Arg(0))
	}
	return cfg.SetDestination(set.Arg(0))
}

// oneDash is err, or where a long flag has a single dash, which makes letters of it, says that.
func oneDash(args []string, err error) error {
	for _, o := range options {
		if len(o.name) > 1 && slices.Contains(args, "-"+o.name) {
			return &usageError{fmt.Sprintf("-%s: did you mean --%s?", o.name, o.name)}
		}
	}
	return err
}

// flagError says what is wrong with a flag of set.
func flagError(set *pflag.FlagSet, err error) error {
	var unknown *pflag.NotExistError
	var bare *pflag.ValueRequiredError
	switch {
	case errors.Is(err, pflag.ErrHelp):
		return errHelp
	case errors.As(err, &unknown):
		return unknownFlag(set, unknown.GetSpecifiedName())
	case errors.As(err, &bare):
		return &usageError{fmt.Sprintf("option %s needs an argument", dashed(bare.GetSpecifiedName()))}
	}
	return err
}

// foreign are the letters of ssh(1) that culvert hasn't, and why.
var foreign = map[string]string{
	"e": "no session is opened", "s": "no session is opened", "t": "no session is opened",
	"G": "ask ssh for that", "Q": "ask ssh for that",
	"M": "-S goes over an ssh's connection", "O": "-S goes over an ssh's connection",
	"w": "there are no tunnel devices",
	"X": "there are no displays", "x": "there are no displays", "Y": "there are no displays",
}

// unknownFlag says what may have been meant by a flag that isn't one of set.
func unknownFlag(set *pflag.FlagSet, name string) error {
	if why, ok := foreign[name]; ok && set.Lookup("L") != nil {
		return &usageError{fmt.Sprintf("-%s is ssh's, and says nothing to culvert (%s): leave it out", name, why)}
	}
	var known []string
	set.VisitAll(func(f *pflag.Flag) { known = append(known, dashed(f.Name)) })
	text := "unknown option " + dashed(name)
	if near, ok := sshconfig.Nearest(dashed(name), known); ok && len(name) > 1 {
		text += ": did you mean " + near + "?"
	}
	return &usageError{text}
}

// dashed is a flag as it is typed.
func dashed(name string) string {
	if len(name) > 1 {
		return "--" + name
	}
	return "-" + name
}
