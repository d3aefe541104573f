package client

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/culvert-ssh/culvert/sshconfig"
)

// maxForwards bounds the listeners that one command line can ask for.
const maxForwards = 256

// Forward is one -L or -D: connections to a local port or socket go to a host or a socket as the bastion
// sees it. Or it is one -R: connections to a port or a socket of the bastion go to what is seen from here.
type Forward struct {
	Kind Kind

	Bind   string // "" for loopback, "*" for every address, else an IP address or a name
	Port   uint16 // 0 lets the kernel choose, or the bastion
	Socket string // path of a Unix socket, in the place of Bind and Port

	Private bool // only programs of this user, or root's, may connect, and nobody is told where

	Host       string // without brackets; empty for SOCKS
	HostPort   uint16
	HostSocket string // path of a Unix socket, in the place of Host and HostPort
}

// Kind is what the connections of a [Forward] are.
type Kind int

const (
	Plain       Kind = iota // bytes
	FTP                     // FTP control connections ("ftp/")
	FTPS                    // and the server speaks TLS from the first byte on, as at port 990 ("ftps/")
	FTPProxy                // FTP control connections whose clients name the server ("ftp-proxy/")
	FTPRedirect             // FTP connections that the packet filter has sent here ("ftp-redirect/")
	SOCKS                   // each says where it wants to go (-D)
)

// prefixes are what stands before a forward of a kind.
var prefixes = map[string]Kind{"ftp": FTP, "ftps": FTPS, "ftp-proxy": FTPProxy, "ftp-redirect": FTPRedirect}

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

// various reports whether each connection has a server of its own, so that the forward names none.
func (k Kind) various() bool { return k == FTPProxy || k == FTPRedirect }

// Target is the far end, as in "ftp.corp:21", or what there is in its place.
func (f Forward) Target() string {
	switch {
	case f.Kind == FTPProxy:
		return "FTP proxy"
	case f.Kind == FTPRedirect:
		return "redirected FTP"
	case f.Kind == SOCKS:
		return "SOCKS"
	case f.HostSocket != "":
		return f.HostSocket
	}
	return net.JoinHostPort(f.Host, strconv.Itoa(int(f.HostPort)))
}

// dataHost is where an FTP server is looked for by its data connections: one behind a Unix socket runs on that machine.
func (f Forward) dataHost() string {
	if f.HostSocket != "" {
		return "localhost"
	}
	return f.Host
}

// ParseForward reads what -L takes, with IPv6 addresses in brackets:
//
//	[ftp/|ftps/][bind:]port:host:hostport
//	[ftp/|ftps/][bind:]port:/path
//	/path:host:hostport
//	/path:/path
//	ftp-proxy/[bind:]port
//	ftp-redirect/[bind:]port
//
// It is ssh(1)'s and, for "ftp/", Tectia's; "ftps/" in its place is a server whose control connection is inside TLS from its beginning.
// The path of a Unix socket begins with / or ./, and one with a colon in it stands in brackets.
func ParseForward(spec string) (Forward, error) { return parse(spec, (*Forward).parseLocal) }

// ParseRemoteForward reads what -R takes: the same, and [bind:]port alone for SOCKS.
func ParseRemoteForward(spec string) (Forward, error) { return parse(spec, (*Forward).parseRemote) }

// ParseDynamicForward reads what -D takes: [bind:]port, or /path.
func ParseDynamicForward(spec string) (Forward, error) { return parse(spec, (*Forward).parseDynamic) }

// SetStdio reads what -W takes: host:port.
func (c *Config) SetStdio(spec string) error {
	fields, err := sshconfig.Fields(spec)
	if err == nil && len(fields) != 2 {
		err = errors.New("write host:port, with IPv6 addresses in brackets")
	}
	if err != nil {
		return fmt.Errorf("-W %q: %w", spec, err)
	}
	f := Forward{Host: fields[0]}
	if f.HostPort, err = sshconfig.Port(fields[1]); err == nil {
		err = sshconfig.CheckHost(f.Host)
	}
	if err != nil {
		return fmt.Errorf("-W %q: %w", spec, err)
	}
	c.Stdio = &f
	return nil
}

