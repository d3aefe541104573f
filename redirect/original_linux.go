package redirect

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Supported says whether Original can be told.
const Supported = true

// The options of a socket that say where its connection was going: SO_ORIGINAL_DST of linux/netfilter_ipv4.h, and
// IP6T_SO_ORIGINAL_DST of linux/netfilter_ipv6/ip6_tables.h, which are the same number at two levels.
const originalDestination = 80

// Original returns where an accepted connection was going before it was redirected. If it was not, the error is ErrNotRedirected.
func Original(conn *net.TCPConn) (netip.AddrPort, error) {
	addr, ok := conn.LocalAddr().(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}, ErrNotRedirected
	}
	local := addr.AddrPort()
	local = netip.AddrPortFrom(local.Addr().Unmap().WithZone(""), local.Port())
	raw, err := conn.SyscallConn()
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("find out where a connection was going: %w", err)
	}
	var to netip.AddrPort
	controlErr := raw.Control(func(fd uintptr) {
		if local.Addr().Is4() {
			to, err = original4(int(fd))
		} else {
			to, err = original6(int(fd))
		}
	})
	switch err = errors.Join(controlErr, err); {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOPROTOOPT): // the connection isn't tracked, or none is
		return netip.AddrPort{}, ErrNotRedirected
	case err != nil:
		return netip.AddrPort{}, fmt.Errorf("find out where a connection was going: %w", err)
	}
	return original(to, local)
}

// original4 reads a struct sockaddr_in: family, port, address, all in network order but the first. What x/sys/unix has for it to be put in is
// the struct of another option, of which it fills the first field.
func original4(fd int) (netip.AddrPort, error) {
	m, err := unix.GetsockoptIPv6Mreq(fd, unix.SOL_IP, originalDestination)
	if err != nil {
		return netip.AddrPort{}, err
	}
	sa := m.Multiaddr
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(sa[4:8])), binary.BigEndian.Uint16(sa[2:4])), nil
}

// original6 reads a struct sockaddr_in6.
func original6(fd int) (netip.AddrPort, error) {
	m, err := unix.GetsockoptIPv6MTUInfo(fd, unix.SOL_IPV6, originalDestination)
	if err != nil {
		return netip.AddrPort{}, err
	}
	port := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, m.Addr.Port))
	return netip.AddrPortFrom(netip.AddrFrom16(m.Addr.Addr), port), nil
}
