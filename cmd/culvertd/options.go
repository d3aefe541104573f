package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"
)

const defaultConfig = "/etc/culvert/sshd_config"

const usageText = `usage: culvertd [-DeTtV] [-C connection] [-E log_file] [-f config_file]
                [-h host_key_file] [-o option] [-p port]
       culvertd audit [--user user] [--conn id] [--event name] [--since time] [--until time]
                [--client address] [--denied] file ...
       culvertd audit show conn file ...
       culvertd audit verify [--head hash] file ...
       culvertd ctl [-f config_file | -s socket] [--json] [--over time]
                list | show id | kill id | drain | reload | unban address
       culvertd explain [-f config_file] [-o option] [--json] user=name addr=address
                [host=name] [laddr=address] [lport=port] [group=name] [time=when] [key=SHA256:...]
                open=host:port [address=address] [data=address:port] | listen=[address:]port
       culvertd keygen directory
       culvertd passwd [-d | -l | -u | --totp | --no-totp | --groups list] [-f password_file] user
       culvertd passwd --list [-f password_file]
`

const helpText = usageText + `
culvertd is an SSH bastion that understands FTP. It stays in the foreground.

  -f config_file    the default is ` + defaultConfig + `, see culvertd_config(5)
  -t                check the configuration and the host keys, and end
  -T                as -t, and show what the configuration comes to
  -C connection     for whom: user=alice,addr=192.0.2.7,host=,laddr=,lport=,group=,time=
  -o Keyword=value  as if it stood at the top of the file; it may be given several times
  -p port           to listen on; -h host_key_file
  -E log_file       instead of the standard error; -e and -D are what it does anyway
  -V                say the version

  culvertd audit verify FILE      is the audit log whole? "audit show CONN FILE" shows a connection
  culvertd ctl list               who is connected, and what is open? kill ID, drain, reload, unban ADDRESS
  culvertd explain user=alice addr=192.0.2.7 open=db.corp:5432   would it be permitted, and by which line?
  culvertd keygen /etc/culvert    makes host keys
  culvertd passwd -f FILE USER    sets a password; --totp makes one-time codes, -l locks

The whole of it is in culvertd(8).
`

// options are the command line of the server. The letters mean what they mean to sshd.
type options struct {
	args       []string // all of it, for the process that takes over
	config     string
	logFile    string   // if empty, stderr
	overrides  []string // for config.Load
	test       bool
	effective  bool       // test, and show the settings
	connection connection // for whom
	version    bool
}

func (p program) parseOptions(args []string) (options, error) {
	var (
		o              = options{args: args}
		ports, keys    []string
		specs          []string
		stderr, detach bool
		help           bool
	)
	f := newFlags("culvertd")
	f.StringVarP(&o.config, "config", "f", defaultConfig, "")
	f.StringVarP(&o.logFile, "log-file", "E", "", "")
	f.StringArrayVarP(&o.overrides, "option", "o", nil, "")
	f.StringArrayVarP(&ports, "port", "p", nil, "")
	f.StringArrayVarP(&keys, "host-key", "h", nil, "")
	f.BoolVarP(&detach, "foreground", "D", false, "")
	f.BoolVarP(&stderr, "stderr", "e", false, "")
	f.BoolVarP(&o.test, "test", "t", false, "")
	f.BoolVarP(&o.effective, "effective", "T", false, "")
	f.StringArrayVarP(&specs, "connection", "C", nil, "")
	f.BoolVarP(&o.version, "version", "V", false, "")
	f.BoolVar(&help, "help", false, "")
	if err := f.Parse(args); err != nil {
		return options{}, &usageError{err.Error()}
	}
	if help {
		_, err := io.WriteString(p.stdout, helpText)
		return options{}, errors.Join(pflag.ErrHelp, err)
	}
	if f.NArg() > 0 {
		return options{}, &usageError{fmt.Sprintf("unexpected argument %q", f.Arg(0))}
	}
	if stderr && o.logFile != "" {
		return options{}, &usageError{"-e and -E exclude each other"}
	}
	if len(specs) > 0 && !o.effective {
		return options{}, &usageError{"-C is for -T"}
	}
	for _, spec := range specs {
		if err := o.connection.add(spec); err != nil {
			return options{}, err
		}
	}
	// Of the things that -o can say as well, the letters win.
	var first []string
	for _, port := range ports {
		first = append(first, "Port="+quote(port))
	}
	for _, key := range keys {
		path, err := filepath.Abs(key)
		if err != nil {
			return options{}, fmt.Errorf("make %q absolute: %w", key, err)
		}
		first = append(first, "HostKey="+quote(path))
	}
	o.overrides = append(first, o.overrides...)
	return o, nil
}

// quote makes one word of s for the configuration.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// newFlags returns a set that leaves what is printed to its caller.
func newFlags(name string) *pflag.FlagSet {
	f := pflag.NewFlagSet(name, pflag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.Usage = func() {}
	return f
}
