package client

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/culvert-ssh/culvert/sshconfig"
)

// maxForwards bounds the listeners that one command line can ask for.
const maxForwards = 256

// Forward is one -L: connections to a local port go to Host:HostPort as the bastion
// sees it. Or it is one -R: connections to a port of the bastion go to Host:HostPort as it is seen from here.
type Forward struct {
	Kind Kind

	Bind string // "" for loopback, "*" for every address, else an IP address or a name
	Port uint16 // 0 lets the kernel choose, or the bastion

	Host     string // without brackets
	HostPort uint16
}

// Kind is what the connections of a [Forward] are.
type Kind int

const (
	Plain    Kind = iota // bytes
	FTP                  // FTP control connections ("ftp/")
	FTPS                 // and the server speaks TLS from the first byte on, as at port 990 ("ftps/")
	FTPProxy             // FTP control connections whose clients name the server ("ftp-proxy/")
)

// prefixes are what stands before a forward of a kind.
var prefixes = map[string]Kind{"ftp": FTP, "ftps": FTPS, "ftp-proxy": FTPProxy}

// ForwardPrefixes are what may stand before a forward, as in "ftp/".
func ForwardPrefixes() []string {
	var all []string
	for p := range prefixes {
		all = append(all, p+"/")
	}
	slices.Sort(all)
	return all
}

// ftp reports whether what is carried is FTP control connections.
func (k Kind) ftp() bool { return k == FTP || k == FTPS }

// Target is the far end, as in "ftp.corp:21", or what there is in its place.
func (f Forward) Target() string {
	if f.Kind == FTPProxy {
		return "FTP proxy"
	}
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
	f.Kind, spec = cutKind(spec)
	if strings.Contains(spec, "/") {
		return f, errors.New("ftp/, ftps/ and ftp-proxy/ are the only prefixes, and Unix sockets can't be forwarded: write [ftp/|ftps/][bind:]port:host:hostport")
	}
	fields, err := sshconfig.Fields(spec)
	if err != nil {
		return f, err
	}
	if f.Kind == FTPProxy {
		if len(fields) > 2 {
			return f, errors.New("write ftp-proxy/[bind:]port: FTP clients say to which server they want")
		}
		return f, f.parseListen(fields)
	}
	if len(fields) != 3 && len(fields) != 4 {
		return f, errors.New("write [ftp/|ftps/][bind:]port:host:hostport, with IPv6 addresses in brackets, or ftp-proxy/[bind:]port")
	}
	last := len(fields) - 1
	if err := f.parseListen(fields[:last-1]); err != nil {
		return f, err
	}
	f.Host = fields[last-1]
	if err := sshconfig.CheckHost(f.Host); err != nil {
		return f, err
	}
	f.HostPort, err = sshconfig.Port(fields[last])
	return f, err
}

// parseListen reads [bind:]port.
func (f *Forward) parseListen(fields []string) (err error) {
	if len(fields) == 2 {
		if f.Bind = fields[0]; f.Bind == "" {
			f.Bind = "*"
		}
		if f.Bind != "*" {
			if err := sshconfig.CheckHost(f.Bind); err != nil {
				return err
			}
		}
	}
	if port := fields[len(fields)-1]; port != "0" {
		f.Port, err = sshconfig.Port(port)
	}
	return err
}

// cutKind takes the prefix off.
func cutKind(spec string) (kind Kind, rest string) {
	if prefix, rest, found := strings.Cut(spec, "/"); found {
		if kind, found = prefixes[strings.ToLower(prefix)]; found {
			return kind, rest
		}
	}
	return Plain, spec
}
