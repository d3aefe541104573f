package main

// command is a word that may stand first on the command line, in ssh(1)'s place for a host. A host of such a name is
// written user@name or ssh://name.
type command struct {
	name string
	args string // what follows it, for the help
	help string // one line
	run  func(c *call) error
}

// commands are in the order of the help. It is a function, as some of them print the table.
func commands() []command {
	return []command{
		{"help", "", "this text", func(*call) error { return errHelp }},
		{"version", "", "which culvert this is", func(*call) error { return errVersion }},
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
