package auth

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/culvert-ssh/culvert/policy"
)

// keyOptions are the options of a line of a keys file (sshd(8), AUTHORIZED_KEYS FILE FORMAT).
type keyOptions struct {
	rules   policy.KeyRules
	from    policy.Criteria // if empty, from anywhere
	expires time.Time       // if zero, never
	command bool
}

// harmless are options about what culvertd offers to nobody, or always: it runs no command, has no
// terminal to give, reads no rc file, and forwards neither agent nor X11. They may
// stand with or without "no-".
var harmless = []string{"agent-forwarding", "pty", "user-rc", "x11-forwarding"}

// parseOptions reads options as they stand in the file: name or name="value". What isn't known
// is an error, because an option that is left out of account may be the one that keeps
// somebody out. Times without a zone are in zone.
func parseOptions(words []string, zone *time.Location) (keyOptions, error) {
	var o keyOptions
	for _, word := range words {
		name, value, valued := strings.Cut(word, "=")
		name = strings.ToLower(name)
		err := error(nil)
		if valued {
			if value, err = unquote(value); err == nil {
				err = o.setValue(name, value, zone)
			}
		} else {
			err = o.setFlag(name)
		}
		if err != nil {
			return keyOptions{}, fmt.Errorf("option %q: %w", clip(name), err)
		}
	}
	return o, nil
}

// errNotServed is about an option that is unknown, or known and not served.
var errNotServed = errors.New("not served here, so the key doesn't serve either")

// setFlag sets an option without a value. As in sshd, a later one overrides an earlier one.
func (o *keyOptions) setFlag(name string) error {
	switch name {
	case "restrict", "no-port-forwarding":
		o.rules.NoPortForwarding = true
	case "port-forwarding":
		o.rules.NoPortForwarding = false
	default:
		if !slices.Contains(harmless, strings.TrimPrefix(name, "no-")) {
			return errNotServed
		}
	}
	return nil
}

func (o *keyOptions) setValue(name, value string, zone *time.Location) error {
	switch name {
	case "permitopen":
		pattern, err := policy.ParseOpenPattern(value)
		if err != nil {
			return err
		}
		o.rules.PermitOpen = append(o.rules.PermitOpen, pattern)
	case "permitlisten":
		// It narrows remote forwarding, which is offered to nobody.
	case "from":
		if o.from != nil {
			return errors.New("stands there twice")
		}
		// Names are not looked up: whoever controls the reverse zone would be let in.
		from, err := policy.MatchAddress(value)
		if err != nil {
			return err
		}
		o.from = policy.Criteria{from}
	case "expiry-time":
		t, err := parseExpiry(value, zone)
		if err != nil {
			return err
		}
		if o.expires.IsZero() || t.Before(o.expires) {
			o.expires = t
		}
	case "command":
		// No command runs here, neither the client's nor this one. It is no limit on
		// forwarding in sshd either.
		if o.command {
			return errors.New("stands there twice")
		}
		o.command = true
	default:
		return errNotServed
	}
	return nil
}

// admit checks from and expiry-time.
func (o *keyOptions) admit(s policy.Subject, now time.Time) error {
	if len(o.from) > 0 && !o.from.Match(s, now) {
		return fmt.Errorf("from doesn't permit %s", s.Addr)
	}
	if !o.expires.IsZero() && !now.Before(o.expires) {
		return fmt.Errorf("the key expired at %s", o.expires.Format(time.RFC3339))
	}
	return nil
}

// unquote takes the quotes off a value. Within them \" is a quote, and any other backslash is itself.
func unquote(s string) (string, error) {
	rest, ok := strings.CutPrefix(s, `"`)
	if !ok {
		return "", errors.New("its value must stand in double quotes")
	}
	var value strings.Builder
	for {
		before, after, found := strings.Cut(rest, `"`)
		if !found {
			return "", errors.New("its value has no closing quote")
		}
		inner, escaped := strings.CutSuffix(before, `\`)
		value.WriteString(inner)
		switch {
		case escaped:
			value.WriteByte('"')
		case after != "":
			return "", errors.New("something follows its closing quote")
		default:
			return value.String(), nil
		}
		rest = after
	}
}

// parseExpiry reads YYYYMMDD, YYYYMMDDHHMM or YYYYMMDDHHMMSS, in zone, or in UTC if a Z follows.
func parseExpiry(value string, zone *time.Location) (time.Time, error) {
	digits, utc := strings.CutSuffix(value, "Z")
	if utc {
		zone = time.UTC
	}
	for _, layout := range []string{"20060102", "200601021504", "20060102150405"} {
		if len(digits) != len(layout) {
			continue
		}
		if t, err := time.ParseInLocation(layout, digits, zone); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time (YYYYMMDD[HHMM[SS]][Z])", clip(value))
}
