package main

import (
	"bufio"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/culvert-ssh/culvert/auth"
	"github.com/culvert-ssh/culvert/config"
)

// connection is what -C says of a connection that there might be.
type connection struct {
	question
	said   bool // there was a -C
	groups bool // it says the groups, or that nobody is known under the name
}

// subjectWords are the words of explain that say who asks, and when.
var subjectWords = []string{"user", "group", "addr", "host", "laddr", "lport", "time"}

// add reads one -C: words such as user=alice with commas between.
func (c *connection) add(spec string) error {
	if !c.said {
		c.said, c.time = true, time.Now()
	}
	for text := range strings.SplitSeq(spec, ",") {
		name, value, _ := strings.Cut(text, "=")
		if err := c.set(name, value); err != nil {
			return &usageError{fmt.Sprintf("-C %s: %q: %v", spec, text, err)}
		}
	}
	return nil
}

func (c *connection) set(name, value string) error {
	c.groups = c.groups || name == "group" || name == "invalid-user"
	if name == "invalid-user" {
		c.subject.Invalid = true
		return nil
	}
	i := slices.IndexFunc(words, func(w word) bool { return w.name == name })
	if i < 0 || !slices.Contains(subjectWords, name) {
		return errors.New("it wants user=, group=, addr=, host=, laddr=, lport=, time= or invalid-user")
	}
	return words[i].set(&c.question, value)
}

// test is -t: nothing is said of a configuration without errors, but for warnings.
func (p program) test(o options) error {
	_, err := p.check(o)
	return err
}

// check reads what there is to read, and prints what is to be warned of and what is wrong with it, a line each.
func (p program) check(o options) (generation, error) {
	g, err := read(o)
	for _, w := range g.warnings {
		kind := "warning"
		if w.Stock {
			kind = "note"
		}
		fmt.Fprintf(p.stderr, "%s (%s)\n", w, kind)
	}
	var wrong config.Errors
	if !errors.As(err, &wrong) {
		return g, err
	}
	for _, e := range wrong {
		fmt.Fprintf(p.stderr, "%v (error)\n", e)
	}
	if len(wrong) == 1 {
		return g, fmt.Errorf("there is an error in %s", o.config)
	}
	return g, fmt.Errorf("there are %d errors in %s", len(wrong), o.config)
}

// effective is -T: the settings that hold for a connection, or outside of any Match.
func (p program) effective(o options) error {
	g, err := p.check(o)
	if err != nil {
		return err
	}
	settings := g.global
	if who := o.connection; who.said {
		if err := who.lookUp(&g); err != nil {
			return err
		}
		settings = g.config.For(who.subject, who.time)
	}
	out := bufio.NewWriter(p.stdout)
	return errors.Join(settings.Dump(out), out.Flush())
}

// lookUp fills in what is known of the user, as it would be of one who connects.
func (c *connection) lookUp(g *generation) error {
	if c.subject.User == "" || c.groups {
		return nil
	}
	if auth.ValidUser(c.subject.User) != nil {
		c.subject.Invalid = true
		return nil
	}
	who, err := asking(g.config, g.policy, c.time)
	if err != nil {
		return err
	}
	var refused *auth.Refused
	if c.subject, err = who.Known(c.subject); err != nil && !errors.As(err, &refused) {
		return fmt.Errorf("look up user %q: %w", c.subject.User, err)
	}
	return nil
}
