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
	Invalid   bool           // no account is known under this name (Match invalid-user)
	Groups    []string       // from the bastion's own accounts, or from the operating system
	Addr      netip.Addr     // the client's
	Host      string         // the client's name; if empty, it is the text of Addr
	LocalAddr netip.AddrPort // where the client connected to

	// Key is the fingerprint of the key that was proven (SHA256:…), empty if none was; of a certificate, it is
	// that of the key in it.
	Key string
	// KeyRules are the options of its authorized_keys line, or of its certificate and the line of the
	// authority. If nil, the key narrows nothing.
	KeyRules *KeyRules
	// Certificate is what the key was certified by. If nil, it was a plain key.
	Certificate *Certificate
	// Proof is how all this was established, so that package auth can ask again whether it still holds. Nobody else reads it.
	Proof any
}

// Certificate names the OpenSSH certificate that was proven.
type Certificate struct {
	ID        string // the key id that the authority gave it
	Serial    uint64
	Authority string // fingerprint of the authority's key (SHA256:…)
}

// KeyRules are the options of one authorized_keys line, or of a certificate, that narrow what its key may do.
type KeyRules struct {
	Source            string // "file:line" of the key
	NoPortForwarding  bool
	NoAgentForwarding bool
	NoPTY             bool
	ForceCommand      string          // command=, or a certificate's force-command; empty for none
	PermitOpen        []OpenPattern   // permitopen=; if empty, it narrows nothing
	PermitListen      []ListenPattern // permitlisten=; if empty, it narrows nothing
}

// Action is what is asked for.
type Action int

const (
	// Open is a direct-tcpip channel (RFC 4254, section 7.2).
	Open Action = iota + 1
	// OpenData is an FTP data endpoint that was announced on a permitted control channel.
	OpenData
	// Listen is a tcpip-forward request (RFC 4254, section 7.1): the target is where to listen, and port 0 is one that the system
	// chooses.
	Listen
	// ListenFTP is an ftp-forward@culvert request: the same for connections that are read as FTP, with a port besides for each data connection.
	ListenFTP
	// OpenClient is a connection to an FTP client in active mode that came to what a ListenFTP was granted.
	OpenClient
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
	// FTP is set if the target is to be read as FTP, on an allowed Open of an address, and on an allowed ListenFTP. The
	// answer to whether a name may be resolved never has it, as the address may change it.
	// It is not to be written to.
	FTP *FTP

	// Bind are the addresses to listen on, of an allowed Listen or ListenFTP: each for its own family alone, and one that the machine
	// hasn't got may be left out if another can be had, as sshd does. It is not to be written to.
	Bind []netip.Addr

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
	AccessRule    string         // the line that says it, "sshd_config:12"; empty if it is the default
	Active        Active         // FTPActive
	Predial       bool           // FTPPredial

	TLS     TLS    // FTPUpstreamTLS for this target, or what ftps/ says
	TLSRule string // the file:line that says it; empty for a default

	// What a server must prove, if TLS isn't off.
	TLSPins       []Pin      // FTPUpstreamTLSPin; if there are any, its key must be one of them
	TLSCAFile     string     // FTPUpstreamTLSCAFile; if empty, the authorities of the system, or none where there are pins
	TLSMaxVersion TLSVersion // FTPUpstreamTLSMaxVersion

	// OpaquePorts are those that may be opened for data connections once client and server have made the control connection
	// unreadable (FTPOpaqueTLS). If empty, they may not do that.
	OpaquePorts []PortRange

	Deny  []Line[[]PathPattern] // FTPDeny
	Allow *Line[[]PathPattern]  // FTPAllow; if nil, what isn't denied is allowed
}

// Active is what may become of active mode, in which the FTP server connects to its client (FTPActive).
type Active int

const (
	// ActiveNo refuses it.
	ActiveNo Active = iota
	// ActiveYes turns it into passive mode towards the server, and connects to FTP clients that are near the bastion. Those that come
	// through a direct-tcpip channel are near somebody else, who can do the same: for them it is ActiveNo.
	ActiveYes
	// ActiveForward has the server connect to the bastion, which passes the connection on.
	ActiveForward
)

// String returns the value as it is written.
func (a Active) String() string {
	switch a {
	case ActiveYes:
		return "yes"
	case ActiveForward:
		return "forward"
	}
	return "no"
}

// Access mirrors FTPAccess.
type Access int

const (
	ReadWrite Access = iota
	ReadOnly
	ListOnly
)

// String returns the value as it is written.
func (a Access) String() string {
	switch a {
	case ReadOnly:
		return "read-only"
	case ListOnly:
		return "list-only"
	}
	return "read-write"
}
