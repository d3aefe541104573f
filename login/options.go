package login

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strings"

	"github.com/culvert-ssh/culvert/algorithms"
	"github.com/culvert-ssh/culvert/sshconfig"
)

// Knows reports whether keyword is one of those that [Config.Set] takes.
func Knows(keyword string) bool { return keywords.Has(keyword) }

// Keywords are the names of what [Config.Set] takes.
func Keywords() []string { return keywords.Names() }

// Set gives keyword its value, as [sshconfig.Table.Set] does.
func (c *Config) Set(keyword, value string) error {
	if err := keywords.Set(c, &Config{home: c.home}, c.set, keyword, value); err != nil {
		return err
	}
	c.say(keyword, value)
	return nil
}

// SetWords gives keyword the words of a line, as [sshconfig.Table.SetWords] does.
func (c *Config) SetWords(keyword string, words []string) error {
	if err := keywords.SetWords(c, &Config{home: c.home}, c.set, keyword, words); err != nil {
		return err
	}
	c.say(keyword, strings.Join(words, " "))
	return nil
}

// say remembers the first value of a keyword.
func (c *Config) say(keyword, value string) {
	name := strings.ToLower(keyword)
	if _, ok := c.said[name]; !ok {
		c.said[name] = value
	}
}

var keywords = sshconfig.NewTable(
	sshconfig.One("AddKeysToAgent", setAddKeys).Spaced(),
	sshconfig.One("AddressFamily", setAddressFamily),
	sshconfig.One("BatchMode", func(c *Config, v string) error { return sshconfig.YesNo(&c.BatchMode, v) }),
	sshconfig.One("BindAddress", func(c *Config, v string) error { c.BindAddress = v; return sshconfig.CheckHost(v) }),
	sshconfig.One("BindInterface", func(c *Config, v string) error { c.BindInterface = v; return nil }),
	sshconfig.One("CASignatureAlgorithms", func(c *Config, v string) error {
		return c.setAlgorithms(&c.CASignatureAlgorithms, &algorithms.Authorities, v)
	}),
	sshconfig.One("CanonicalDomains", remembered).Spaced(),
	sshconfig.One("CanonicalizeFallbackLocal", remembered),
	sshconfig.One("CanonicalizeHostname", remembered),
	sshconfig.One("CanonicalizeMaxDots", remembered),
	sshconfig.One("CanonicalizePermittedCNAMEs", remembered).Spaced(),
	sshconfig.Many("CertificateFile", setCertificateFile),
	sshconfig.One("Ciphers", func(c *Config, v string) error { return c.setAlgorithms(&c.Ciphers, &ciphers, v) }),
	sshconfig.One("ConfigFile", func(c *Config, v string) (err error) { c.ConfigFile, err = c.ExpandHome(v); return err }),
	sshconfig.One("ConnectTimeout", setConnectTimeout),
	sshconfig.One("ConnectionAttempts", func(c *Config, v string) error { return sshconfig.Count(&c.ConnectionAttempts, 1, 1000, v) }),
	sshconfig.One("GlobalKnownHostsFile", func(c *Config, v string) error { return c.files(&c.GlobalKnownHosts, v) }).Spaced(),
	sshconfig.One("HashKnownHosts", func(c *Config, v string) error { return sshconfig.YesNo(&c.HashKnownHosts, v) }),
	sshconfig.One("HostKeyAlgorithms", setHostKeyAlgorithms),
	sshconfig.One("HostKeyAlias", func(c *Config, v string) error { c.HostKeyAlias = v; return sshconfig.CheckHost(v) }),
	sshconfig.One("HostName", func(c *Config, v string) error { c.HostName = v; return sshconfig.CheckHost(v) }),
	sshconfig.One("IgnoreUnknown", remembered),
	sshconfig.One("IdentitiesOnly", func(c *Config, v string) error { return sshconfig.YesNo(&c.IdentitiesOnly, v) }),
	sshconfig.One("IdentityAgent", setIdentityAgent),
	sshconfig.Many("IdentityFile", setIdentityFile),
	sshconfig.One("KbdInteractiveAuthentication", func(c *Config, v string) error { return sshconfig.YesNo(&c.KeyboardInteractive, v) }),
	sshconfig.One("KexAlgorithms", func(c *Config, v string) error { return c.setAlgorithms(&c.KeyExchanges, &algorithms.KeyExchanges, v) }),
	sshconfig.One("MACs", func(c *Config, v string) error { return c.setAlgorithms(&c.MACs, &algorithms.MACs, v) }),
	sshconfig.One("NumberOfPasswordPrompts", func(c *Config, v string) error { return sshconfig.Count(&c.PasswordPrompts, 0, 1000, v) }),
	sshconfig.One("PasswordAuthentication", func(c *Config, v string) error { return sshconfig.YesNo(&c.Password, v) }),
	sshconfig.One("Port", func(c *Config, v string) (err error) { c.Port, err = sshconfig.Port(v); return err }),
	sshconfig.One("PreferredAuthentications", setAuthMethods),
	sshconfig.One("ProxyCommand", setProxyCommand),
	sshconfig.One("ProxyJump", setProxyJump),
	sshconfig.One("PubkeyAcceptedAlgorithms", func(c *Config, v string) error {
		return c.setAlgorithms(&c.UserKeyAlgorithms, &algorithms.UserKeys, v)
	}),
	sshconfig.One("PubkeyAuthentication", setPubkey),
	sshconfig.One("RequiredRSASize", func(c *Config, v string) error { return sshconfig.Count(&c.RequiredRSASize, 1024, 16384, v) }),
	sshconfig.One("RevokedHostKeys", func(c *Config, v string) error { return c.files(&c.RevokedHostKeys, v) }).Spaced(),
	sshconfig.One("ServerAliveCountMax", setAliveCount),
	sshconfig.One("ServerAliveInterval", setAliveInterval),
	sshconfig.One("StrictHostKeyChecking", setHostKeyChecking),
	sshconfig.One("Tag", remembered),
	sshconfig.One("UpdateHostKeys", setUpdateHostKeys),
	sshconfig.One("User", func(c *Config, v string) error { c.User = v; return sshconfig.CheckUser(v) }),
	sshconfig.One("UserKnownHostsFile", func(c *Config, v string) error { return c.files(&c.UserKnownHosts, v) }).Spaced(),
)

