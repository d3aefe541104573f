//go:build !linux

package relay

import "syscall"

// bindAddressOnly does nothing: what it is about is Linux's.
func bindAddressOnly(string, string, syscall.RawConn) error { return nil }
