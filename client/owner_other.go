//go:build !linux

package client

import "net/netip"

// socketUID can't be told here.
func socketUID(_, _ netip.AddrPort) (int, error) { return unknownUID, nil }

// takenUID can't be told here.
func takenUID(_, _ netip.AddrPort) (int, error) { return unknownUID, nil }

// listenerUID can't be told here.
func listenerUID(netip.AddrPort, netip.Addr) (int, error) { return unknownUID, nil }
