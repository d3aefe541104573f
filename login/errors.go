package login

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/algorithms"
	"github.com/culvert-ssh/culvert/sshconfig"
)

var (
	errNobodyToAsk = errors.New("there is nobody to ask (BatchMode, or no terminal)")
	errSilence     = errors.New("the server was silent")
)

// ErrUnreachable is what Connect's error matches if the server was not reached, or was lost before the login was decided: it may be reached
// another time, without anybody doing anything.
var ErrUnreachable = errors.New("the SSH server was not reached")

// unreachable is an error that is an ErrUnreachable, too.
type unreachable struct{ error }

func (unreachable) Is(target error) bool { return target == ErrUnreachable }
func (u unreachable) Unwrap() error      { return u.error }

// dialError says what went wrong on the way to the server, and what to do.
func dialError(ctx context.Context, cfg *Config, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return unreachable{explainDial(cfg, err)}
}

func explainDial(cfg *Config, err error) error {
	host, port := cfg.Dialled(), strconv.Itoa(int(cfg.Port))
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return fmt.Errorf("find host %q: there is no such name: check the spelling, or the DNS of this machine: %w", host, dns)
	case errors.As(err, &dns):
		return fmt.Errorf("find host %q: %w", host, dns)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("connect to %s port %s: connection refused: is the SSH server running, and is that its port (-p)?", host, port)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("connect to %s port %s: no answer within %v: check the address and the firewalls between, or set ConnectTimeout", host, port, cfg.ConnectTimeout)
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return fmt.Errorf("connect to %s port %s: this machine has no way there: is its network up, and its VPN, if one is needed?", host, port)
	case errors.Is(err, syscall.EADDRNOTAVAIL) && cfg.BindAddress != "":
		return fmt.Errorf("connect to %s port %s: this machine doesn't have the address %s (BindAddress)", host, port, cfg.BindAddress)
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EACCES):
		return fmt.Errorf("connect to %s port %s: this machine does not permit it (%w): look at its own firewall", host, port, err)
	}
	return fmt.Errorf("connect to %s port %s: %w", host, port, err)
}

// failure is what is known when a handshake has failed.
type failure struct {
	cfg      *Config
	err      error
	greeting string // the first line of the server, if it isn't SSH's
	fault    string // what the way says
}

// explain picks what a person wants to know out of it.
func (f failure) explain(ctx context.Context) error {
	host := f.cfg.name()
	var denied *permissionError
	var hostKey *hostKeyError
	var disagree *ssh.AlgorithmNegotiationError
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(f.err, &hostKey):
		return hostKey
	case errors.As(f.err, &denied):
		return errors.New(strings.TrimPrefix(f.err.Error(), "ssh: handshake failed: "))
	case errors.As(f.err, &disagree):
		return disagreement(host, disagree)
	case f.fault != "":
		return unreachable{fmt.Errorf("SSH handshake with %s: %s", host, f.fault)}
	case f.greeting != "":
		return notSSH(host, f.greeting)
	case errors.Is(f.err, errSilence):
		return unreachable{fmt.Errorf("%s was silent for %v during the SSH handshake: is that an SSH server?", host, f.cfg.ConnectTimeout)}
	case errors.Is(f.err, io.EOF), errors.Is(f.err, syscall.ECONNRESET), errors.Is(f.err, syscall.EPIPE):
		return unreachable{fmt.Errorf("%s closed the connection during the SSH handshake: it may have too many connections or refuse this address: try again later, or ask its administrator", host)}
	}
	said := strings.TrimPrefix(f.err.Error(), "ssh: handshake failed: ")
	if m := disconnect.FindStringSubmatch(said); m != nil {
		return disconnected(host, m[1])
	}
	err := fmt.Errorf("SSH handshake with %s: %s", host, sshconfig.Printable(said))
	if lost := net.Error(nil); errors.As(f.err, &lost) {
		return unreachable{err}
	}
	return err
}

// notSSH is about a server that begins as none of SSH does, or that says why it has no time for us.
func notSSH(host, greeting string) error {
	said := sshconfig.Printable(greeting)
	switch {
	case strings.HasPrefix(said, "220"):
		return fmt.Errorf("%s is no SSH server, but one of FTP or mail: it said %q: give culvert the bastion here, and that server in -L", host, said)
	case strings.HasPrefix(said, "HTTP/"):
		return fmt.Errorf("%s is no SSH server, but one of HTTP: it said %q: is that the port of SSH (-p)?", host, said)
	case strings.Contains(said, "MaxStartups"):
		return unreachable{fmt.Errorf("%s has too many connections that aren't logged in: it said %q: try again later", host, said)}
	case strings.HasPrefix(said, "Not allowed at this time"):
		return unreachable{fmt.Errorf("%s refuses this address for a while, after failed logins perhaps: it said %q: try again later, or ask its administrator", host, said)}
	}
	return fmt.Errorf("%s said %q, and nothing of SSH", host, said)
}

// disconnect is how x/crypto/ssh writes a server's SSH_MSG_DISCONNECT (RFC 4253, section 11.1).
var disconnect = regexp.MustCompile(`ssh: disconnect, reason \d+: (".*")$`)

func disconnected(host, quoted string) error {
	said, err := strconv.Unquote(quoted)
	if err != nil {
		said = quoted
	}
	todo := "ask its administrator"
	if strings.Contains(strings.ToLower(said), "too many authentication failures") {
		todo = "it counts each key that is offered: name the right one with -i, and set IdentitiesOnly=yes"
	}
	return fmt.Errorf("%s ended the connection, and said: %s: %s", host, sshconfig.Printable(said), todo)
}

// disagreement says which algorithms the server would have had, and how to get along with it.
func disagreement(host string, e *ssh.AlgorithmNegotiationError) error {
	keyword, kind := "KexAlgorithms", &algorithms.KeyExchanges
	switch {
	case strings.Contains(e.What, "host key"):
		keyword, kind = "HostKeyAlgorithms", &algorithms.HostKeys
	case strings.Contains(e.What, "cipher"):
		keyword, kind = "Ciphers", &ciphers
	case strings.Contains(e.What, "MAC"):
		keyword, kind = "MACs", &algorithms.MACs
	}
	names := slices.DeleteFunc(slices.Clone(e.RequestedAlgorithms), func(name string) bool { // what is said there besides
		return strings.HasPrefix(name, "kex-strict-") || strings.HasPrefix(name, "ext-info-")
	})
	has := sshconfig.Printable(strings.Join(names, ","))
	of := func(names []string) string {
		i := slices.IndexFunc(names, func(name string) bool { return slices.Contains(e.RequestedAlgorithms, name) })
		if i < 0 {
			return ""
		}
		return names[i]
	}
	todo := "culvert has none of these: ask its administrator for a newer server"
	if name := of(kind.Standard); name != "" {
		todo = fmt.Sprintf("your %s leaves out %s", keyword, name)
	} else if name := of(kind.OnRequest); name != "" {
		todo = fmt.Sprintf("these are weak: if you can't have it mended there, try -o %s=+%s", keyword, name)
	}
	return fmt.Errorf("%s has no %s in common with culvert; it has %s: %s", host, keyword, has, todo)
}
