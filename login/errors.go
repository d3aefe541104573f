package login

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"
)

var errNobodyToAsk = errors.New("there is nobody to ask (BatchMode, or no terminal)")

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
