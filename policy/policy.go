// Package policy answers whether a subject may do something, and which line of the
// configuration says so. It is pure: it does no I/O, resolves no name and reads no clock.
package policy

import (
	"net/netip"
	"time"
)

// Subject is who asks: what authentication established, and nothing that was merely
// offered. The zero Subject may do nothing.
type Subject struct {
	User      string
	Groups    []string
	Addr      netip.Addr     // the client's
	LocalAddr netip.AddrPort // where the client connected to

	// Key is the fingerprint of the key that was proven (SHA256:…), empty if none was.
	Key string
	// KeyRules are the options of its authorized_keys line. If nil, the key narrows nothing.
	KeyRules *KeyRules
}

// KeyRules are the options of one authorized_keys line that narrow what its key may do.
type KeyRules struct {
	Source           string // "file:line" of the key
	NoPortForwarding bool
	PermitOpen       []OpenPattern // permitopen=; if empty, it narrows nothing
}

// Action is what is asked for.
type Action int

const (
	// Open is a direct-tcpip channel (RFC 4254, section 7.2).
	Open Action = iota + 1
	// OpenData is an FTP data endpoint that was announced on a permitted control channel.
	OpenData
)

// Target is where to.
type Target struct {
	Host string // as the client spelled it
	Port uint16
	// Addr is the address that would be dialled. If it isn't valid, the question is whether
	// the name may be resolved at all: whether any answer could be permitted.
	Addr netip.Addr
}

// Request is one question.
type Request struct {
	Subject Subject
	Action  Action
	Target  Target
	Time    time.Time
}

// Decision is the answer. The zero Decision denies.
type Decision struct {
	// Rule is the deciding line, "sshd_config:33", or empty if no line decided (default deny).
	Rule string
	// Reason says why in a few words, for the log and for explain; the peer doesn't see it.
	Reason string
	// FTP is set if the target is to be read as FTP, on an allowed Open of an address. The
	// answer to whether a name may be resolved never has it, as the address may change it.
	// It is not to be written to.
	FTP *FTP

	allowed bool
}

// Allowed reports whether the request is permitted.
func (d Decision) Allowed() bool { return d.allowed }

// FTP is what applies to an FTP control channel and its data endpoints.
type FTP struct {
	// Data is set if announced data endpoints may be opened: the configuration and the key, if it has
	// permitopen=, both say ftp/. Otherwise there is the control channel alone.
	Data bool

	DataPorts     []PortRange    // FTPDataPorts; if empty, every port from 1024
	DataAddresses []netip.Prefix // FTPDataAddress besides the control connection's own
	DataTimeout   time.Duration  // FTPDataTimeout
	Access        Access         // FTPAccess
}

// Access mirrors FTPAccess.
type Access int

const (
	ReadWrite Access = iota
	ReadOnly
	ListOnly
)
