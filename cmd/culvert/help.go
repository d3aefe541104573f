package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/culvert-ssh/culvert/sshconfig"
)

// usage is what follows an error in the command line.
const usage = `usage: culvert [flags] -L|-R|-D|-W forward [user@]bastion
       culvert command ...        (culvert --help says more)`

// help fits a screen of 24 lines.
const help = `usage: culvert [flags] -L|-R|-D|-W forward [user@]bastion
       culvert command ...

Opens ports here and carries their connections through an SSH server. With ftp/
it follows the FTP dialogue: any FTP client works through the one port.

  -L [ftp/][bind:]port:host:hostport   a port here, for a host at the bastion
  -L ftp-proxy/[bind:]port             an FTP proxy: log in there as user@host
  -R [ftp/][bind:]port:host:hostport   a port at the bastion, for a host here
  -D [bind:]port, -W host:port         a SOCKS proxy that follows FTP; as ssh's
  -p -l -i -J -F -o -f -g -q -v -E     as ssh's; --progress shows transfers
  -S ctl_path, --via ssh               over the connection of a running ssh, or
                                       of one that is started for it

%s
  culvert -L ftp/2121:ftp.corp:21 alice@bastion
  lftp -p 2121 127.0.0.1

"culvert help flags" lists all flags, "culvert help up" tells of a command; the
whole of it is in culvert(1).
`

// helpText is what --help prints.
func helpText() string {
	var names strings.Builder
	line := "  commands:"
	for _, c := range commands() {
		if len(line)+len(c.name)+2 > 79 {
			names.WriteString(line + "\n")
			line = "           "
		}
		line += " " + c.name
	}
	names.WriteString(line + "\n")
	return fmt.Sprintf(help, names.String())
}

// commandHelp tells of one command.
func commandHelp(c command) string {
	text := "usage: " + c.usage() + "\n\n" + c.help + "\n"
	if c.flags != nil {
		text += "\n" + flagsHelp(c.flags())
	}
	return text
}

// flagsHelp lists flags, in the order of the alphabet, small letters behind their capitals.
func flagsHelp(set *pflag.FlagSet) string {
	type row struct{ flag, help string }
	var rows []row
	widest := 0
	set.VisitAll(func(f *pflag.Flag) {
		arg, text := pflag.UnquoteUsage(f)
		flag := "--" + f.Name
		if f.Shorthand != "" {
			flag = "-" + f.Shorthand
			if len(f.Name) > 1 {
				flag += ", --" + f.Name
			}
		}
		if f.NoOptDefVal == "" {
			flag += " " + arg
		}
		rows = append(rows, row{flag, strings.TrimPrefix(text, arg+": ")})
		widest = max(widest, len(flag))
	})
	var b strings.Builder
	for _, r := range rows {
		fmt.Fprintf(&b, "  %-*s  %s\n", widest, r.flag, wrap(r.help, 76-widest, widest+4))
	}
	return b.String()
}

// wrap breaks text after words into lines of at most width, all but the first of which are indented.
func wrap(text string, width, indent int) string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines = append(lines, line)
			line = ""
		}
		line = strings.TrimPrefix(line+" "+word, " ")
	}
	return strings.Join(append(lines, line), "\n"+strings.Repeat(" ", indent))
}

// showHelp is the command help.
func showHelp(c *call) error {
	switch {
	case len(c.args) == 0:
		return errHelp
	case len(c.args) == 1 && slices.Contains([]string{"flags", "options"}, c.args[0]):
		return exitError(c.print(flagsHelp(flagSet(options))))
	case len(c.args) == 1:
		if cmd, ok := findCommand(c.args[0]); ok {
			return exitError(c.print(commandHelp(cmd)))
		}
		names := commandNames()
		return &usageError{fmt.Sprintf("there is no command %q: %s", c.args[0], sshconfig.Meant(c.args[0], names, "there are "+strings.Join(names, ", ")))}
	}
	return &usageError{"culvert help, culvert help flags, or culvert help with the name of a command"}
}

// showVersion is the command version.
func showVersion(c *call) error {
	t, err := c.tunnels("json")
	switch {
	case err != nil:
		return err
	case len(t.names) > 0:
		return &usageError{"culvert version takes no names"}
	case t.json:
		return t.writeJSON(struct {
			Version string `json:"version"`
		}{version})
	}
	return errVersion
}
