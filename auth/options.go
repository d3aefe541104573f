package auth

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/culvert-ssh/culvert/policy"
)

// keyOptions are the options of a line of a keys or principals file (sshd(8), AUTHORIZED_KEYS FILE FORMAT), or
// those of a certificate.
type keyOptions struct {
	rules      policy.KeyRules
	from       policy.Criteria // if empty, from anywhere
	expires    time.Time       // if zero, never
	authority  bool            // the key certifies others, and is none itself
	principals []string        // nil if the option isn't there
	verify     bool            // a hardware key must have asked for a PIN or the like
	noTouch    bool            // a hardware key need not have been touched
}

// harmless are options about what culvertd offers to nobody: it reads no rc file and forwards no X11. They may
// stand with or without "no-".
var harmless = []string{"user-rc", "x11-forwarding"}

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
	if o.principals != nil && !o.authority {
		return keyOptions{}, errors.New(`option "principals": it is for a cert-authority`)
	}
	return o, nil
}

// errNotServed is about an option that is unknown, or known and not served.
var errNotServed = errors.New("not served here, so the key doesn't serve either")

// setFlag sets an option without a value. As in sshd, a later one overrides an earlier one.
func (o *keyOptions) setFlag(name string) error {
	bare, no := strings.CutPrefix(name, "no-")
	switch bare {
	case "port-forwarding":
		o.rules.NoPortForwarding = no
	case "agent-forwarding":
		o.rules.NoAgentForwarding = no
	case "pty":
		o.rules.NoPTY = no
	case "touch-required":
		o.noTouch = no
	case "verify-required":
		o.verify = !no
	default:
		switch {
		case name == "restrict":
			o.rules.NoPortForwarding, o.rules.NoAgentForwarding, o.rules.NoPTY = true, true, true
		case name == "cert-authority":
			o.authority = true
		case !slices.Contains(harmless, bare):
			return errNotServed
		}
	}
	return nil
}

var errTwice = errors.New("stands there twice")

func (o *keyOptions) setValue(name, value string, zone *time.Location) error {
	switch name {
	case "permitopen":
		pattern, err := policy.ParseOpenPattern(value)
		if err != nil {
			return err
		}
		o.rules.PermitOpen = append(o.rules.PermitOpen, pattern)
	case "permitlisten":
		pattern, err := policy.ParseListenPattern(value)
		if err != nil {
			return err
		}
		o.rules.PermitListen = append(o.rules.PermitListen, pattern)
	case "from":
		if o.from != nil {
			return errTwice
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
		if o.rules.ForceCommand != "" {
			return errTwice
		}
		if value == "" {
			return errors.New("there is no command to force")
		}
		o.rules.ForceCommand = value
	case "principals":
		if o.principals != nil {
			return errTwice
		}
		o.principals = strings.Split(value, ",")
	case "environment":
		return checkEnvironment(value)
	default:
		return errNotServed
	}
	return nil
}

// checkEnvironment checks NAME=value. It has no effect, as in sshd without PermitUserEnvironment.
func checkEnvironment(value string) error {
	name, _, found := strings.Cut(value, "=")
	if !found || name == "" || strings.Trim(strings.ToLower(name), "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
		return fmt.Errorf("%q is not NAME=value", clip(value))
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

// meet returns rules that permit what both do. Either may be nil, and then it is the other.
func meet(a, b *policy.KeyRules) (*policy.KeyRules, error) {
	switch {
	case a == nil:
		return b, nil
	case b == nil:
		return a, nil
	case a.ForceCommand != "" && b.ForceCommand != "" && a.ForceCommand != b.ForceCommand:
		return nil, fmt.Errorf("%s and %s force two commands", a.Source, b.Source)
	case len(a.PermitOpen) > 0 && len(b.PermitOpen) > 0 && !sameWords(a.PermitOpen, b.PermitOpen):
		return nil, fmt.Errorf("%s and %s have permitopen of their own, and what both permit can't be said", a.Source, b.Source)
	case len(a.PermitListen) > 0 && len(b.PermitListen) > 0 && !sameWords(a.PermitListen, b.PermitListen):
		return nil, fmt.Errorf("%s and %s have permitlisten of their own, and what both permit can't be said", a.Source, b.Source)
	}
	both := *a
	both.Source = joinSources(a.Source, b.Source)
	both.NoPortForwarding = a.NoPortForwarding || b.NoPortForwarding
	both.NoAgentForwarding = a.NoAgentForwarding || b.NoAgentForwarding
	both.NoPTY = a.NoPTY || b.NoPTY
	if both.ForceCommand == "" {
		both.ForceCommand = b.ForceCommand
	}
	if len(both.PermitOpen) == 0 {
		both.PermitOpen = b.PermitOpen
	}
	if len(both.PermitListen) == 0 {
		both.PermitListen = b.PermitListen
	}
	return &both, nil
}

func joinSources(a, b string) string {
	if a == "" || b == "" || a == b {
		return max(a, b)
	}
	return a + ", " + b
}

func sameWords[T fmt.Stringer](a, b []T) bool {
	return slices.EqualFunc(a, b, func(a, b T) bool { return a.String() == b.String() })
}

// cutOptions splits a line at the first space or tab that doesn't stand in quotes.
func cutOptions(line string) (options, rest string) {
	quoted := false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\\' && i+1 < len(line) && line[i+1] == '"':
			i++
		case c == '"':
			quoted = !quoted
		case !quoted && (c == ' ' || c == '\t'):
			return line[:i], strings.TrimLeft(line[i:], " \t")
		}
	}
	return line, ""
}

// splitOptions splits options at the commas that don't stand in quotes.
func splitOptions(options string) (words []string) {
	quoted, start := false, 0
	for i := 0; i < len(options); i++ {
		switch c := options[i]; {
		case c == '\\' && i+1 < len(options) && options[i+1] == '"':
			i++
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			words = append(words, options[start:i])
			start = i + 1
		}
	}
	return append(words, options[start:])
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
