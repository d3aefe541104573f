package lan

import (
	"bytes"
	"encoding/binary"
	"sync"
)

// flow is a TCP connection, whichever end a packet comes from: both ends' address and port, the lower one first.
type flow [2]string

// virtioHeader is what stands in front of each packet of a TUN device that openTUN has made.
const virtioHeader = 10

// flowOf returns the connection that a packet of a TUN device belongs to. It reports false if that is none of TCP without extension headers.
func flowOf(packet []byte) (flow, bool) {
	if len(packet) < virtioHeader+1 {
		return flow{}, false
	}
	ip := packet[virtioHeader:]
	const tcp, least4, least6 = 6, 20, 40
	switch version := ip[0] >> 4; {
	case version == 4 && len(ip) >= least4 && ip[9] == tcp && binary.BigEndian.Uint16(ip[6:])&0x1fff == 0:
		return newFlow(ip[12:16], ip[16:20], ip[min(4*int(ip[0]&15), len(ip)):])
	case version == 6 && len(ip) >= least6 && ip[6] == tcp:
		return newFlow(ip[8:24], ip[24:40], ip[least6:])
	}
	return flow{}, false
}

func newFlow(from, to, tcp []byte) (flow, bool) {
	if len(tcp) < 4 {
		return flow{}, false
	}
	a, b := bytes.Join([][]byte{from, tcp[:2]}, nil), bytes.Join([][]byte{to, tcp[2:4]}, nil)
	if bytes.Compare(a, b) > 0 {
		a, b = b, a
	}
	return flow{string(a), string(b)}, true
}

// flows are the connections over a line. Those that have ended are kept, too: a line lives for a test.
type flows struct {
	mu   sync.Mutex
	seen map[flow]int
}

func newFlows() *flows { return &flows{seen: make(map[flow]int)} }

// number is a connection's among all that there were, the first one being 1.
func (f *flows) number(of flow) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, ok := f.seen[of]
	if !ok {
		n = len(f.seen) + 1
		f.seen[of] = n
	}
	return n
}