func parse(spec string, as func(f *Forward, fields []field) error) (f Forward, err error) {
	rest := ""
	f.Kind, rest = cutKind(spec)
	fields, err := splitForward(rest)
	if err == nil {
		err = as(&f, fields)
	}
	if err == nil && f.Kind != Plain && f.Socket != "" {
		err = errors.New("FTP clients connect by TCP: name a port to listen on")
	}
	if err != nil {
		return Forward{}, fmt.Errorf("forward %q: %w", spec, err)
	}
	return f, nil
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

func (f *Forward) parseLocal(fields []field) error {
	if f.Kind.various() {
		if len(fields) > 2 {
			return errors.New("write [bind:]port behind ftp-proxy/ or ftp-redirect/: FTP clients say to which server they want")
		}
		return f.parseListen(fields)
	}
	rest, err := f.parseTarget(fields)
	if err != nil {
		return err
	}
	return f.parseListen(rest)
}

func (f *Forward) parseRemote(fields []field) error {
	if f.Kind.various() {
		return errors.New("it listens on this machine: write it with -L")
	}
	if len(fields) > 2 || fields[len(fields)-1].path {
		return f.parseLocal(fields)
	}
	return f.parseDynamic(fields)
}

func (f *Forward) parseDynamic(fields []field) error {
	if f.Kind != Plain {
		return errForm
	}
	f.Kind = SOCKS
	if len(fields) > 2 || fields[0].path {
		return errors.New("write [bind:]port, with IPv6 addresses in brackets")
	}
	return f.parseListen(fields)
}

var errForm = errors.New("write [ftp/|ftps/][bind:]port:host:hostport, with IPv6 addresses in brackets; either side may be the path of a Unix socket; or ftp-proxy/[bind:]port")

// parseTarget reads what stands behind, and returns what stands before it.
func (f *Forward) parseTarget(fields []field) (rest []field, err error) {
	last := len(fields) - 1
	switch {
	case last >= 1 && fields[last].path:
		f.HostSocket = fields[last].text
		return fields[:last], nil
	case last < 2 || fields[last-1].path:
		return nil, errForm
	}
	f.Host = fields[last-1].text
	if err := sshconfig.CheckHost(f.Host); err != nil {
		return nil, err
	}
	f.HostPort, err = sshconfig.Port(fields[last].text)
	return fields[:last-1], err
}

func (f *Forward) parseListen(fields []field) (err error) {
	switch {
	case len(fields) == 1 && fields[0].path:
		f.Socket = fields[0].text
		return nil
	case len(fields) == 2 && !fields[0].path:
		if f.Bind = fields[0].text; f.Bind == "" {
			f.Bind = "*"
		}
		if f.Bind != "*" {
			if err := sshconfig.CheckHost(f.Bind); err != nil {
				return err
			}
		}
	case len(fields) != 1:
		return errForm
	}
	if port := fields[len(fields)-1].text; port != "0" {
		f.Port, err = sshconfig.Port(port)
	}
	return err
}

// field is what stands between two colons of a forward.
type field struct {
	text string
	path bool // of a Unix socket
}

// maxSocketPath is how long a path may be, in bytes: Linux has no room for more, and other systems for less.
const maxSocketPath = 107

func isPath(word string) bool {
	return strings.HasPrefix(word, "/") || strings.HasPrefix(word, "./") || strings.HasPrefix(word, "../")
}

// meantPrefix is what to say of what stands before a slash, and is neither a prefix nor a path.
func meantPrefix(word string) string {
	prefix, rest, _ := strings.Cut(word, "/")
	if near, ok := sshconfig.Nearest(prefix, slices.Sorted(maps.Keys(prefixes))); ok {
		return fmt.Sprintf("did you mean %s/%s?", near, rest)
	}
	return "ftp/, ftps/, ftp-proxy/ and ftp-redirect/ are the only prefixes, and the path of a Unix socket begins with / or ./"
}

func splitForward(spec string) ([]field, error) {
	words, err := sshconfig.Fields(spec)
	if err != nil {
		return nil, err
	}
	fields := make([]field, len(words))
	for i, word := range words {
		fields[i] = field{word, isPath(word)}
		switch {
		case !fields[i].path && strings.Contains(word, "/"):
			return nil, fmt.Errorf("%q: %s", word, meantPrefix(word))
		case !fields[i].path:
		case len(word) > maxSocketPath:
			return nil, fmt.Errorf("%q can't be the path of a Unix socket: it has more than %d bytes", word, maxSocketPath)
		case strings.ContainsRune(word, 0):
			return nil, fmt.Errorf("%q is not a path", word)
		}
	}
	return fields, nil
}
