package main

import (
	"strings"

	"github.com/spf13/pflag"
)

// command is a word that may stand first on the command line, in ssh(1)'s place for a host. A host of such a name is
// written user@name or ssh://name.
type command struct {
	name  string
	args  string                // what follows it, for the help
	help  string                // one line
	flags func() *pflag.FlagSet // its own ones with their usage, for the help and completions; nil if there are none
	run   func(c *call) error   // with the words behind the command's name

	complete func(s *suggestions, typed string) // what its words may be, besides flags; nil if they can't be known
}

// commands are in the order of the help. It is a function, as some of them print the table.
func commands() []command {
	return []command{
		{
			name: "completion", args: "bash|zsh|fish", help: "what that shell reads to complete culvert's words", run: completion,
			complete: func(s *suggestions, typed string) {
				for _, shell := range []string{"bash", "zsh", "fish"} {
					s.add(typed, shell, "")
				}
			},
		},
		{
			name: "down", args: "name...", help: "take tunnels down that up has brought up", flags: downFlags, run: takeDown,
			complete: func(s *suggestions, typed string) { s.profiles(typed) },
		},
		{
			name: "help", args: "[flags|command]", help: "what there is to type", run: showHelp,
			complete: func(s *suggestions, typed string) {
				s.add(typed, "flags", "all flags")
				for _, c := range commands() {
					s.add(typed, c.name, c.help)
				}
			},
		},
		{name: "list", help: "the tunnels that there are, by culvert_config(5)", flags: listFlags, run: listTunnels},
		redirectCommand(),
		{
			name: "run", args: "[option ...] destination -- command [argument ...]", help: "run a command whose FTP goes through the bastion",
			flags: func() *pflag.FlagSet { return flagSet(options) }, run: runWithin,
		},
		{
			name: "status", args: "[name...]", help: "how the tunnels are that are up", flags: statusFlags, run: showStatus,
			complete: func(s *suggestions, typed string) { s.profiles(typed) },
		},
		{
			name: "up", args: "name...", help: "bring tunnels up, and keep them so in the background", flags: upFlags, run: bringUp,
			complete: func(s *suggestions, typed string) { s.profiles(typed) },
		},
		{name: "version", help: "which culvert this is", flags: versionFlags, run: showVersion},
	}
}

// usage is what to type.
func (c command) usage() string { return strings.TrimSpace("culvert " + c.name + " " + c.args) }

func commandNames() []string {
	var names []string
	for _, c := range commands() {
		names = append(names, c.name)
	}
	return names
}

func findCommand(name string) (command, bool) {
	for _, c := range commands() {
		if c.name == name {
			return c, true
		}
	}
	return command{}, false
}
