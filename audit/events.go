package audit

import "net/netip"

// Conn identifies one SSH connection and is part of every event of it. It is filled as far as
// it is known: before authentication there is no User.
type Conn struct {
	ID     string         `json:"conn"`           // number of the connection, counted from the start of culvertd; culvertd ctl and the log use the same
	Client netip.AddrPort `json:"client"`         // address and port of the client
	User   string         `json:"user,omitempty"` // the SSH user name, once it is known
}

// ConnectionOpened: a client connected; nothing is known of it yet.
type ConnectionOpened struct {
	Conn
	Local netip.AddrPort `json:"local"`          // address and port that the client connected to
	Proxy netip.AddrPort `json:"proxy,omitzero"` // the proxy that spoke for the client
}

// ConnectionClosed: the connection ended.
type ConnectionClosed struct {
	Conn
	Seconds float64 `json:"seconds"`        // since it was opened
	Rule    string  `json:"rule,omitempty"` // file:line that ended it: the rule after a reload, or MaxAuthTries
	Reason  string  `json:"reason"`         // in words
}

// Authentication: an attempt was decided.
type Authentication struct {
	Conn
	Method      string `json:"method"`                // RFC 4252's name
	Key         string `json:"key,omitempty"`         // SHA256:… of the key that was proven or refused
	Certificate string `json:"certificate,omitempty"` // its key ID, where the key came in a certificate
	Serial      string `json:"serial,omitempty"`      // of the certificate, in decimal: it may be too large for a JSON number
	CA          string `json:"ca,omitempty"`          // SHA256:… of the key that signed the certificate
	Rule        string `json:"rule,omitempty"`        // the deciding file:line: the one that holds the key, or the one that refused
	Result      string `json:"result"`                // "accepted", "partial" (more methods are asked for) or "refused"
	Reason      string `json:"reason,omitempty"`      // in words, of a refusal
}

// StripesGranted: a client may make side connections for the stripes of its streams (docs/protocol.md, stripes@culvert).
type StripesGranted struct {
	Conn
	Key  string `json:"key"`  // SHA256:… of the key that it has made for them
	Most int    `json:"most"` // how many there may be at once (MaxStripes)
}

// SideAccepted: a side connection was let in. It is no login: it carries parts of what is open on its first connection, and can open nothing.
type SideAccepted struct {
	Conn
	First string `json:"first"` // the number of its first connection
	Key   string `json:"key"`   // as in stripes.granted
}

// SideRefused: a connection said that it was a side connection, and wasn't let in.
type SideRefused struct {
	Conn
	Key    string `json:"key,omitempty"` // SHA256:… of the key that it tried
	Reason string `json:"reason"`        // in words
}

// ChannelAsked: a client asked for a channel. What was decided comes next, in the same write unless a name is resolved in between.
type ChannelAsked struct {
	Conn
	Request string `json:"request"`          // the number that the client is told if it is refused
	Type    string `json:"type"`             // of the channel (RFC 4254)
	Target  string `json:"target,omitempty"` // as the client spelled it
}

// ChannelDecided: the policy decided on an address, which is dialled next if it is allowed. There is one for each address of a name.
type ChannelDecided struct {
	Conn
	Request string         `json:"request"`          // as in channel.asked
	Address netip.AddrPort `json:"address"`          // the address that was decided on
	Rule    string         `json:"rule,omitempty"`   // the deciding file:line
	Result  string         `json:"result"`           // "allowed" or "denied"
	Reason  string         `json:"reason,omitempty"` // in words
}

// ChannelRefused: a channel was asked for and not opened.
type ChannelRefused struct {
	Conn
	Request string `json:"request"`          // the number that the client was told
	Type    string `json:"type"`             // of the channel (RFC 4254)
	Target  string `json:"target,omitempty"` // as the client spelled it
	Rule    string `json:"rule,omitempty"`   // the deciding file:line
	Reason  string `json:"reason"`           // in words
}

// ChannelOpened: a channel was opened to an address.
type ChannelOpened struct {
	Conn
	Request string         `json:"request"`          // as in channel.asked
	Type    string         `json:"type"`             // of the channel (RFC 4254)
	Target  string         `json:"target,omitempty"` // as the client spelled it
	Address netip.AddrPort `json:"address,omitzero"` // as dialled
	Rule    string         `json:"rule,omitempty"`   // the file:line that permits it
	FTP     string         `json:"ftp,omitempty"`    // "control" or "data"
}

