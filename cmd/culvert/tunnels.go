package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/pflag"

	"github.com/culvert-ssh/culvert/client"
	"github.com/culvert-ssh/culvert/login"
	"github.com/culvert-ssh/culvert/profile"
	"github.com/culvert-ssh/culvert/standing"
)

// tunnels are the words of a command about tunnels with names.
type tunnels struct {
	*call
	names []string

	file       string // of the profiles
	all        bool
	login      bool
	foreground bool
	json       bool
	watch      bool
}

// flags are those of up, down, status and list.
func (t *tunnels) flags(names ...string) *pflag.FlagSet {
	set := pflag.NewFlagSet("culvert", pflag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.Usage = func() {}
	for _, name := range names {
		switch name {
		case "all":
			set.BoolVar(&t.all, "all", false, "every tunnel that there is")
		case "file":
			set.StringVarP(&t.file, "file", "F", "", "`file`: in place of ~/.config/culvert/config and the system's")
		case "foreground":
			set.BoolVar(&t.foreground, "foreground", false, "do not go to the background; for service managers")
		case "json":
			set.BoolVar(&t.json, "json", false, "for programs")
		case "login":
			set.BoolVar(&t.login, "login", false, "log in now, and ask what must be asked")
		case "watch":
			set.BoolVar(&t.watch, "watch", false, "go on showing it, until interrupted")
		}
	}
	return set
}

// upFlags and its like are what the help and completions read.
func upFlags() *pflag.FlagSet {
	return new(tunnels).flags("all", "file", "foreground", "json", "login")
}
func downFlags() *pflag.FlagSet    { return new(tunnels).flags("all", "json") }
func statusFlags() *pflag.FlagSet  { return new(tunnels).flags("json", "watch") }
func listFlags() *pflag.FlagSet    { return new(tunnels).flags("file", "json") }
func versionFlags() *pflag.FlagSet { return new(tunnels).flags("json") }

// tunnels reads the words behind a command, which may have these flags among them.
func (c *call) tunnels(flags ...string) (*tunnels, error) {
	t := &tunnels{call: c}
	set := t.flags(flags...)
	if err := set.Parse(c.args); err != nil {
		return nil, flagError(set, err)
	}
	t.names = set.Args()
	if t.file != "" {
		var err error
		if t.file, err = filepath.Abs(t.file); err != nil { // the background process is elsewhere
			return nil, err
		}
	}
	return t, nil
}

// chosen checks that some tunnels are named, or all are meant.
func (t *tunnels) chosen(command string) error {
	switch {
	case t.all && len(t.names) > 0:
		return &usageError{fmt.Sprintf("culvert %s --all takes no names", command)}
	case !t.all && len(t.names) == 0:
		return &usageError{fmt.Sprintf("culvert %s wants names of tunnels, or --all", command)}
	}
	return nil
}

func place() (standing.Place, error) {
	return standing.Find(homeFolder(), os.Getenv)
}

func person() profile.Person {
	return profile.Person{Home: homeFolder(), Name: userName()}
}

// profiles reads the tunnels that there are.
func profiles(file string) ([]*profile.Profile, error) {
	p := person()
	return profile.Load(p, profile.Files(p, file))
}

// standable has them in the form of package standing.
func standable(file string) ([]standing.Profile, error) {
	all, err := profiles(file)
	if err != nil {
		return nil, err
	}
	can := make([]standing.Profile, len(all))
	for i, p := range all {
		can[i] = standing.Profile{Name: p.Name, From: p.At.String(), Config: func(ctx context.Context, log *slog.Logger) (*client.Config, error) {
			return p.Config(ctx, log)
		}}
	}
	return can, nil
}

// inherited is what the background process needs of the environment of who calls it.
var inherited = []string{"SSH_AUTH_SOCK", "SSH_ASKPASS", "SSH_ASKPASS_REQUIRE", "DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "KRB5CCNAME", "DBUS_SESSION_BUS_ADDRESS"}

func environment() map[string]string {
	env := make(map[string]string)
	for _, name := range inherited {
		if value, ok := os.LookupEnv(name); ok {
			env[name] = value
		}
	}
	return env
}

// adopt takes over what a caller has in the environment.
func adopt(env map[string]string) {
	for _, name := range inherited {
		if value, ok := env[name]; ok {
			_ = os.Setenv(name, value) // fails on no name that is one
		}
	}
}

// asker asks by the environment as it is now.
func asker() login.Asker {
	return login.Asker{
		Askpass: os.Getenv("SSH_ASKPASS"),
		Require: os.Getenv("SSH_ASKPASS_REQUIRE"),
		Display: os.Getenv("DISPLAY") != "" || os.Getenv("WAYLAND_DISPLAY") != "",
	}
}

// untilSignal returns a context that ends with a signal; a second one ends the program.
func untilSignal() (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

// writeJSON writes v for programs.
func (t *tunnels) writeJSON(v any) error {
	encoder := json.NewEncoder(t.stdout)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

// writeJSONLine writes v in one line.
func (t *tunnels) writeJSONLine(v any) error { return json.NewEncoder(t.stdout).Encode(v) }
