package client

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/culvert-ssh/culvert/ftp"
	"github.com/culvert-ssh/culvert/login"
	"github.com/culvert-ssh/culvert/sshconfig"
)

// SetOption takes one -o word: "Keyword=value" or "Keyword value", as ssh(1) does.
func (c *Config) SetOption(word string) error {
	keyword, words, err := sshconfig.Split(word)
	switch {
	case err == nil && (len(words) == 0 || words[0] == ""):
		err = errors.New("it has no value: write Keyword=value")
	case err == nil && !c.Knows(keyword) && sshconfig.Foreign(keyword):
		err = errors.New("it is ssh's, and says nothing to culvert: leave it out")
	}
	switch {
	case err != nil:
		return fmt.Errorf("option %q: %w", word, err)
	case !c.Knows(keyword) && c.IgnoresUnknown(keyword):
		return nil
	}
	return c.SetWords(keyword, words)
}

// Keywords are the names of what [Config.Set] takes.
func Keywords() []string { return append(login.Keywords(), keywords.Names()...) }

// Knows reports whether keyword is one of those that [Config.Set] takes.
func (c *Config) Knows(keyword string) bool { return login.Knows(keyword) || keywords.Has(keyword) }

// SetWords gives keyword the words of a line, as [sshconfig.Table.SetWords] does.
func (c *Config) SetWords(keyword string, words []string) error {
	if login.Knows(keyword) {
		return c.Config.SetWords(keyword, words)
	}
	return keywords.SetWords(c, new(Config), c.set, keyword, words)
}

// ReadFiles gives c what files of ssh_config(5) say about its host, as [login.Config.ReadFiles] does.
func (c *Config) ReadFiles(ctx context.Context) error { return c.Config.ReadFilesInto(ctx, c) }

// Set gives keyword its value, as [sshconfig.Table.Set] does. The keywords are those of the SSH connection and those of
// tunnels and FTP.
func (c *Config) Set(keyword, value string) error {
	if login.Knows(keyword) {
		return c.Config.Set(keyword, value)
	}
	return keywords.Set(c, new(Config), c.set, keyword, value)
}

var keywords = sshconfig.NewTable(
	sshconfig.One("ExitOnForwardFailure", func(c *Config, v string) error { return sshconfig.YesNo(&c.ExitOnForwardFailure, v) }),
	sshconfig.One("FTPActive", setActive),
	sshconfig.One("FTPActiveAddress", setActiveAddress),
	sshconfig.One("FTPDataAddress", setDataAddress),
	sshconfig.One("FTPOpaqueTLS", setOpaquePorts).Spaced(),
	sshconfig.One("FTPProxyUser", setProxyUser),
	sshconfig.One("FTPRemoteAddress", setRemoteAddress),
	sshconfig.One("FTPUpstreamTLS", setUpstreamTLS),
	sshconfig.One("FTPUpstreamTLSCAFile", setUpstreamCA),
	sshconfig.One("FTPUpstreamTLSMaxVersion", setUpstreamMaxVersion),
	sshconfig.Many("FTPUpstreamTLSPin", setUpstreamPin).Spaced(),
	sshconfig.One("IdleTimeout", setIdleTimeout),
	sshconfig.Many("LocalForward", func(c *Config, v string) error { return setForward(&c.Forwards, v) }).Spaced(),
	sshconfig.One("LogLevel", setLogLevel),
	sshconfig.One("QueueTimeout", func(c *Config, v string) error { return sshconfig.Seconds(&c.QueueTimeout, 1, v) }),
	sshconfig.Many("RemoteForward", setRemoteForward).Spaced(),
)

func setActive(c *Config, value string) error {
	switch strings.ToLower(value) {
	case "yes":
		c.Active = ftp.ActiveTranslated
	case "no":
		c.Active = ftp.ActiveRefused
	case "forward":
		c.Active = ftp.ActiveForwarded
	default:
		return fmt.Errorf("%q is not one of yes, no, forward", value)
	}
	return nil
}

func setIdleTimeout(c *Config, value string) error {
	if strings.EqualFold(value, "none") {
		c.IdleTimeout = 0
		return nil
	}
	return sshconfig.Seconds(&c.IdleTimeout, 1, value)
}

func setActiveAddress(c *Config, value string) error {
	a, err := netip.ParseAddr(value)
	if err != nil || a.IsUnspecified() || a.IsMulticast() || a.Zone() != "" {
		return fmt.Errorf("%q is not an address that an FTP server can connect to", value)
	}
	c.ActiveAddress = a.Unmap()
	return nil
}

func setDataAddress(c *Config, value string) error {
	switch strings.ToLower(value) {
	case "control":
		c.AnnouncedDataAddress = false
	case "announced":
		c.AnnouncedDataAddress = true
	default:
		return fmt.Errorf("%q is neither control nor announced", value)
	}
	return nil
}

func setRemoteAddress(c *Config, value string) error {
	addr, err := netip.ParseAddr(value)
	if err != nil || addr.IsUnspecified() || addr.Zone() != "" {
		return fmt.Errorf("%q is not an address that an FTP client could connect to", value)
	}
	c.RemoteAddress = addr.Unmap()
	return nil
}

// setForward takes what -L and -R take, or the two words of ssh_config(5): "port host:hostport".
func setForward(to *[]Forward, value string) error {
	words := strings.Fields(value)
	if len(words) == 2 {
		value = words[0] + ":" + words[1]
	}
	f, err := ParseForward(value)
	if err != nil {
		return err
	}
	if len(*to) >= maxForwards {
		return fmt.Errorf("more than %d forwards", maxForwards)
	}
	*to = append(*to, f)
	return nil
}

func setRemoteForward(c *Config, value string) error {
	if kind, _ := cutKind(value); kind == FTPProxy {
		return errors.New("the FTP proxy listens on this machine: write -L ftp-proxy/[bind:]port")
	}
	return setForward(&c.RemoteForwards, value)
}

func setProxyUser(c *Config, value string) error {
	if strings.EqualFold(value, "none") {
		c.ProxyUser = ""
		return nil
	}
	if strings.ContainsAny(value, "@: ") {
		return fmt.Errorf("%q has an @, a colon or a space in it, and couldn't be told from what stands beside it", value)
	}
	c.ProxyUser = value
	return sshconfig.CheckUser(value)
}

func setLogLevel(c *Config, value string) error {
	switch strings.ToUpper(value) {
	case "QUIET", "FATAL":
		c.LogLevel = LevelQuiet
	case "ERROR":
		c.LogLevel = LevelError
	case "INFO":
		c.LogLevel = LevelInfo
	case "VERBOSE", "DEBUG", "DEBUG1", "DEBUG2", "DEBUG3":
		c.LogLevel = LevelDebug
	default:
		return fmt.Errorf("%q is not one of QUIET, FATAL, ERROR, INFO, VERBOSE, DEBUG", value)
	}
	return nil
}
