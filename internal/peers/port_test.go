package peers

import (
	"errors"
	"net"
	"strconv"
	"syscall"
	"testing"
)

func TestPortsOfTestsAreNobodyElses(t *testing.T) {
	port := TestPort(t)
	if _, _, err := holdPort(port); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("another test's claim to the same port: %v, want it refused", err)
	}
	for _, host := range []string{"127.0.0.1", "127.0.0.2", "::1", "0.0.0.0", "::"} {
		at := net.JoinHostPort(host, strconv.Itoa(int(port)))
		if _, err := net.Dial("tcp", at); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatalf("connect to %s: %v, want it refused", at, err)
		}
		l, err := net.Listen("tcp", at)
		if err != nil {
			t.Fatalf("who names %s can't listen there: %v", at, err)
		}
		if c, err := net.Dial("tcp", at); err != nil {
			t.Errorf("connect to who listens at %s: %v", at, err)
		} else {
			_ = c.Close()
		}
		_ = l.Close()
	}
	first := TestPorts(t, 10)
	for i := range uint16(10) {
		if _, _, err := holdPort(first + i); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("another test's claim to the same port: %v, want it refused", err)
		}
	}
}
