package client

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/ftp"
)

// SetOption takes one -o word: "Keyword=value" or "Keyword value", as ssh(1) does.
func (c *Config) SetOption(word string) error {
	keyword, value, err := splitOption(word)
	if err != nil {
		return err
	}
	return c.Set(keyword, value)
}

// splitOption is the line grammar of ssh_config(5): a keyword, then space, or "=" with
// optional space around it, then the value, which may stand in double quotes.
func splitOption(word string) (keyword, value string, err error) {
	word = strings.TrimSpace(word)
	i := strings.IndexAny(word, " \t=")
	if i <= 0 {
		return "", "", fmt.Errorf("option %q has no value: write Keyword=value", word)
	}
	value = strings.TrimLeft(word[i:], " \t")
	value = strings.TrimSpace(strings.TrimPrefix(value, "="))
	if n := len(value); n >= 2 && value[0] == '"' && value[n-1] == '"' {
		value = value[1 : n-1]
	}
	if value == "" {
		return "", "", fmt.Errorf("option %q has no value: write Keyword=value", word)
	}
	return word[:i], value, nil
}

// Set gives keyword its value. As in ssh_config(5), the first value counts and later ones are ignored,
// except for the keywords that may be given several times; case doesn't matter.
func (c *Config) Set(keyword, value string) error {
	name := strings.ToLower(keyword)
	k, ok := keywords[name]
	if !ok {
		return fmt.Errorf("unknown option %q: culvert(1) lists the ones there are", keyword)
	}
	to := c
	if c.set[name] && !k.many {
		to = &Config{home: c.home} // a wrong value is an error all the same
	}
	if err := k.assign(to, value); err != nil {
		return fmt.Errorf("%s: %w", k.name, err)
	}
	c.set[name] = true
	return nil
}

// keyword is one word of ssh_config(5) that culvert knows.
type keyword struct {
	name   string
	many   bool // every value counts
	assign func(c *Config, value string) error
}

var keywords = table(
	keyword{"BatchMode", false, func(c *Config, v string) error { return yesNo(&c.BatchMode, v) }},
	keyword{"Ciphers", false, setCiphers},
	keyword{"ConnectTimeout", false, func(c *Config, v string) error { return seconds(&c.ConnectTimeout, 1, v) }},
	keyword{"ExitOnForwardFailure", false, func(c *Config, v string) error { return yesNo(&c.ExitOnForwardFailure, v) }},
	keyword{"FTPActive", false, setActive},
	keyword{"FTPActiveAddress", false, setActiveAddress},
	keyword{"FTPDataAddress", false, setDataAddress},
	keyword{"FTPOpaqueTLS", false, setOpaquePorts},
	keyword{"FTPRemoteAddress", false, setRemoteAddress},
	keyword{"FTPUpstreamTLS", false, setUpstreamTLS},
	keyword{"FTPUpstreamTLSCAFile", false, setUpstreamCA},
	keyword{"FTPUpstreamTLSMaxVersion", false, setUpstreamMaxVersion},
	keyword{"FTPUpstreamTLSPin", true, setUpstreamPin},
	keyword{"GlobalKnownHostsFile", false, func(c *Config, v string) error { c.GlobalKnownHosts = c.files(v); return nil }},
	keyword{"HostKeyAlias", false, func(c *Config, v string) error { c.HostKeyAlias = v; return checkHost(v) }},
	keyword{"HostName", false, func(c *Config, v string) error { c.HostName = v; return checkHost(v) }},
	keyword{"IdentitiesOnly", false, func(c *Config, v string) error { return yesNo(&c.IdentitiesOnly, v) }},
	keyword{"IdentityAgent", false, setIdentityAgent},
	keyword{"IdentityFile", true, setIdentityFile},
	keyword{"KbdInteractiveAuthentication", false, func(c *Config, v string) error { return yesNo(&c.KeyboardInteractive, v) }},
	keyword{"LocalForward", true, func(c *Config, v string) error { return setForward(&c.Forwards, v) }},
	keyword{"LogLevel", false, setLogLevel},
	keyword{"NumberOfPasswordPrompts", false, func(c *Config, v string) error { return count(&c.PasswordPrompts, 1, 100, v) }},
	keyword{"PasswordAuthentication", false, func(c *Config, v string) error { return yesNo(&c.Password, v) }},
	keyword{"Port", false, func(c *Config, v string) (err error) { c.Port, err = parsePort(v); return err }},
	keyword{"PreferredAuthentications", false, setAuthMethods},
	keyword{"PubkeyAuthentication", false, func(c *Config, v string) error { return yesNo(&c.Pubkey, v) }},
	keyword{"RemoteForward", true, func(c *Config, v string) error { return setForward(&c.RemoteForwards, v) }},
	keyword{"ServerAliveCountMax", false, func(c *Config, v string) error { return count(&c.ServerAliveCountMax, 1, 1000, v) }},
	keyword{"ServerAliveInterval", false, func(c *Config, v string) error { return seconds(&c.ServerAliveInterval, 0, v) }},
	keyword{"StrictHostKeyChecking", false, setHostKeyChecking},
	keyword{"User", false, func(c *Config, v string) error { c.User = v; return checkUser(v) }},
	keyword{"UserKnownHostsFile", false, func(c *Config, v string) error { c.UserKnownHosts = c.files(v); return nil }},
)

