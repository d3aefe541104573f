//go:build !linux

package relay

// bindAddressOnly does nothing: what it is about is Linux's.
func bindAddressOnly(uintptr) {}
