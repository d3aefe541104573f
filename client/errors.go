package client

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
	"unicode"

	"golang.org/x/crypto/ssh"
)

var (
	errNobodyToAsk = errors.New("there is nobody to ask (BatchMode, or no terminal)")
	// ErrConnectionLost is what Run's error matches when the SSH connection ended before it was asked to.
	ErrConnectionLost = errors.New("the SSH connection was lost")
)

// dialError says what went wrong on the way to the bastion, and what to do.
func dialError(host, port string, timeout time.Duration, err error) error {
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return fmt.Errorf("find host %q: there is no such name: check the spelling, or the DNS of this machine", host)
	case errors.As(err, &dns):
		return fmt.Errorf("find host %q: %w", host, dns)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("connect to %s port %s: connection refused: is the SSH server running, and is that its port (-p)?", host, port)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("connect to %s port %s: no answer within %v: check the address and the firewalls between, or set ConnectTimeout", host, port, timeout)
	}
	return fmt.Errorf("connect to %s port %s: %w", host, port, err)
}

// openError says why the bastion did not open a channel to target, and what to do.
func openError(target string, err error) error {
	var refused *ssh.OpenChannelError
	if !errors.As(err, &refused) {
		return fmt.Errorf("open %s: %w", target, err)
	}
	said := printable(refused.Message)
	switch refused.Reason {
	case ssh.Prohibited:
		todo := "ask its administrator"
		if strings.Contains(said, "(request ") {
			todo += ", with that number"
		}
		if !strings.Contains(said, "prohibited") {
			said = "administratively prohibited (" + said + ")"
		}
		return fmt.Errorf("the bastion refused %s: %s: %s", target, said, todo)
	case ssh.ConnectionFailed:
		return fmt.Errorf("the bastion can't reach %s: %s", target, said)
	case ssh.UnknownChannelType:
		return fmt.Errorf("the SSH server forwards no connections, so %s can't be reached: %s", target, said)
	case ssh.ResourceShortage:
		return fmt.Errorf("the bastion has no room for %s now: %s: try again later", target, said)
	}
	return fmt.Errorf("the bastion refused %s: %s", target, said)
}

// printable makes one short line of what a peer said, with nothing in it that a terminal or
// an FTP client would obey.
func printable(s string) string {
	const most = 500 // bytes; a line of a log
	if len(s) > most {
		s = s[:most] + "..."
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}
