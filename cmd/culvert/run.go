package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"os/user"
	"syscall"
	"time"

	"github.com/culvert-ssh/culvert/client"
	"github.com/culvert-ssh/culvert/heap"
	"github.com/culvert-ssh/culvert/login"
	"github.com/culvert-ssh/culvert/processors"
	"github.com/culvert-ssh/culvert/sshconfig"
)

// call is one run of the program: its words, and what it speaks to.
type call struct {
	args   []string // behind the program's name, or behind the command's
	stdin  *os.File
	stdout io.Writer
	stderr io.Writer
	out    *printer // stderr, in whole lines
}

// Exit statuses. A program that was run has its own.
const (
	exitUsage = 1   // the command line can't be understood, and nothing was tried
	exitSSH   = 255 // as ssh(1), for all that goes wrong
)

// main carries c out and returns the exit status: 0 after a signal, too, but for -W.
func (c *call) main() int {
	err := c.dispatch()
	var exit exitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return int(exit)
	case errors.Is(err, errHelp):
		return c.print(helpText())
	case errors.Is(err, errVersion):
		return c.print("culvert " + version + "\n")
	case errors.Is(err, errUsage):
		c.out.failure(err)
		c.out.line(usage)
		return exitUsage
	default:
		c.out.failure(err)
		return exitSSH
	}
}

// exitError is an exit status about which everything has been said.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// dispatch carries out the command that the first word names. If there is none, the words are ssh(1)'s.
func (c *call) dispatch() error {
	if len(c.args) > 0 {
		if cmd, ok := findCommand(c.args[0]); ok {
			c.args = c.args[1:]
			err := cmd.run(c)
			switch {
			case errors.Is(err, errHelp) && cmd.name != "help":
				return exitError(c.print(commandHelp(cmd)))
			case errors.Is(err, errUsage):
				c.out.failure(err)
				c.out.line(fmt.Sprintf("usage: %s\n       (culvert help %s says more)", cmd.usage(), cmd.name))
				return exitError(exitUsage)
			}
			return err
		}
	}
	cfg := c.newConfig()
	err := parse(c.args, cfg)
	if err != nil {
		err = c.misused(oneDash(c.args, err))
	} else {
		err = c.serve(cfg)
	}
	if errors.Is(err, errUsage) {
		return perhapsCommand(c.args, err)
	}
	return err
}

// perhapsCommand adds to an error that the first word, which was taken for a host, is much like a command.
func perhapsCommand(args []string, err error) error {
	if len(args) == 0 {
		return err
	}
	if near, ok := sshconfig.Nearest(args[0], commandNames()); ok {
		return &usageError{fmt.Sprintf("%s; or did you mean culvert %s?", err, near)}
	}
	return err
}

// homeFolder is the home of whoever runs the program: HOME, and where that isn't set, as it may be under cron and systemd, what the
// system has, which is what ssh(1) goes by.
func homeFolder() string {
	if home, err := os.UserHomeDir(); err == nil {
		return home
	}
	if u, err := user.Current(); err == nil {
		return u.HomeDir
	}
	return "" // there are no default files
}

// misused says what is wrong with a word on the command line; where it is the words as a whole, the usage follows.
func (c *call) misused(err error) error {
	if errors.Is(err, errHelp) || errors.Is(err, errVersion) || errors.Is(err, errUsage) {
		return err
	}
	c.out.failure(err)
	return exitError(exitUsage)
}

// newConfig returns the defaults for the person who runs the program.
func (c *call) newConfig() *client.Config {
	cfg := client.NewConfig(homeFolder(), userName())
	cfg.AgentSocket = login.DefaultAgent()
	return cfg
}

// print writes what was asked for and returns the exit status.
func (c *call) print(text string) int {
	if _, err := io.WriteString(c.stdout, text); err != nil {
		return exitSSH
	}
	return 0
}

// equip gives cfg what it reaches the person by.
func equip(cfg *client.Config, out *printer) {
	level := cfg.LogLevel.Log()
	cfg.Log = slog.New(&handler{out: out, level: level, detailed: cfg.LogLevel == client.LevelDebug3, now: time.Now})
	if level <= slog.LevelInfo {
		cfg.Notice = out.line
	}
	if level <= slog.LevelDebug {
		d := &dialogue{out: out, color: colorful(out.w), now: time.Now}
		cfg.Dialogue = d.line
	}
	cfg.Ask = asker().Ask
}

// serve runs until a signal. A second one ends the program at once.
func (c *call) serve(cfg *client.Config) error {
	ctx, stop := untilSignal()
	defer stop()
	ready, isBackground := goesToBackground()
	if err := c.complete(ctx, cfg); err != nil {
		return err
	}
	switch {
	case cfg.Stdio != nil && cfg.Background:
		return &usageError{"-f and -W exclude each other: what is in the background has no standard input"}
	case cfg.Stdio == nil && len(cfg.Forwards)+len(cfg.RemoteForwards) == 0:
		return &usageError{"there is nothing to forward: give at least one -L, -R or -D"}
	}
	heap.Keep()
	processors.Keep()
	switch {
	case cfg.Stdio != nil:
		signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) // so that a write says it, and nothing else
		err := client.RunStdio(ctx, cfg, c.stdin, os.Stdout)
		if err != nil && ctx.Err() != nil { // whoever has ended it knows, but whoever reads has a part
			return exitError(exitSSH)
		}
		return err
	case cfg.Background && !isBackground:
		return startBackground()
	case cfg.Background:
		return serveInBackground(ctx, stop, cfg, ready)
	}
	defer showProgress(cfg, c.out)()
	return client.Run(ctx, cfg)
}

// serveInBackground serves in the process that startBackground has started, which is in the background once all is ready.
func serveInBackground(ctx context.Context, stop func(), cfg *client.Config, ready func(quiet bool) error) error {
	var failed error
	cfg.Ready = func() {
		if failed = ready(cfg.LogLevel < client.LevelDebug); failed != nil {
			stop()
		}
	}
	return errors.Join(client.Run(ctx, cfg), failed)
}

// logElsewhere has what there is to say go to a file or to syslog, if that is wanted.
func (c *call) logElsewhere(cfg *client.Config) (err error) {
	switch {
	case cfg.LogFile != "":
		c.out.w, err = os.OpenFile(cfg.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	case cfg.Syslog:
		c.out.w, err = openSyslog("", "")
	}
	if err != nil {
		c.out.w = c.stderr
	}
	return err
}

// complete gives cfg, in which the command line is, what files say about its host, and what it reaches the person by.
func (c *call) complete(ctx context.Context, cfg *client.Config) error {
	if err := c.logElsewhere(cfg); err != nil {
		return err
	}
	equip(cfg, c.out)
	if err := cfg.ReadFiles(ctx); err != nil {
		return err
	}
	equip(cfg, c.out) // there may be a LogLevel
	return nil
}

func userName() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return os.Getenv("USER")
}
