//go:build !linux

package control

import "net/netip"

// socketUID can't be told here.
func socketUID(_, _ netip.AddrPort) (int, error) { return UnknownUID, nil }

// takenUID can't be told here.
func takenUID(_, _ netip.AddrPort) (int, error) { return UnknownUID, nil }

// listenerUID can't be told here.
func listenerUID(netip.AddrPort, netip.Addr) (int, error) { return UnknownUID, nil }

// distinct takes what can't be told for what it is.
func distinct(int) error { return nil }