// ChannelClosed: an open channel ended.
type ChannelClosed struct {
	Conn
	Request string  `json:"request"`           // as in channel.opened
	Type    string  `json:"type"`              // of the channel (RFC 4254)
	Up      int64   `json:"up"`                // bytes from the client
	Down    int64   `json:"down"`              // bytes to the client
	Seconds float64 `json:"seconds"`           // since it was opened
	Result  string  `json:"result"`            // "clean" or "aborted"
	Stripes int     `json:"stripes,omitempty"` // how many stripes were attached to it, over its time
	Rule    string  `json:"rule,omitempty"`    // file:line that ended it, after a change of the policy
	Reason  string  `json:"reason,omitempty"`  // in words, if it was aborted
}

// FTPAnnounced: a server announced a data endpoint, or agreed to connect for its data itself (ftp.listening), and an expectation was
// installed.
type FTPAnnounced struct {
	Conn
	Control string         `json:"control"`        // the request number of the control channel
	Reply   string         `json:"reply"`          // as it came, but for bytes that are no UTF-8
	Address netip.AddrPort `json:"address"`        // the endpoint that is permitted; its port is one of the bastion's if the server connects
	Named   netip.Addr     `json:"named,omitzero"` // the address in the reply, where it is another
}

// FTPListening: the bastion listens for the data connection of a server in active mode. What comes next is ftp.connected or ftp.expired, with the
// same address.
type FTPListening struct {
	Conn
	Control string         `json:"control"`          // the request number of the control channel
	Address netip.AddrPort `json:"address"`          // where the bastion listens, as the server is told
	Server  netip.Addr     `json:"server"`           // who alone may connect
	Waiting netip.AddrPort `json:"waiting,omitzero"` // where the FTP client waits, as it named it in PORT or EPRT
}

// FTPConnected: the server has connected for its data.
type FTPConnected struct {
	Conn
	Control string         `json:"control"` // the request number of the control channel
	Address netip.AddrPort `json:"address"` // as in ftp.listening
	From    netip.AddrPort `json:"from"`    // the server's end
}

// FTPConsumed: the expectation was used by a data channel.
type FTPConsumed struct {
	Conn
	Control string         `json:"control"` // the request number of the control channel
	Request string         `json:"request"` // of the data channel
	Address netip.AddrPort `json:"address"` // the endpoint
}

// FTPExpired: the expectation ended unused, or nobody listens for the server any more.
type FTPExpired struct {
	Conn
	Control string         `json:"control"`           // the request number of the control channel
	Address netip.AddrPort `json:"address"`           // the endpoint, or where the bastion listened
	Dialled bool           `json:"dialled,omitempty"` // the bastion had connected to the endpoint beforehand, or was about to (FTPPredial)
	Reason  string         `json:"reason"`            // in words
}

// FTPRefused: a command, a reply or an endpoint on a control channel was refused.
type FTPRefused struct {
	Conn
	Control string `json:"control"`        // the request number of the control channel
	Rule    string `json:"rule,omitempty"` // the file:line that wants TLS, if the server doesn't prove who it is
	Reason  string `json:"reason"`         // in words, with what the peer sent quoted
}

// FTPProtection: it is known how the FTP server is spoken to, on the control connection and on the data connections to come.
type FTPProtection struct {
	Conn
	Control    string `json:"control"`          // the request number of the control channel
	Protection string `json:"protection"`       // "clear"; the version of TLS and what proves who the server is, "TLS 1.3, verified", "pinned" or "verified and pinned"; or "opaque", of TLS between the client and the server that can't be read from now on
	Rule       string `json:"rule,omitempty"`   // the file:line that wants it so
	Reason     string `json:"reason,omitempty"` // in words, if TLS was tried and isn't there
}

// FTPLogin: the FTP server accepted a login.
type FTPLogin struct {
	Conn
	Control string `json:"control"` // the request number of the control channel
	Login   string `json:"login"`   // the FTP user name, as sent
}

