package client

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"strconv"
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
		err = sshconfig.Misplaced(keyword)
	}
	switch {
	case err != nil:
		return fmt.Errorf("option %q: %w", word, err)
	case !c.Knows(keyword) && c.IgnoresUnknown(keyword):
		return nil
	case !c.Knows(keyword):
		return fmt.Errorf("unknown option %q: %s", keyword, sshconfig.Meant(keyword, Keywords(), "culvert(1) lists the ones there are"))
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

// OfTunnels reports whether an -o word is about tunnels and FTP, and not about the SSH connection.
func OfTunnels(word string) bool {
	keyword, _, err := sshconfig.Split(word)
	return err == nil && keywords.Has(keyword)
}

// ReadFiles gives c what files of ssh_config(5) say about its host, as [login.Config.ReadFiles] does. The SSH connection of an ssh is that
// ssh's matter, and so are its files, but for the tokens in ControlPath.
func (c *Config) ReadFiles(ctx context.Context) error {
	if len(c.Via) == 0 && (c.ControlPath == "" || strings.Contains(c.ControlPath, "%")) {
		if err := c.Config.ReadFilesInto(ctx, c); err != nil {
			return err
		}
	}
	if c.ClearForwards {
		c.Forwards, c.RemoteForwards = nil, nil
	}
	tokens := c.Tokens()
	for _, forwards := range [][]Forward{c.Forwards, c.RemoteForwards} {
		for i := range forwards {
			for _, path := range []*string{&forwards[i].Socket, &forwards[i].HostSocket} {
				expanded, err := tokens.Path(*path)
				if err != nil {
					return fmt.Errorf("forward of a Unix socket: %w", err)
				}
				*path = expanded
			}
		}
	}
	return nil
}

// Set gives keyword its value, as [sshconfig.Table.Set] does. The keywords are those of the SSH connection and those of
// tunnels and FTP.
func (c *Config) Set(keyword, value string) error {
	if login.Knows(keyword) {
		return c.Config.Set(keyword, value)
	}
	return keywords.Set(c, new(Config), c.set, keyword, value)
}

var keywords = sshconfig.NewTable(
	sshconfig.One("ClearAllForwardings", func(c *Config, v string) error { return sshconfig.YesNo(&c.ClearForwards, v) }),
	sshconfig.Many("DynamicForward", func(c *Config, v string) error { return addForward(&c.Forwards, v, ParseDynamicForward) }),
	sshconfig.One("ExitOnForwardFailure", func(c *Config, v string) error { return sshconfig.YesNo(&c.ExitOnForwardFailure, v) }),
	sshconfig.One("ForkAfterAuthentication", func(c *Config, v string) error { return sshconfig.YesNo(&c.Background, v) }),
	sshconfig.One("FTPActive", setActive),
	sshconfig.One("FTPActiveAddress", setActiveAddress),
	sshconfig.One("FTPDataAddress", setDataAddress),
	sshconfig.One("FTPOpaqueTLS", setOpaquePorts).Spaced(),
	sshconfig.One("FTPPorts", setFTPPorts).Spaced(),
	sshconfig.One("FTPLoginForSSH", setLoginForSSH),
	sshconfig.One("FTPProxyUser", setProxyUser),
	sshconfig.One("FTPRemoteAddress", setRemoteAddress),
	sshconfig.One("FTPUpstreamTLS", setUpstreamTLS),
	sshconfig.One("FTPUpstreamTLSCAFile", setUpstreamCA),
	sshconfig.One("FTPUpstreamTLSMaxVersion", setUpstreamMaxVersion),
	sshconfig.Many("FTPUpstreamTLSPin", setUpstreamPin).Spaced(),
	sshconfig.One("GatewayPorts", func(c *Config, v string) error { return sshconfig.YesNo(&c.GatewayPorts, v) }),
	sshconfig.One("IdleTimeout", setIdleTimeout),
	sshconfig.Many("LocalForward", func(c *Config, v string) error { return addForward(&c.Forwards, v, ParseForward) }).Spaced(),
	sshconfig.One("LogLevel", setLogLevel),
	sshconfig.One("PermitRemoteOpen", setPermitRemoteOpen).Spaced(),
	sshconfig.One("QueueTimeout", func(c *Config, v string) error { return sshconfig.Seconds(&c.QueueTimeout, 1, v) }),
	sshconfig.Many("RemoteForward", func(c *Config, v string) error { return addForward(&c.RemoteForwards, v, ParseRemoteForward) }).Spaced(),
	sshconfig.One("StreamLocalBindMask", setSocketMask),
	sshconfig.One("StreamLocalBindUnlink", func(c *Config, v string) error { return sshconfig.YesNo(&c.SocketUnlink, v) }),
	sshconfig.One("Stripes", setStripes),
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

// addForward takes what -L, -R and -D take, or the two words of ssh_config(5): "port host:hostport".
func addForward(to *[]Forward, value string, parse func(string) (Forward, error)) error {
	if words, err := sshconfig.Words(value); err == nil && len(words) == 2 {
		value = bracketed(words[0]) + ":" + bracketed(words[1])
	}
	f, err := parse(value)
	if err != nil {
		return err
	}
	if len(*to) >= maxForwards {
		return fmt.Errorf("more than %d forwards", maxForwards)
	}
	*to = append(*to, f)
	return nil
}

// bracketed is a word that is the path of a Unix socket as a field of a forward.
func bracketed(word string) string {
	if isPath(word) {
		return "[" + word + "]"
	}
	return word
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
	case "QUIET", "SILENT", "FATAL":
		c.LogLevel = LevelQuiet
	case "ERROR":
		c.LogLevel = LevelError
	case "INFO":
		c.LogLevel = LevelInfo
	case "VERBOSE", "DEBUG", "DEBUG1":
		c.LogLevel = LevelDebug
	case "DEBUG2":
		c.LogLevel = LevelDebug2
	case "DEBUG3":
		c.LogLevel = LevelDebug3
	default:
		return fmt.Errorf("%q is not one of QUIET, FATAL, ERROR, INFO, VERBOSE, DEBUG, DEBUG2, DEBUG3", value)
	}
	return nil
}

// setFTPPorts takes ports with blanks or commas between, or none.
func setFTPPorts(c *Config, value string) error {
	c.FTPPorts = nil
	if strings.EqualFold(value, "none") {
		return nil
	}
	for _, word := range strings.FieldsFunc(value, func(r rune) bool { return r == ' ' || r == '\t' || r == ',' }) {
		port, err := sshconfig.Port(word)
		if err != nil {
			return err
		}
		c.FTPPorts = append(c.FTPPorts, port)
	}
	if c.FTPPorts == nil {
		return errors.New("there is no port in it: say none, if that is meant")
	}
	return nil
}

// setSocketMask takes permissions as chmod(1) takes them in octal.
func setSocketMask(c *Config, value string) error {
	mask, err := strconv.ParseUint(value, 8, 32)
	if err != nil || mask > 0o777 {
		return fmt.Errorf("%q is not an octal number up to 0777", value)
	}
	c.SocketMask = fs.FileMode(mask)
	return nil
}

// Opening is a word of PermitRemoteOpen: what may be connected to.
type Opening struct {
	host string // empty for any
	port uint16 // 0 for any
}

// permits reports whether host:port may be connected to. As in ssh(1), a host is not looked up, and no pattern.
func (o Opening) permits(host string, port uint16) bool {
	return (o.host == "" || strings.EqualFold(o.host, host)) && (o.port == 0 || o.port == port)
}

// setPermitRemoteOpen takes any, none, or host:port words, in which either may be "*".
func setPermitRemoteOpen(c *Config, value string) error {
	c.PermitRemoteOpen = nil
	switch {
	case strings.EqualFold(value, "none"):
		return nil
	case strings.EqualFold(value, "any"):
		c.PermitRemoteOpen = []Opening{{}}
		return nil
	}
	for _, word := range strings.Fields(value) {
		fields, err := sshconfig.Fields(word)
		if err == nil && len(fields) != 2 {
			err = fmt.Errorf("%q is not any, none, or host:port with IPv6 addresses in brackets", word)
		}
		if err != nil {
			return err
		}
		var o Opening
		if fields[0] != "*" {
			if o.host, err = canonicalHost(fields[0]); err != nil {
				return err
			}
		}
		if fields[1] != "*" {
			if o.port, err = sshconfig.Port(fields[1]); err != nil {
				return err
			}
		}
		c.PermitRemoteOpen = append(c.PermitRemoteOpen, o)
	}
	return nil
}

// canonicalHost is a host as a SOCKS client's is compared with it.
func canonicalHost(host string) (string, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return a.Unmap().String(), nil
	}
	return host, sshconfig.CheckHost(host)
}
