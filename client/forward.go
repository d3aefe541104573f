package client

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// maxForwards bounds the listeners that one command line can ask for.
const maxForwards = 256

// Forward is one -L: connections to a local port go to Host:HostPort as the bastion
// sees it. Or it is one -R: connections to a port of the bastion go to Host:HostPort as it is seen from here.
type Forward struct {
	FTP      bool // the connections are FTP control connections
	Implicit bool // and the server speaks TLS from the first byte on, as at port 990

	Bind string // "" for loopback, "*" for every address, else an IP address or a name
	Port uint16 // 0 lets the kernel choose, or the bastion

	Host     string // without brackets
	HostPort uint16
}

// Target is the far end, as in "ftp.corp:21".
func (f Forward) Target() string {
	return net.JoinHostPort(f.Host, strconv.Itoa(int(f.HostPort)))
}

// ParseForward reads [ftp/|ftps/][bind:]port:host:hostport, with IPv6 addresses in brackets, as
// ssh(1)'s -L and -R and, for "ftp/", Tectia's; "ftps/" in its place is a server whose control connection is inside TLS from its beginning.
func ParseForward(spec string) (Forward, error) {
	f, err := parseForward(spec)
	if err != nil {
		return Forward{}, fmt.Errorf("forward %q: %w", spec, err)
	}
	return f, nil
}

func parseForward(spec string) (f Forward, err error) {
	if spec, f.Implicit = cutPrefixFold(spec, "ftps/"); f.Implicit {
		f.FTP = true
	} else {
		spec, f.FTP = cutPrefixFold(spec, "ftp/")
	}
	if strings.Contains(spec, "/") {
		return f, errors.New("ftp/ and ftps/ are the only prefixes, and Unix sockets can't be forwarded: write [ftp/|ftps/][bind:]port:host:hostport")
	}
	fields, err := splitFields(spec)
	if err != nil {
		return f, err
	}
	f.Bind = ""
	switch len(fields) {
	case 3:
	case 4:
		if f.Bind = fields[0]; f.Bind == "" {
			f.Bind = "*"
		}
		if f.Bind != "*" {
			if err := checkHost(f.Bind); err != nil {
				return f, err
			}
		}
		fields = fields[1:]
	default:
		return f, errors.New("write [ftp/|ftps/][bind:]port:host:hostport, with IPv6 addresses in brackets")
	}
	if fields[0] != "0" {
		if f.Port, err = parsePort(fields[0]); err != nil {
			return f, err
		}
	}
	f.Host = fields[1]
	if err := checkHost(f.Host); err != nil {
		return f, err
	}
	f.HostPort, err = parsePort(fields[2])
	return f, err
}

func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix) {
		return s[len(prefix):], true
	}
	return s, false
}

// splitFields splits at the colons that aren't in brackets, and takes the brackets off; what
// stood in them must be an IPv6 address.
func splitFields(s string) (fields []string, err error) {
	for {
		var field string
		more := false
		if rest, ok := strings.CutPrefix(s, "["); ok {
			inside, after, found := strings.Cut(rest, "]")
			if a, err := netip.ParseAddr(inside); !found || err != nil || !a.Is6() {
				return nil, errors.New("brackets must hold an IPv6 address")
			}
			field = inside
			if s, more = strings.CutPrefix(after, ":"); !more && after != "" {
				return nil, errors.New(`a colon must follow "]"`)
			}
		} else {
			field, s, more = strings.Cut(s, ":")
		}
		fields = append(fields, field)
		if !more {
			return fields, nil
		}
	}
}

func parsePort(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("port %q is not a number from 1 to 65535", s)
	}
	return uint16(n), nil
}

// checkHost refuses what can be neither a name nor an address.
func checkHost(s string) error {
	if s == "" {
		return errors.New("the host name is missing")
	}
	for _, r := range s {
		if r <= ' ' || r == 0x7f || strings.ContainsRune(`"'\/@`+"`$;&|<>(){}*?,", r) {
			return fmt.Errorf("%q is not a host name", s)
		}
	}
	if len(s) > 255 || s[0] == '-' {
		return fmt.Errorf("%q is not a host name", s)
	}
	return nil
}

// checkUser refuses what no user name is.
func checkUser(s string) error {
	if s == "" {
		return errors.New("the user name is empty")
	}
	for _, r := range s {
		if r < ' ' || r == 0x7f {
			return fmt.Errorf("%q is not a user name", s)
		}
	}
	if len(s) > 255 {
		return errors.New("the user name is longer than 255 bytes")
	}
	return nil
}

// SetDestination reads [user@]host or ssh://[user@]host[:port]. A user or port given before it
// wins, as in ssh(1).
func (c *Config) SetDestination(s string) error {
	rest, isURL := cutPrefixFold(s, "ssh://")
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
		fields, err := splitFields(host)
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
	if err := checkHost(host); err != nil {
		return fmt.Errorf("destination %q: %w", s, err)
	}
	c.Host = host
	return nil
}