// ConnectionRefused: connections were closed before anything was read from them. The first of a source has an event of its own; of those
// that follow soon, one event says how many there were, with the last of them.
type ConnectionRefused struct {
	Client netip.AddrPort `json:"client"`          // address and port of the client
	Proxy  netip.AddrPort `json:"proxy,omitzero"`  // the proxy that spoke for the client
	Reason string         `json:"reason"`          // in words
	Count  int            `json:"count,omitempty"` // how many, if this stands for those that had no event
}

// Penalty: a source was penalised (PerSourcePenalties).
type Penalty struct {
	Source  netip.Prefix `json:"source"`  // the network that was penalised
	Class   string       `json:"class"`   // "authfail", "grace-exceeded" and so on, as in sshd_config
	Seconds float64      `json:"seconds"` // how much longer the penalty of the source is now
	Active  bool         `json:"active"`  // it is refused from now on
}

// ListenOpened: a remote forwarding was granted.
type ListenOpened struct {
	Conn
	Request string           `json:"request"`        // the number of what was asked for
	Target  string           `json:"target"`         // as the client spelled it; begins with ftp/ if what comes there is read as FTP
	Bound   []netip.AddrPort `json:"bound"`          // the addresses and ports that are listened on
	Rule    string           `json:"rule,omitempty"` // the file:line that permits it
}

// ListenRefused: a remote forwarding was asked for and not granted.
type ListenRefused struct {
	Conn
	Request string `json:"request"`          // the number of what was asked for
	Target  string `json:"target,omitempty"` // as the client spelled it; begins with ftp/ if what comes there is read as FTP
	Rule    string `json:"rule,omitempty"`   // the deciding file:line
	Reason  string `json:"reason"`           // in words
}

// ListenClosed: a remote forwarding ended.
type ListenClosed struct {
	Conn
	Request string `json:"request"`          // as in listen.opened
	Reason  string `json:"reason,omitempty"` // in words
}

// FTPCommand: the server answered a command for good, or it was refused here.
type FTPCommand struct {
	Conn
	Control  string `json:"control"`            // the request number of the control channel
	Command  string `json:"command"`            // the verb; "?" if it is none that is known, as it may be a password that was typed too early
	Class    string `json:"class"`              // "session", "transfer", "list", "read", "write" or "other"
	Path     string `json:"path,omitempty"`     // the argument, where it is a path
	Code     int    `json:"code"`               // of the final reply; 0 if none came
	By       string `json:"by"`                 // whose answer it is: "server" or "bastion"
	Number   string `json:"number,omitempty"`   // what the client was told, if FTPAccess, FTPDeny or FTPAllow refused it
	Resolved string `json:"resolved,omitempty"` // then, the path as the server would have seen it; none if it can't be known
	Rule     string `json:"rule,omitempty"`     // then, file:line that refused it
	Reason   string `json:"reason,omitempty"`   // then, in words
}

// FTPTransfer: a transfer ended.
type FTPTransfer struct {
	Conn
	Control    string  `json:"control"`              // the request number of the control channel
	Request    string  `json:"request,omitempty"`    // the data channel
	Command    string  `json:"command"`              // the verb
	Direction  string  `json:"direction"`            // "download", "upload" or "listing"
	Path       string  `json:"path,omitempty"`       // the argument of the command
	Bytes      int64   `json:"bytes"`                // that went in this direction, over the data channel
	Protection string  `json:"protection,omitempty"` // of the data connection to the server, as in ftp.protection
	Seconds    float64 `json:"seconds"`              // from the command to the final reply or the end of the data, whichever came last
	Result     string  `json:"result"`               // "complete", "failed" or "aborted"
	Code       int     `json:"code"`                 // of the final reply; 0 if none came
	Reason     string  `json:"reason,omitempty"`     // in words, if it is not complete
}

// SessionStarted: a session began to serve something.
type SessionStarted struct {
	Conn
	Request string `json:"request"`        // the number of the session
	Program string `json:"program"`        // "shell", which is a text, or "subsystem"
	Name    string `json:"name,omitempty"` // of the subsystem
}

// SessionRefused: a session was asked for a program that it doesn't have.
type SessionRefused struct {
	Conn
	Request string `json:"request"` // the number of the session
	Reason  string `json:"reason"`  // in words
}

// SFTPOpened: a file is about to be opened over SFTP.
type SFTPOpened struct {
	Conn
	Request string `json:"request"` // the number of the session
	Path    string `json:"path"`    // in the directory that is served
	Mode    string `json:"mode"`    // "read", "write" or "read-write"
}