// remembered is for keywords that say how files are read.
func remembered(*Config, string) error { return nil }

// files takes a list of file names, or "none".
func (c *Config) files(to *[]string, value string) error {
	names, err := sshconfig.Words(value)
	if err != nil {
		return err
	}
	*to = nil
	if len(names) == 1 && strings.EqualFold(names[0], "none") {
		return nil
	}
	for _, name := range names {
		if strings.EqualFold(name, "none") {
			return errors.New("none stands alone")
		}
		path, err := c.ExpandHome(name)
		if err != nil {
			return err
		}
		*to = append(*to, path)
	}
	return nil
}

// ExpandHome is [sshconfig.ExpandHome] for the person.
func (c *Config) ExpandHome(name string) (string, error) { return sshconfig.ExpandHome(name, c.home) }

// setConnectTimeout takes ssh(1)'s none, and 0, for a day: no connection is waited for without an end.
func setConnectTimeout(c *Config, value string) error {
	if strings.EqualFold(value, "none") || value == "0" {
		value = "1d"
	}
	return sshconfig.Seconds(&c.ConnectTimeout, 1, value)
}

func setAliveInterval(c *Config, value string) error {
	if strings.EqualFold(value, "none") {
		value = "0"
	}
	return sshconfig.Seconds(&c.ServerAliveInterval, 0, value)
}

// setAliveCount takes 0 for 1, as nothing less than an interval can be waited for, and what is above 1000 for 1000.
func setAliveCount(c *Config, value string) error {
	var n int
	if err := sshconfig.Count(&n, 0, math.MaxInt32, value); err != nil {
		return err
	}
	c.ServerAliveCountMax = min(max(n, 1), 1000)
	return nil
}

// setPubkey takes ssh(1)'s two kinds of yes, which differ in what an agent is told.
func setPubkey(c *Config, value string) error {
	switch strings.ToLower(value) {
	case "unbound", "host-bound":
		value = "yes"
	}
	return sshconfig.YesNo(&c.Pubkey, value)
}

func setIdentityAgent(c *Config, value string) (err error) {
	switch {
	case strings.EqualFold(value, "none"):
		c.AgentSocket = ""
	case value == "SSH_AUTH_SOCK":
	case isVariable(value):
		c.AgentSocket = os.Getenv(value[1:])
	default:
		c.AgentSocket, err = c.ExpandHome(value)
	}
	return err
}

