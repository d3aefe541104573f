package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/culvert-ssh/culvert/client"
)

const (
	// connectionOptions are those about the SSH connection, which an ssh that makes it (--via) has instead of culvert.
	connectionOptions = "AaBbCcFIiJKklmoPp" + sharedOptions

	// sharedOptions are among them, and say something to culvert as well.
	sharedOptions = "46qv"
)

// given is an option on the command line.
type given struct {
	option
	arg string
}

// apply reads options into cfg, in their order. Those of the SSH connection go to the ssh of --via, wherever that stands among them.
func apply(all []given, cfg *client.Config) error {
	for _, g := range all {
		if g.name == "via" {
			if err := g.apply(cfg, g.arg); err != nil {
				return err
			}
		}
	}
	for _, g := range all {
		if len(cfg.Via) > 0 && g.forSSH() {
			cfg.Via = append(cfg.Via, g.words()...)
			if !strings.Contains(sharedOptions, g.name) {
				continue
			}
		}
		if g.name == "via" {
			continue
		}
		if err := g.apply(cfg, g.arg); err != nil {
			return err
		}
	}
	if len(cfg.Via) > 0 && cfg.ControlPath != "" {
		return &usageError{"-S is for an ssh that runs already, and --via starts one: leave one of them out"}
	}
	return nil
}

func (g given) forSSH() bool {
	return len(g.name) == 1 && strings.Contains(connectionOptions, g.name) && (g.name != "o" || !client.OfTunnels(g.arg))
}

// words are what stands for it on ssh's command line.
func (g given) words() []string {
	if g.option.arg == "" {
		return []string{"-" + g.name}
	}
	return []string{"-" + g.name, g.arg}
}

func setVia(cfg *client.Config, arg string) error {
	if len(cfg.Via) > 0 {
		return errors.New("--via: there can be one ssh only")
	}
	if arg == "" || strings.HasPrefix(arg, "-") {
		return fmt.Errorf("--via: %q is not the name of an ssh", arg)
	}
	cfg.Via = []string{arg}
	return nil
}

// setControlPath knows ssh's word for no master at all.
func setControlPath(cfg *client.Config, arg string) error {
	if cfg.ControlPath == "" && !strings.EqualFold(arg, "none") {
		cfg.ControlPath = arg
	}
	return nil
}

// viaOnly is an option that says nothing to culvert itself.
func viaOnly(what string) func(*client.Config, string) error {
	return func(*client.Config, string) error {
		return fmt.Errorf("culvert's own SSH connection has no %s: start ssh for it, by --via ssh", what)
	}
}
