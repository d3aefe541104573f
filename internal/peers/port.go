package peers

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
)

// holdPort takes a port, or if it is 0 one of the kernel's choice, on every address of this machine. It is bound, and nobody listens
// there: a connection to it is refused, and whoever has the kernel choose a port gets another. Who names it may listen there
// nevertheless, if he lets addresses be used again (SO_REUSEADDR), as OpenSSH, Go and FTP servers do. The caller must call release.
func holdPort(port uint16) (held uint16, release func(), err error) {
	fd, err := syscall.Socket(syscall.AF_INET6, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, nil, fmt.Errorf("hold a port: %w", err)
	}
	held, err = bindAll(fd, port)
	if err != nil {
		_ = syscall.Close(fd)
		return 0, nil, fmt.Errorf("hold port %d: %w", port, err)
	}
	return held, func() { _ = syscall.Close(fd) }, nil
}

// bindAll binds a socket to a port that is nobody else's on any address.
func bindAll(fd int, port uint16) (uint16, error) {
	if err := syscall.SetsockoptInt(fd, syscall.IPPROTO_IPV6, syscall.IPV6_V6ONLY, 0); err != nil { // IPv4 as well
		return 0, err
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet6{Port: int(port)}); err != nil {
		return 0, err
	}
	// Only now: if it had been before, it would not be exclusive.
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return 0, err
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		return 0, err
	}
	return uint16(name.(*syscall.SockaddrInet6).Port), nil
}

// TestPort is a port that is the test's own on every address of this machine: nobody listens there but who names it.
func TestPort(tb testing.TB) uint16 {
	tb.Helper()
	port, release, err := holdPort(0)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(release)
	return port
}

// TestPorts is the first of n such ports in a row.
func TestPorts(tb testing.TB, n int) (first uint16) {
	tb.Helper()
	for range 1000 {
		first := uint16(10_000 + rand.IntN(20_000)) // below those that the kernel gives away
		releases := make([]func(), 0, n)
		for i := range uint16(n) {
			_, release, err := holdPort(first + i)
			if err != nil {
				break
			}
			releases = append(releases, release)
		}
		if len(releases) == n {
			for _, release := range releases {
				tb.Cleanup(release)
			}
			return first
		}
		for _, release := range releases {
			release()
		}
	}
	tb.Fatalf("no %d ports in a row are free", n)
	return 0
}
