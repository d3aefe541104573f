package ftp

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
)

// A proxyName is what the argument of USER says to a proxy.
type proxyName struct {
	user  string // before the last @
	host  string // "" if no server is named
	port  uint16
	proxy string // the name that is for the proxy, behind a SP
}

var (
	errTwoNames     = errors.New("it can't be told which name is whose: put no @ behind a SP")
	errNoUser       = errors.New("the user name is missing: log in as user@host[:port]")
	errNoHost       = errors.New("the host is missing: log in as user@host[:port]")
	errNotHost      = errors.New("that is no host name and no address")
	errPort         = errors.New("a port is a number from 1 to 65535")
	errNotBracketed = errors.New("it can't be told where an IPv6 address ends and a port begins: put it in brackets, as in user@[2001:db8::1]")
)

// parseProxyUser reads user, user@host, user@host:port, user@host SP port and user@host SP name. A user name may have an @ in it,
// so that the last one counts.
func parseProxyUser(arg string) (n proxyName, err error) {
	at := strings.LastIndexByte(arg, '@')
	if at < 0 {
		if arg == "" {
			return n, errNoUser
		}
		return n, nil
	}
	server, word, spaced := strings.Cut(arg[at+1:], " ")
	n.user = arg[:at]
	switch {
	case n.user == "":
		return n, errNoUser
	case strings.Contains(n.user, " "): // user@host na@me: one of the two may be anybody's
		return n, errTwoNames
	case server == "":
		return n, errNoHost
	}
	if spaced && !decimals(word) {
		if word == "" {
			return n, errNotHost
		}
		n.proxy = word
		n.host, n.port, err = parseServer(server)
		return n, err
	}
	n.host, n.port, err = parseServer(arg[at+1:])
	return n, err
}

// parseServer reads host, host:port and host SP port. An IPv6 address stands in brackets, or has all its eight groups: of 2001:db8::1:21 nobody
// can tell whether it has a port, and clients send such a thing.
func parseServer(s string) (host string, port uint16, err error) {
	host, digits, hasPort := strings.Cut(s, " ")
	inside, bracketed := strings.CutPrefix(host, "[")
	switch {
	case bracketed:
		var after string
		host, after, bracketed = strings.Cut(inside, "]")
		if addr, err := netip.ParseAddr(host); !bracketed || err != nil || !addr.Is6() || addr.Zone() != "" {
			return "", 0, errNotHost
		}
		if after != "" {
			if after[0] != ':' || hasPort {
				return "", 0, errNotHost
			}
			digits, hasPort = after[1:], true
		}
	case strings.Count(host, ":") > 1:
		if host, digits, hasPort, err = bareIPv6(host, digits, hasPort); err != nil {
			return "", 0, err
		}
	default:
		if before, after, found := strings.Cut(host, ":"); found {
			if hasPort {
				return "", 0, errNotHost
			}
			host, digits, hasPort = before, after, true
		}
		if !isHost(host) {
			return "", 0, errNotHost
		}
	}
	if !hasPort {
		return host, ftpPort, nil
	}
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || n == 0 || !decimals(digits) {
		return "", 0, errPort
	}
	return host, uint16(n), nil
}

// bareIPv6 takes an IPv6 address of eight groups, and perhaps a port behind them.
func bareIPv6(s, digits string, hasPort bool) (host, port string, found bool, err error) {
	if strings.Contains(s, "::") || strings.Contains(s, ".") {
		return "", "", false, errNotBracketed
	}
	if strings.Count(s, ":") == 8 && !hasPort {
		i := strings.LastIndexByte(s, ':')
		s, digits, hasPort = s[:i], s[i+1:], true
	}
	if addr, err := netip.ParseAddr(s); err != nil || addr.Zone() != "" {
		return "", "", false, errNotHost
	}
	return s, digits, hasPort, nil
}

// isHost reports whether s may be a host name or an IPv4 address. What a name may be besides, the DNS calls by one of these.
func isHost(s string) bool {
	if s == "" || len(s) > 255 || s[0] == '-' {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._") == ""
}

// A proxyURL is a directory on a server.
type proxyURL struct {
	user, password string
	host           string
	port           uint16
	directory      string
}

// parseURL reads ftp://[user[:password]@]host[:port][/directory], in which nothing is escaped any more. It isn't ok if it is no such URL.
func parseURL(s string) (u proxyURL, ok bool, err error) {
	const scheme = "ftp://"
	if len(s) < len(scheme) || !strings.EqualFold(s[:len(scheme)], scheme) {
		return u, false, nil
	}
	u.user, u.password = "anonymous", "anonymous@"
	server, directory, _ := strings.Cut(s[len(scheme):], "/")
	if at := strings.LastIndexByte(server, '@'); at >= 0 {
		u.user, u.password, _ = strings.Cut(server[:at], ":")
		if server = server[at+1:]; u.user == "" {
			return u, true, errNoUser
		}
	}
	u.directory = directory
	if strings.Contains(server, " ") {
		return u, true, errNotHost
	}
	u.host, u.port, err = parseServer(server)
	return u, true, err
}
