package login

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/sshconfig"
)

// Knows reports whether keyword is one of those that [Config.Set] takes.
func Knows(keyword string) bool { return keywords.Has(keyword) }

// Keywords are the names of what [Config.Set] takes.
func Keywords() []string { return keywords.Names() }

// Set gives keyword its value, as [sshconfig.Table.Set] does.
func (c *Config) Set(keyword, value string) error {
	return keywords.Set(c, &Config{home: c.home}, c.set, keyword, value)
}

var keywords = sshconfig.NewTable(
	sshconfig.One("BatchMode", func(c *Config, v string) error { return sshconfig.YesNo(&c.BatchMode, v) }),
	sshconfig.One("Ciphers", setCiphers),
	sshconfig.One("ConnectTimeout", func(c *Config, v string) error { return sshconfig.Seconds(&c.ConnectTimeout, 1, v) }),
	sshconfig.One("GlobalKnownHostsFile", func(c *Config, v string) error { c.GlobalKnownHosts = c.files(v); return nil }),
	sshconfig.One("HostKeyAlias", func(c *Config, v string) error { c.HostKeyAlias = v; return sshconfig.CheckHost(v) }),
	sshconfig.One("HostName", func(c *Config, v string) error { c.HostName = v; return sshconfig.CheckHost(v) }),
	sshconfig.One("IdentitiesOnly", func(c *Config, v string) error { return sshconfig.YesNo(&c.IdentitiesOnly, v) }),
	sshconfig.One("IdentityAgent", setIdentityAgent),
	sshconfig.Many("IdentityFile", setIdentityFile),
	sshconfig.One("KbdInteractiveAuthentication", func(c *Config, v string) error { return sshconfig.YesNo(&c.KeyboardInteractive, v) }),
	sshconfig.One("NumberOfPasswordPrompts", func(c *Config, v string) error { return sshconfig.Count(&c.PasswordPrompts, 1, 100, v) }),
	sshconfig.One("PasswordAuthentication", func(c *Config, v string) error { return sshconfig.YesNo(&c.Password, v) }),
	sshconfig.One("Port", func(c *Config, v string) (err error) { c.Port, err = sshconfig.Port(v); return err }),
	sshconfig.One("PreferredAuthentications", setAuthMethods),
	sshconfig.One("PubkeyAuthentication", func(c *Config, v string) error { return sshconfig.YesNo(&c.Pubkey, v) }),
	sshconfig.One("ServerAliveCountMax", func(c *Config, v string) error { return sshconfig.Count(&c.ServerAliveCountMax, 1, 1000, v) }),
	sshconfig.One("ServerAliveInterval", func(c *Config, v string) error { return sshconfig.Seconds(&c.ServerAliveInterval, 0, v) }),
	sshconfig.One("StrictHostKeyChecking", setHostKeyChecking),
	sshconfig.One("User", func(c *Config, v string) error { c.User = v; return sshconfig.CheckUser(v) }),
	sshconfig.One("UserKnownHostsFile", func(c *Config, v string) error { c.UserKnownHosts = c.files(v); return nil }),
)

// files splits a list of file names, or "none".
func (c *Config) files(value string) []string {
	if strings.EqualFold(value, "none") {
		return nil
	}
	var names []string
	for _, name := range strings.Fields(value) {
		names = append(names, c.ExpandHome(name))
	}
	return names
}

// ExpandHome puts the home directory in the place of a leading "~/".
func (c *Config) ExpandHome(name string) string {
	if rest, ok := strings.CutPrefix(name, "~/"); ok && c.home != "" {
		return filepath.Join(c.home, rest)
	}
	return name
}

func setCiphers(c *Config, value string) error {
	known := ssh.SupportedAlgorithms().Ciphers
	names := strings.Split(value, ",")
	for _, name := range names {
		if !slices.Contains(known, name) {
			return fmt.Errorf("%q is not one of %s", name, strings.Join(known, ", "))
		}
	}
	c.Ciphers = names
	return nil
}

func setIdentityAgent(c *Config, value string) error {
	switch {
	case strings.EqualFold(value, "none"):
		c.AgentSocket = ""
	case value == "SSH_AUTH_SOCK":
	case strings.HasPrefix(value, "$"):
		c.AgentSocket = os.Getenv(strings.Trim(value[1:], "{}"))
	default:
		c.AgentSocket = c.ExpandHome(value)
	}
	return nil
}

func setIdentityFile(c *Config, value string) error {
	if !strings.EqualFold(value, "none") {
		c.Identities = append(c.Identities, c.ExpandHome(value))
	}
	return nil
}

func setAuthMethods(c *Config, value string) error {
	c.AuthMethods = nil
	for name := range strings.SplitSeq(value, ",") {
		switch name {
		case "publickey", "keyboard-interactive", "password":
			c.AuthMethods = append(c.AuthMethods, name)
		case "gssapi-with-mic", "hostbased", "none": // ssh's, which culvert doesn't do
		default:
			return fmt.Errorf("%q is not one of publickey, keyboard-interactive, password", name)
		}
	}
	if c.AuthMethods == nil {
		return errors.New("no method is left that culvert can do")
	}
	return nil
}

func setHostKeyChecking(c *Config, value string) error {
	switch strings.ToLower(value) {
	case "yes", "true":
		c.HostKeyChecking = OnlyKnown
	case "ask":
		c.HostKeyChecking = AskNew
	case "accept-new", "no", "false", "off":
		c.HostKeyChecking = AcceptNew
	default:
		return fmt.Errorf("%q is not one of yes, ask, accept-new, no", value)
	}
	return nil
}

// SetDestination reads [user@]host or ssh://[user@]host[:port]. A user or port given before it
// wins, as in ssh(1).
func (c *Config) SetDestination(s string) error {
	rest, isURL := sshconfig.CutPrefixFold(s, "ssh://")
	if isURL {
		rest = strings.TrimSuffix(rest, "/")
	}
	host := rest
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		host = rest[i+1:]
		if err := c.Set("User", rest[:i]); err != nil {
			return fmt.Errorf("destination %q: %w", s, err)
		}
	}
	if isURL {
		fields, err := sshconfig.Fields(host)
		if err == nil && len(fields) > 2 {
			err = errors.New("write ssh://[user@]host[:port], with IPv6 addresses in brackets")
		}
		if err == nil && len(fields) == 2 {
			err = c.Set("Port", fields[1])
		}
		if err != nil {
			return fmt.Errorf("destination %q: %w", s, err)
		}
		host = fields[0]
	} else if inside, ok := strings.CutPrefix(host, "["); ok && strings.HasSuffix(inside, "]") {
		host = inside[:len(inside)-1]
	}
	if err := sshconfig.CheckHost(host); err != nil {
		return fmt.Errorf("destination %q: %w", s, err)
	}
	c.Host = host
	return nil
}
