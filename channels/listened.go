package channels

import (
	"net/netip"
	"sync"
)

// listened is where this process listens for its SSH clients, all of them.
var listened sockets

// sockets are those of listeners, by where they are bound.
type sockets struct {
	mu sync.Mutex
	at map[netip.AddrPort]*listener
}

func (s *sockets) put(l *listener, bound []netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at == nil {
		s.at = make(map[netip.AddrPort]*listener)
	}
	for _, at := range bound {
		s.at[at] = l
	}
}

// remove removes l, and nobody who is bound there since.
func (s *sockets) remove(l *listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for at, have := range s.at {
		if have == l {
			delete(s.at, at)
		}
	}
}

// has reports whether a connection to at comes to one of them.
func (s *sockets) has(at netip.AddrPort) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := netip.IPv4Unspecified()
	if at.Addr().Is6() {
		all = netip.IPv6Unspecified()
	}
	return s.at[netip.AddrPortFrom(at.Addr().WithZone(""), at.Port())] != nil || s.at[netip.AddrPortFrom(all, at.Port())] != nil
}