func table(all ...keyword) map[string]keyword {
	m := make(map[string]keyword, len(all))
	for _, k := range all {
		m[strings.ToLower(k.name)] = k
	}
	return m
}

func yesNo(to *bool, value string) error {
	switch strings.ToLower(value) {
	case "yes", "true":
		*to = true
	case "no", "false":
		*to = false
	default:
		return fmt.Errorf("%q is neither yes nor no", value)
	}
	return nil
}

func count(to *int, least, most int, value string) error {
	n, err := strconv.Atoi(value)
	if err != nil || n < least || n > most {
		return fmt.Errorf("%q is not a number from %d to %d", value, least, most)
	}
	*to = n
	return nil
}

// seconds takes a plain number or sshd_config(5)'s time format with one unit, and at most a day.
func seconds(to *time.Duration, least int, value string) error {
	const most = 24 * 60 * 60
	unit, digits := 1, value
	if i := len(value) - 1; i > 0 {
		switch value[i] {
		case 's', 'S':
			digits = value[:i]
		case 'm', 'M':
			unit, digits = 60, value[:i]
		case 'h', 'H':
			unit, digits = 60*60, value[:i]
		}
	}
	n, err := strconv.Atoi(digits)
	if err != nil || n < 0 || n > most/unit || n*unit < least {
		return fmt.Errorf("%q is not a time from %d to %d seconds", value, least, most)
	}
	*to = time.Duration(n*unit) * time.Second
	return nil
}

// files splits a list of file names, or "none".
func (c *Config) files(value string) []string {
	if strings.EqualFold(value, "none") {
		return nil
	}
	var names []string
	for _, name := range strings.Fields(value) {
		names = append(names, c.expandHome(name))
	}
	return names
}

// expandHome puts the home directory in the place of a leading "~/".
func (c *Config) expandHome(name string) string {
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

func setIdentityAgent(c *Config, value string) error {
	switch {
	case strings.EqualFold(value, "none"):
		c.AgentSocket = ""
	case value == "SSH_AUTH_SOCK":
	case strings.HasPrefix(value, "$"):
		c.AgentSocket = os.Getenv(strings.Trim(value[1:], "{}"))
	default:
		c.AgentSocket = c.expandHome(value)
	}
	return nil
}

func setIdentityFile(c *Config, value string) error {
	if !strings.EqualFold(value, "none") {
		c.Identities = append(c.Identities, c.expandHome(value))
	}
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
