package login

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/culvert-ssh/culvert/sshconfig"
)

// place is a destination as a person writes it. What isn't said is empty.
type place struct{ user, host, port string }

// SetDestination reads [user@]host or ssh://[user@]host[:port]. A user or port given before it
// wins, as in ssh(1).
func (c *Config) SetDestination(s string) error { return c.setPlace(s, false) }

// SetAddress is [Config.SetDestination] with a port in either form, as ProxyJump has it: [user@]host[:port].
func (c *Config) SetAddress(s string) error { return c.setPlace(s, true) }

func (c *Config) setPlace(s string, port bool) error {
	p, err := parsePlace(s, port)
	if err != nil {
		return err
	}
	c.Host = p.host
	if p.user != "" {
		err = c.Set("User", p.user)
	}
	if p.port != "" {
		err = cmp.Or(err, c.Set("Port", p.port))
	}
	return err
}

// parsePlace reads [user@]host, with port [user@]host[:port], or ssh://[user@]host[:port].
func parsePlace(s string, port bool) (p place, err error) {
	rest, isURL := sshconfig.CutPrefixFold(s, "ssh://")
	if isURL {
		rest = strings.TrimSuffix(rest, "/")
	}
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		p.user, rest = rest[:i], rest[i+1:]
		err = sshconfig.CheckUser(p.user)
	}
	p.host = rest
	if isURL || port {
		var badPort error
		p.host, p.port, badPort = cutPort(rest)
		err = cmp.Or(err, badPort)
	} else if inside, ok := strings.CutPrefix(rest, "["); ok && strings.HasSuffix(inside, "]") {
		p.host = inside[:len(inside)-1]
	}
	if err = cmp.Or(err, sshconfig.CheckHost(p.host)); err != nil {
		return place{}, fmt.Errorf("destination %q: %w", s, err)
	}
	return p, nil
}

// cutPort takes the port off host[:port].
func cutPort(s string) (host, port string, err error) {
	fields, err := sshconfig.Fields(s)
	switch {
	case err != nil:
		return "", "", err
	case len(fields) > 2:
		return "", "", errors.New("write [user@]host[:port], with IPv6 addresses in brackets")
	case len(fields) == 2:
		_, err = sshconfig.Port(fields[1])
		return fields[0], fields[1], err
	}
	return fields[0], "", nil
}
