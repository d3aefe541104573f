package main

import "github.com/spf13/pflag"

// command is a word that may stand first on the command line, in ssh(1)'s place for a host. A host of such a name is
// written user@name or ssh://name.
type command struct {
	name  string
	args  string                // what follows it, for the help
	help  string                // one line
	flags func() *pflag.FlagSet // its own ones with their usage, for the help and completions; nil if there are none
	run   func(c *call) error   // with the words behind the command's name
}

// commands are in the order of the help. It is a function, as some of them print the table.
func commands() []command {
	return []command{
		{"help", "", "this text", nil, func(*call) error { return errHelp }},
		{"version", "", "which culvert this is", nil, func(*call) error { return errVersion }},
	}
}

func findCommand(name string) (command, bool) {
	for _, c := range commands() {
		if c.name == name {
			return c, true
		}
	}
	return command{}, false
}