// SFTPClosed: a file that was opened over SFTP is closed, or could not be opened.
type SFTPClosed struct {
	Conn
	Request string `json:"request"` // the number of the session
	Path    string `json:"path"`    // in the directory that is served
	Up      int64  `json:"up"`      // bytes that were written
	Down    int64  `json:"down"`    // bytes that were read
}

// SFTPChanged: a name or an attribute is about to be changed over SFTP. Whether the system lets it is not on record.
type SFTPChanged struct {
	Conn
	Request string `json:"request"`          // the number of the session
	Command string `json:"command"`          // "mkdir", "rmdir", "remove", "rename", "setstat", "link" or "symlink"
	Path    string `json:"path"`             // in the directory that is served
	Target  string `json:"target,omitempty"` // of a rename and of links
}

// Reload: the configuration was read again.
type Reload struct {
	File   string `json:"file"`             // the configuration
	SHA256 string `json:"sha256"`           // of the file
	Result string `json:"result"`           // "done" or "refused", and then the old one stays
	Reason string `json:"reason,omitempty"` // in words, of a refusal
}

// Server: something happened to the bastion itself.
type Server struct {
	Action string `json:"action"`           // "start", "stop", "drain", "handover"
	Detail string `json:"detail,omitempty"` // in words
}

// Opened: the file was begun; this is its first line. Where the file continues an older one, its prev is the hash of the older one's last line.
type Opened struct {
	File string `json:"file"` // its path at that time
}

// Torn: the line before is only the beginning of one, as the system crashed or the disk was full while it was written.
type Torn struct {
	Bytes  int64  `json:"bytes"`  // of it
	SHA256 string `json:"sha256"` // of it; prev is the hash of the last whole line, as everywhere
}

// Lost: events could not be written.
type Lost struct {
	Lost   uint64 `json:"lost"`   // how many
	Since  string `json:"since"`  // when the first of them happened
	Reason string `json:"reason"` // of the last one
}

func (ConnectionOpened) EventName() string { return "connection.opened" }
func (ConnectionClosed) EventName() string { return "connection.closed" }
func (Authentication) EventName() string   { return "authentication" }
func (StripesGranted) EventName() string   { return "stripes.granted" }
func (SideAccepted) EventName() string     { return "side.accepted" }
func (SideRefused) EventName() string      { return "side.refused" }
func (ChannelAsked) EventName() string     { return "channel.asked" }
func (ChannelDecided) EventName() string   { return "channel.decided" }
func (ChannelRefused) EventName() string   { return "channel.refused" }
func (ChannelOpened) EventName() string    { return "channel.opened" }
func (ChannelClosed) EventName() string    { return "channel.closed" }
func (FTPAnnounced) EventName() string     { return "ftp.announced" }
func (FTPListening) EventName() string     { return "ftp.listening" }
func (FTPConnected) EventName() string     { return "ftp.connected" }
func (FTPConsumed) EventName() string      { return "ftp.consumed" }
func (FTPExpired) EventName() string       { return "ftp.expired" }
func (FTPRefused) EventName() string       { return "ftp.refused" }
func (FTPLogin) EventName() string         { return "ftp.login" }
func (FTPProtection) EventName() string    { return "ftp.protection" }
func (ConnectionRefused) EventName() string {
	return "connection.refused"
}
func (Penalty) EventName() string      { return "penalty" }
func (ListenOpened) EventName() string { return "listen.opened" }
func (ListenRefused) EventName() string {
	return "listen.refused"
}
func (ListenClosed) EventName() string { return "listen.closed" }
func (FTPCommand) EventName() string   { return "ftp.command" }
func (FTPTransfer) EventName() string  { return "ftp.transfer" }
func (SessionStarted) EventName() string {
	return "session.started"
}

func (SessionRefused) EventName() string {
	return "session.refused"
}
func (SFTPOpened) EventName() string  { return "sftp.opened" }
func (SFTPClosed) EventName() string  { return "sftp.closed" }
func (SFTPChanged) EventName() string { return "sftp.changed" }
func (Reload) EventName() string      { return "reload" }
func (Server) EventName() string      { return "server" }
func (Opened) EventName() string      { return "audit.opened" }
func (Torn) EventName() string        { return "audit.torn" }
func (Lost) EventName() string        { return "audit.lost" }
