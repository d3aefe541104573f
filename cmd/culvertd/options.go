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
		_, err := io.WriteString(p.stdout, synopsisOf().help())
		return options{}, errors.Join(pflag.ErrHelp, err)
	}
	if f.NArg() > 0 {
		return options{}, &usageError{fmt.Sprintf("unexpected argument %q: the commands are %s", f.Arg(0), strings.Join(commands(), ", "))}
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
