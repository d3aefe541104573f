package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"

	"github.com/culvert-ssh/culvert/activity"
	"github.com/culvert-ssh/culvert/redirect"
	"github.com/culvert-ssh/culvert/relay"
)

// listener is one socket of a forward.
type listener struct {
	Forward
	net.Listener        // of TCP, or of a Unix socket
	first        bool   // the one that the ready line names
	named        string // that one's address
}

// shown is what its connections are counted by: those of all sockets of a forward by one.
func (l *listener) shown(link string) activity.Tunnel {
	t := activity.Tunnel{Link: link, Kind: activity.Local, FTP: l.Kind.ftp(), Listen: l.named, Target: l.Target()}
	switch l.Kind {
	case SOCKS:
		t.Kind, t.Target = activity.Dynamic, ""
	case FTPProxy:
		t.Kind, t.FTP, t.Target = activity.Proxy, true, ""
	case FTPRedirect:
		t.Kind, t.FTP, t.Target = activity.Redirect, true, ""
	}
	return t
}

// ready is what a person needs to use the forward that listens at addr.
func (f Forward) ready(addr net.Addr, network string) string {
	at := relay.AddrPort(addr)
	if !at.IsValid() {
		return fmt.Sprintf("%s is at %s", f.Target(), addr)
	}
	if at.Addr().IsUnspecified() { // say an address that one can type
		loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
		if at.Addr().Is6() && (network == "tcp6" || f.Bind != "*") {
			loopback = netip.IPv6Loopback()
		}
		at = netip.AddrPortFrom(loopback, at.Port())
	}
	switch f.Kind {
	case FTP:
		return fmt.Sprintf("FTP to %s is at %s, try: lftp -p %d %s", f.Target(), at, at.Port(), at.Addr())
	case FTPS:
		return fmt.Sprintf("FTP to %s by TLS is at %s, try: lftp -p %d %s", f.Target(), at, at.Port(), at.Addr())
	case FTPProxy:
		return fmt.Sprintf("the FTP proxy is at %s, try: ftp_proxy=ftp://%s lftp ftp://user@host", at, at)
	case FTPRedirect:
		return fmt.Sprintf("redirected FTP is at %s, try: culvert redirect print --port %d | sudo nft -f -", at, at.Port())
	case SOCKS:
		return fmt.Sprintf("SOCKS is at %s, try: curl --socks5-hostname %s ftp://HOST/", at, at)
	}
	if f.Kind == Plain && f.HostPort == 21 {
		return fmt.Sprintf("%s is at %s, without the data connections of FTP: those come with ftp/ in front of the forward", f.Target(), at)
	}
	return fmt.Sprintf("%s is at %s", f.Target(), at)
}

// listenAll opens the sockets of all local forwards. One that fails is logged and left out, unless
// ExitOnForwardFailure is set.
func listenAll(ctx context.Context, cfg *Config) (all []*listener, leftOut []ForwardStatus, err error) {
	closeAll := func() {
		for _, l := range all {
			_ = l.Close() // nothing was accepted yet
		}
	}
	for _, f := range cfg.Forwards {
		ls, err := listen(ctx, cfg, f)
		if err != nil && cfg.ExitOnForwardFailure {
			closeAll()
			return nil, nil, err
		}
		if err != nil {
			leftOut = append(leftOut, ForwardStatus{Target: f.Target(), Error: err.Error()})
			cfg.Logger().Error("a forward is left out", "err", err)
			continue
		}
		all = append(all, ls...)
	}
	return all, leftOut, nil
}

// listen opens the socket of f, or, as ssh(1) does where no address is given, one on each loopback
// address. A machine without IPv6 is no failure.
func listen(ctx context.Context, cfg *Config, f Forward) ([]*listener, error) {
	if f.Socket != "" {
		ln, err := listenSocket(f.Socket, cfg.SocketMask, cfg.SocketUnlink)
		if err != nil {
			return nil, listenError(f, f.Socket, err)
		}
		return []*listener{{Forward: f, Listener: ln, first: true, named: f.Socket}}, nil
	}
	if f.Kind == FTPRedirect && !redirect.Supported {
		return nil, errors.New("redirected connections are known on Linux alone: use ftp-proxy/ here")
	}
	if f.Bind == "" && cfg.GatewayPorts {
		f.Bind = "*"
	}
	network, hosts := cfg.Network, []string{f.Bind}
	switch {
	case f.Bind == "*":
		hosts = []string{""}
	case (f.Bind == "" || f.Bind == "localhost") && network == "tcp":
		hosts = []string{"127.0.0.1", "::1"}
	case (f.Bind == "" || f.Bind == "localhost") && network == "tcp6":
		hosts = []string{"::1"}
	case f.Bind == "" || f.Bind == "localhost":
		hosts = []string{"127.0.0.1"}
	}
	var ls []*listener
	port := f.Port
	for i, host := range hosts {
		ln, err := relay.Listen(ctx, network, net.JoinHostPort(host, strconv.Itoa(int(port))))
		switch {
		case err == nil:
			l := &listener{Forward: f, Listener: ln, first: i == 0}
			ls = append(ls, l)
			l.named = ls[0].Addr().String()
			port = relay.AddrPort(l.Addr()).Port() // the kernel's choice serves for both
		case i > 0 && (errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT)):
		case i > 0 && f.Port == 0: // somebody has the chosen port on the other address
		default:
			for _, l := range ls {
				_ = l.Close()
			}
			return nil, listenError(f, net.JoinHostPort(host, strconv.Itoa(int(port))), err)
		}
	}
	return ls, nil
}

func listenError(f Forward, at string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE) && f.Socket != "":
		return fmt.Errorf("listen on %s for %s: there is something by that name: remove it, or set StreamLocalBindUnlink to yes if it is a socket that nobody uses any more", at, f.Target())
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("listen on %s for %s: the port is already used: choose another, or 0 for a free one", at, f.Target())
	case errors.Is(err, syscall.EACCES) && f.Socket == "":
		return fmt.Errorf("listen on %s for %s: ports below 1024 are root's: choose a higher one", at, f.Target())
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("listen on %s for %s: this machine doesn't have that address", at, f.Target())
	}
	return fmt.Errorf("listen on %s for %s: %w", at, f.Target(), err)
}
