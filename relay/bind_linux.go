package relay

import "golang.org/x/sys/unix"

// bindAddressOnly leaves the choice of the local port to connect(2), which knows the destination and may so use a port again
// that another connection has. Bound beforehand, ports run out at some hundred transfers a second (ip(7),
// IP_BIND_ADDRESS_NO_PORT; for IPv6 as well).
func bindAddressOnly(fd uintptr) {
	_ = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1) // a kernel without it does with fewer ports
}