// isVariable reports whether IdentityAgent names a variable of the environment in the old form. In the new one, ${NAME}, it may be a part of the value.
func isVariable(agent string) bool {
	return strings.HasPrefix(agent, "$") && !strings.HasPrefix(agent, "${")
}

func setIdentityFile(c *Config, value string) error {
	if strings.EqualFold(value, "none") {
		return nil
	}
	path, err := c.ExpandHome(value)
	c.Identities = append(c.Identities, path)
	return err
}

func setCertificateFile(c *Config, value string) error {
	path, err := c.ExpandHome(value)
	c.Certificates = append(c.Certificates, path)
	return err
}

// setAddKeys reads yes, no, ask, confirm, or one of them and a time, which by itself is a yes.
func setAddKeys(c *Config, value string) error {
	words := strings.Fields(value)
	if len(words) > 2 {
		return fmt.Errorf("%q is one word too many", words[2])
	}
	c.AddKeys = AddKeys{Add: true}
	switch strings.ToLower(words[0]) {
	case "yes", "true":
	case "no", "false":
		c.AddKeys.Add = false
	case "ask":
		c.AddKeys.Ask = true
	case "confirm":
		c.AddKeys.Confirm = true
	default:
		if len(words) == 1 && sshconfig.Seconds(&c.AddKeys.Lifetime, 1, value) == nil {
			return nil
		}
		return fmt.Errorf("%q is none of yes, no, ask, confirm and a time", value)
	}
	if len(words) == 2 {
		if c.AddKeys.Confirm {
			return sshconfig.Seconds(&c.AddKeys.Lifetime, 1, words[1])
		}
		return fmt.Errorf("a time may stand alone or after confirm, not after %q", words[0])
	}
	return nil
}

// setHostKeyAlgorithms: who names the list, or its beginning, has its order as well.
func setHostKeyAlgorithms(c *Config, value string) error {
	sign, _ := algorithms.CutSign(value)
	c.hostKeysInOrder = sign == 0 || sign == '^'
	return c.setAlgorithms(&c.HostKeyAlgorithms, &algorithms.HostKeys, value)
}

func setAuthMethods(c *Config, value string) error {
	c.AuthMethods = nil
	for name := range strings.SplitSeq(value, ",") {
		switch name {
		case "publickey", "keyboard-interactive", "password":
			c.AuthMethods = append(c.AuthMethods, name)
		case "gssapi-with-mic", "gssapi-keyex", "hostbased", "none": // ssh's, which culvert doesn't do
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

func setUpdateHostKeys(c *Config, value string) error {
	switch strings.ToLower(value) {
	case "yes", "true":
		c.UpdateHostKeys = AlwaysUpdate
	case "no", "false":
		c.UpdateHostKeys = NeverUpdate
	case "ask":
		c.UpdateHostKeys = AskToUpdate
	default:
		return fmt.Errorf("%q is not one of yes, no, ask", value)
	}
	return nil
}

func setAddressFamily(c *Config, value string) error {
	switch strings.ToLower(value) {
	case "any":
		c.Network = "tcp"
	case "inet":
		c.Network = "tcp4"
	case "inet6":
		c.Network = "tcp6"
	default:
		return fmt.Errorf("%q is not one of any, inet, inet6", value)
	}
	return nil
}

// setProxyCommand and setProxyJump compete: as with ssh(1), the first of them counts, be it "none".
func setProxyCommand(c *Config, value string) error {
	if value == "-" {
		return errors.New("the standard input and output can't be used: give a command")
	}
	if c.set["proxyjump"] {
		return nil
	}
	if !strings.EqualFold(value, "none") {
		c.ProxyCommand = value
	}
	return nil
}

func setProxyJump(c *Config, value string) error {
	var hops []string
	if !strings.EqualFold(value, "none") {
		hops = strings.Split(value, ",")
	}
	for _, hop := range hops {
		if strings.Contains(hop, "%") {
			continue // its tokens aren't known yet
		}
		if _, err := parsePlace(hop, true); err != nil {
			return err
		}
	}
	if len(hops) > maxHops {
		return fmt.Errorf("more than %d jump hosts", maxHops)
	}
	if !c.set["proxycommand"] {
		c.ProxyJump = hops
	}
	return nil
}
