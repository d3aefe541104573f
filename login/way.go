package login

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/culvert-ssh/culvert/relay"
)

// A way is what an SSH connection goes over: TCP, a channel through a jump host, or the pipes of a command. Close is
// heard by whoever reads at the time.
type way interface {
	net.Conn
	// end waits for what has kept the way open. It is called after Close.
	end()
	// fault says what the way knows of why nothing comes any more, or is empty. It is called after end.
	fault() string
	// again opens another way to the same server, and asks nobody. That of a jump host ends with the first.
	again(ctx context.Context, cfg *Config) (way, error)
}

// attemptInterval is the time between two attempts to connect (ConnectionAttempts), as with ssh(1).
const attemptInterval = time.Second

// reach opens the way to the server that cfg names.
func reach(ctx context.Context, cfg *Config, behind []*Config) (way, error) {
	switch {
	case cfg.ProxyCommand != "":
		return startCommand(cfg)
	case len(cfg.ProxyJump) > 0:
		return jump(ctx, cfg, behind)
	}
	for attempt := 1; ; attempt++ {
		tcp, err := dial(ctx, cfg)
		if err == nil {
			return tcp, nil
		}
		if attempt >= cfg.ConnectionAttempts || errors.As(err, new(*net.DNSError)) {
			return nil, err
		}
		cfg.Logger().Info("trying again", "err", err)
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(attemptInterval):
		}
	}
}

// tcpWay is a TCP connection to the server.
type tcpWay struct{ *relay.Socket }

func (tcpWay) end()          {}
func (tcpWay) fault() string { return "" }

// again connects to the address that was found, of which a name may have others, and from the same one.
func (w tcpWay) again(ctx context.Context, cfg *Config) (way, error) {
	from := relay.AddrPort(w.LocalAddr()).Addr()
	dialer := net.Dialer{Timeout: cfg.ConnectTimeout, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
	raw, err := dialer.DialContext(ctx, "tcp", w.RemoteAddr().String())
	if err != nil {
		return nil, dialError(ctx, cfg, err)
	}
	return newTCPWay(raw, cfg)
}

// newTCPWay makes a way of what was dialled.
func newTCPWay(raw net.Conn, cfg *Config) (way, error) {
	tcp, ok := raw.(*net.TCPConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("connect to %s: not a TCP connection", cfg.name()), raw.Close())
	}
	relay.KeepAlive(tcp) // for who has set ServerAliveInterval to 0
	return tcpWay{relay.NewSocket(tcp)}, nil
}

// dial connects by TCP, from one of the addresses that we are to come from.
func dial(ctx context.Context, cfg *Config) (way, error) {
	host, port := cfg.Dialled(), strconv.Itoa(int(cfg.Port))
	from, err := cfg.from(ctx)
	if err != nil {
		return nil, err
	}
	var failures []error
	for _, local := range from {
		dialer := net.Dialer{Timeout: cfg.ConnectTimeout, LocalAddr: local}
		cfg.Logger().Debug("connecting", "host", host, "port", port)
		raw, err := dialer.DialContext(ctx, cfg.Network, net.JoinHostPort(host, port))
		if err != nil {
			failures = append(failures, dialError(ctx, cfg, err))
			continue
		}
		return newTCPWay(raw, cfg)
	}
	return nil, failures[len(failures)-1]
}

// from is where connections are to come from: at most one address of each family, or nil for the system's choice.
func (c *Config) from(ctx context.Context) ([]net.Addr, error) {
	switch {
	case c.BindAddress != "":
		ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", c.BindAddress)
		if err != nil {
			return nil, fmt.Errorf("BindAddress %q: %w", c.BindAddress, err)
		}
		return c.sources(ips, fmt.Sprintf("BindAddress %q", c.BindAddress))
	case c.BindInterface != "":
		ips, err := interfaceAddresses(c.BindInterface)
		if err != nil {
			return nil, err
		}
		return c.sources(ips, fmt.Sprintf("BindInterface %q", c.BindInterface))
	}
	return []net.Addr{nil}, nil
}

// interfaceAddresses are those of a network interface that connections may come from; like ssh(1), none that are
// of use on one link alone.
func interfaceAddresses(name string) ([]netip.Addr, error) {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return nil, fmt.Errorf("BindInterface %q: this machine has no such interface", name)
	}
	addrs, err := i.Addrs()
	if err != nil {
		return nil, fmt.Errorf("BindInterface %q: %w", name, err)
	}
	var ips []netip.Addr
	for _, a := range addrs {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil && !prefix.Addr().IsLinkLocalUnicast() {
			ips = append(ips, prefix.Addr())
		}
	}
	return ips, nil
}

// sources picks the first address of each family that may be used.
func (c *Config) sources(ips []netip.Addr, what string) ([]net.Addr, error) {
	var from []net.Addr
	for _, family := range []struct {
		network string
		of      func(netip.Addr) bool
	}{{"tcp4", netip.Addr.Is4}, {"tcp6", netip.Addr.Is6}} {
		if c.Network != "tcp" && c.Network != family.network {
			continue
		}
		if i := slices.IndexFunc(ips, func(ip netip.Addr) bool { return family.of(ip.Unmap()) }); i >= 0 {
			from = append(from, net.TCPAddrFromAddrPort(netip.AddrPortFrom(ips[i].Unmap(), 0)))
		}
	}
	if from == nil {
		return nil, fmt.Errorf("%s has no address that connections could come from", what)
	}
	return from, nil
}
