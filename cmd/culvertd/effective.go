package main

import (
	"bufio"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/culvert-ssh/culvert/auth"
	"github.com/culvert-ssh/culvert/policy"
)

// connection is what -C says of a connection that there might be.
type connection struct {
	policy.Subject
	at     time.Time // if zero, now
	said   bool      // there was a -C
	groups bool      // it says the groups, or that nobody is known under the name
}

// add reads one -C: words such as user=alice with commas between.
func (c *connection) add(spec string) error {
	c.said = true
	for word := range strings.SplitSeq(spec, ",") {
		name, value, _ := strings.Cut(word, "=")
		if err := c.set(name, value); err != nil {
			return &usageError{fmt.Sprintf("-C %s: %q: %v", spec, word, err)}
		}
	}
	return nil
}

func (c *connection) set(name, value string) (err error) {
	switch name {
	case "user":
		c.User = value
	case "group":
		c.Groups, c.groups = append(c.Groups, value), true
	case "invalid-user":
		c.Invalid, c.groups = true, true
	case "addr":
		c.Addr, err = netip.ParseAddr(value)
	case "host":
		c.Host = value
	case "laddr":
		var addr netip.Addr
		addr, err = netip.ParseAddr(value)
		c.LocalAddr = netip.AddrPortFrom(addr, c.LocalAddr.Port())
	case "lport":
		var port uint16
		port, err = policy.ParsePort(value)
		c.LocalAddr = netip.AddrPortFrom(c.LocalAddr.Addr(), port)
	case "time":
		c.at, err = parseMoment(value)
	default:
		err = errors.New("it wants user=, group=, addr=, host=, laddr=, lport=, time= or invalid-user")
	}
	return err
}

// parseMoment reads a time: with a zone as in RFC 3339, or without one in this machine's.
func parseMoment(text string) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	for _, layout := range []string{"2006-01-02T15:04:05", "2006-01-02T15:04"} {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, errors.New("a time is written 2006-01-02T15:04, perhaps with a zone behind it")
}

// test is -t: nothing is said of a configuration without errors, but for warnings.
func (p program) test(o options) error {
	_, err := p.check(o)
	return err
}

// check reads what there is to read, and prints what is to be warned of.
func (p program) check(o options) (generation, error) {
	g, err := read(o)
	for _, w := range g.warnings {
		kind := "warning"
		if w.Stock {
			kind = "note"
		}
		fmt.Fprintf(p.stderr, "%s (%s)\n", w, kind)
	}
	return g, err
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
		settings = g.config.For(who.Subject, who.moment())
	}
	out := bufio.NewWriter(p.stdout)
	return errors.Join(settings.Dump(out), out.Flush())
}

// lookUp fills in what is known of the user, as it would be of one who connects.
func (c *connection) lookUp(g *generation) error {
	if c.User == "" || c.groups {
		return nil
	}
	if auth.ValidUser(c.User) != nil {
		c.Invalid = true
		return nil
	}
	who, err := asking(g.config, g.policy, c.moment())
	if err != nil {
		return err
	}
	var refused *auth.Refused
	if c.Subject, err = who.Known(c.Subject); err != nil && !errors.As(err, &refused) {
		return fmt.Errorf("look up user %q: %w", c.User, err)
	}
	return nil
}

func (c *connection) moment() time.Time {
	if c.at.IsZero() {
		return time.Now()
	}
	return c.at
}
